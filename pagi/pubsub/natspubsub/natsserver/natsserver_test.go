package natsserver_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/natspubsub"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/natspubsub/natsserver"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/pubsubtest"
)

const secret = "a secret of the test"

func start(t *testing.T, s *natsserver.Server) *natsserver.Server {
	t.Helper()
	if s.Listen == "" {
		s.Listen = "127.0.0.1:0"
	}
	if s.Logger == nil {
		s.Logger = (&testkit.Log{}).Logger()
	}
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

const (
	first = time.Millisecond // how long the first node waits for others
	later = testkit.Patience
)

func open(t *testing.T, s *natsserver.Server, lease, alone time.Duration) *natspubsub.Broker {
	t.Helper()
	b := &natspubsub.Broker{Server: s, Lease: lease, Alone: alone, Logger: (&testkit.Log{}).Logger()}
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	if err := b.Keep("*", pubsub.History{Messages: 100}); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBroker(t *testing.T) {
	pubsubtest.RunPair(t, func(t *testing.T) (a, b pubsub.Broker) {
		one := start(t, &natsserver.Server{Secret: secret})
		two := start(t, &natsserver.Server{Secret: secret, Peers: []string{one.Address()}})
		joined(t, one, 1)
		x, y := &natspubsub.Broker{Server: one, Alone: first}, &natspubsub.Broker{Server: two, Alone: later}
		for _, b := range []*natspubsub.Broker{x, y} {
			if err := b.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { b.Close() })
		}
		return x, y
	})
}

func joined(t *testing.T, s *natsserver.Server, count int) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("%d servers", count), func() bool { return s.Joined() == count })
}

func TestCheck(t *testing.T) {
	for name, s := range map[string]*natsserver.Server{
		"no address":                    {},
		"no port":                       {Listen: "127.0.0.1"},
		"a peer without a port":         {Listen: "127.0.0.1:0", Peers: []string{"10.0.0.1"}},
		"a short secret":                {Listen: "127.0.0.1:0", Secret: "short"},
		"no secret at all addresses":    {Listen: "0.0.0.0:6222"},
		"no secret at an address":       {Listen: "10.0.0.1:6222"},
		"no secret at a name":           {Listen: "gateway.example.com:6222"},
		"a certificate without its key": {Listen: "127.0.0.1:0", Cert: "cert.pem"},
		"certificates that are away":    {Listen: "127.0.0.1:0", Cert: "/none", Key: "/none", CA: "/none"},
		"an address of another machine": {Listen: "192.0.2.1:0", Secret: secret},
	} {
		if err := s.Open(); err == nil {
			s.Close()
			t.Errorf("%s is accepted", name)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the secret is in %v", name, err)
		}
		s.Close()
	}
	if start(t, &natsserver.Server{}).HasClientPort() {
		t.Error("there is a port for clients")
	}
	err := (&natsserver.Server{Listen: "10.0.0.1:6222"}).Check()
	if !strings.Contains(err.Error(), "CLUSTER_SECRET") {
		t.Errorf("the error does not say how to mend it: %v", err)
	}
}

// TestASecretIsNeeded has a server with another secret, and one without, at the door.
func TestASecretIsNeeded(t *testing.T) {
	log := &testkit.Log{}
	one := start(t, &natsserver.Server{Secret: secret, Logger: log.Logger()})
	for _, wrong := range []string{"another secret, as long", ""} {
		other := &testkit.Log{}
		start(t, &natsserver.Server{Secret: wrong, Peers: []string{one.Address()}, Logger: other.Logger()})
		log.WaitFor(t, "authentication error")
		if wrong != "" && (strings.Contains(other.String(), wrong) || strings.Contains(log.String(), wrong)) {
			t.Error("a secret is in the log")
		}
	}
	right := start(t, &natsserver.Server{Secret: secret, Peers: []string{one.Address()}, Logger: log.Logger()})
	joined(t, right, 1)
	joined(t, one, 1)
	if strings.Contains(log.String(), secret) {
		t.Error("the secret is in the log")
	}
}

func TestTLS(t *testing.T) {
	pair := testkit.Certificate(t)
	log := &testkit.Log{}
	one := start(t, &natsserver.Server{Cert: pair.CertFile, Key: pair.KeyFile, CA: pair.CertFile, Logger: log.Logger()})
	two := start(t, &natsserver.Server{Cert: pair.CertFile, Key: pair.KeyFile, CA: pair.CertFile, Peers: []string{one.Address()}})
	joined(t, two, 1)
	start(t, &natsserver.Server{Peers: []string{one.Address()}})
	log.WaitFor(t, "TLS")
	joined(t, one, 1)
}

// TestOneProcessReplacesAnother has a second server at the same address, as at a restart without a
// break. It joins the first, and takes the address when that is gone. What was kept is still there.
func TestOneProcessReplacesAnother(t *testing.T) {
	replaced := start(t, &natsserver.Server{})
	address := replaced.Address()
	old := open(t, replaced, time.Second, first)
	id := publish(t, old, "1")
	publish(t, old, "2")
	second := start(t, &natsserver.Server{Listen: address})
	if second.Address() == address {
		t.Error("two servers have one address")
	}
	joined(t, second, 1)
	fresh := open(t, second, time.Second, later)
	if err := old.Close(); err != nil {
		t.Error(err)
	}
	replaced.Close()
	testkit.Eventually(t, "the address", func() bool { return second.Address() == address })
	s := subscribe(t, fresh, pubsub.Options{After: id})
	expect(t, s, "2")
	publish(t, fresh, "3")
	expect(t, s, "3")
}

func subscribe(t *testing.T, b *natspubsub.Broker, o pubsub.Options) *pubsub.Subscription {
	t.Helper()
	s, err := b.Subscribe(t.Context(), "c", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func publish(t *testing.T, b *natspubsub.Broker, data string) (id string) {
	t.Helper()
	id, err := b.Publish(t.Context(), "c", pubsub.Message{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func next(t *testing.T, s *pubsub.Subscription) pubsub.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	m, err := s.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func expect(t *testing.T, s *pubsub.Subscription, data ...string) {
	t.Helper()
	for _, want := range data {
		if m := next(t, s); m.Data != want {
			t.Fatalf("got %q of kind %d, want %q", m.Data, m.Kind, want)
		}
	}
}

// link passes connections on to an address until it is cut.
type link struct {
	net.Listener
	to string

	mu    sync.Mutex
	isCut bool
	conns []net.Conn
}

func newLink(t *testing.T, to string) *link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &link{Listener: l, to: to}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { k.pass(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); k.cut(true); work.Wait() })
	return k
}

func (k *link) pass(conn net.Conn) {
	defer conn.Close()
	other, err := net.Dial("tcp", k.to)
	if err != nil {
		return
	}
	defer other.Close()
	k.mu.Lock()
	if k.isCut {
		k.mu.Unlock()
		return
	}
	k.conns = append(k.conns, conn, other)
	k.mu.Unlock()
	var work sync.WaitGroup
	work.Go(func() { io.Copy(conn, other); conn.Close() })
	io.Copy(other, conn)
	other.Close()
	work.Wait()
}

func (k *link) cut(cut bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.isCut = cut
	if cut {
		for _, conn := range k.conns {
			conn.Close()
		}
		k.conns = nil
	}
}

// TestAPartition has two nodes on one side and one on the other. Both sides go on. When they meet, the
// smaller side gets what the larger one has kept, once, and then all have the same.
func TestAPartition(t *testing.T) {
	const lease = 1200 * time.Millisecond
	one := start(t, &natsserver.Server{})
	between := newLink(t, one.Address())
	two := start(t, &natsserver.Server{Peers: []string{between.Addr().String()}})
	joined(t, one, 1)
	joined(t, two, 1)
	a := open(t, one, lease, first) // leads
	b, c := open(t, two, lease, later), open(t, two, lease, later)
	at := map[*natspubsub.Broker]*pubsub.Subscription{}
	for i, broker := range []*natspubsub.Broker{a, b, c} {
		at[broker] = subscribe(t, broker, pubsub.Options{Presence: true, Member: pubsub.Member{ID: fmt.Sprint("member ", i)}})
	}
	members := func(broker *natspubsub.Broker) int {
		all, err := broker.Members(t.Context(), "c")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	messages := func(s *pubsub.Subscription, count int) (data []string) {
		t.Helper()
		for len(data) < count {
			if m := next(t, s); m.Kind == pubsub.Data {
				data = append(data, m.Data)
			}
		}
		return data
	}
	before := publish(t, b, "before")
	between.cut(true)
	testkit.Eventually(t, "two sides", func() bool { return members(a) == 1 && members(b) == 2 && members(c) == 2 })
	lost := publish(t, a, "of the smaller side")
	publish(t, b, "of the larger side")
	between.cut(false)
	testkit.Eventually(t, "one side", func() bool { return members(a) == 3 && members(b) == 3 && members(c) == 3 })
	publish(t, a, "after")
	if got := messages(at[a], 4); !slices.Equal(got, []string{"before", "of the smaller side", "of the larger side", "after"}) {
		t.Errorf("the smaller side got %q", got)
	}
	for _, broker := range []*natspubsub.Broker{b, c} {
		if got := messages(at[broker], 3); !slices.Equal(got, []string{"before", "of the larger side", "after"}) {
			t.Errorf("the larger side got %q", got)
		}
	}
	for _, broker := range []*natspubsub.Broker{a, b, c} {
		s := subscribe(t, broker, pubsub.Options{After: before})
		if got := messages(s, 2); s.Missed() || !slices.Equal(got, []string{"of the larger side", "after"}) {
			t.Errorf("replayed: %q, missed %v", got, s.Missed())
		}
		if s := subscribe(t, broker, pubsub.Options{After: lost}); !s.Missed() {
			t.Error("an id of the smaller side is known")
		}
		infos, err := broker.Channels(t.Context(), "")
		if err != nil || len(infos) != 1 {
			t.Errorf("%v %v", infos, err)
		}
	}
}
