package natspubsub_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/natspubsub"
)

func subscribe(t *testing.T, b pubsub.Broker, channel string, o pubsub.Options) *pubsub.Subscription {
	t.Helper()
	s, err := b.Subscribe(t.Context(), channel, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func publish(t *testing.T, b pubsub.Broker, channel, data string) (id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	id, err := b.Publish(ctx, channel, pubsub.Message{Data: data})
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

// expect reads messages, and returns the id of the last.
func expect(t *testing.T, s *pubsub.Subscription, data ...string) (id string) {
	t.Helper()
	for _, want := range data {
		m := next(t, s)
		if m.Data != want || m.Kind != pubsub.Data {
			t.Fatalf("got %q of kind %d, want %q", m.Data, m.Kind, want)
		}
		id = m.ID
	}
	return id
}

func expectKind(t *testing.T, s *pubsub.Subscription, kind pubsub.Kind, id string) {
	t.Helper()
	if m := next(t, s); m.Kind != kind || m.From != id {
		t.Fatalf("got %+v, want kind %d of %s", m, kind, id)
	}
}

// cluster opens brokers with one NATS server. The first leads.
func cluster(t *testing.T, url string, count int, lease time.Duration) []*natspubsub.Broker {
	t.Helper()
	var all []*natspubsub.Broker
	for i := range count {
		b := &natspubsub.Broker{URL: url, Lease: lease, Logger: (&testkit.Log{}).Logger()}
		if i == 0 {
			b.Alone = first
		}
		open(t, b)
		if err := b.Keep("*", pubsub.History{Messages: 10_000, Bytes: 8 << 20}); err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	if !all[0].Leads() {
		t.Fatal("the first does not lead")
	}
	return all
}

const lease = 2400 * time.Millisecond

// TestTheLeaderIsKilled has publishers at the nodes that are left: each message is there once, in one
// order, for subscribers from before and for new ones.
func TestTheLeaderIsKilled(t *testing.T) {
	all := cluster(t, startServer(t, server.Options{}).ClientURL(), 3, lease)
	start := publish(t, all[0], "c", "start")
	before := []*pubsub.Subscription{
		subscribe(t, all[1], "c", pubsub.Options{Queue: pubsub.NewQueue(pubsub.Limits{Messages: 10_000})}),
		subscribe(t, all[2], "c", pubsub.Options{Queue: pubsub.NewQueue(pubsub.Limits{Messages: 10_000})}),
	}
	watch := subscribe(t, all[1], "room", pubsub.Options{Presence: true})
	subscribe(t, all[0], "room", pubsub.Options{Member: pubsub.Member{ID: "killed"}})
	expectKind(t, watch, pubsub.Join, "killed")
	const each = 200
	var work sync.WaitGroup
	for i, b := range all[1:] {
		work.Go(func() {
			for k := range each {
				if i == 0 && k == each/2 {
					all[0].Kill()
				}
				if _, err := b.Publish(t.Context(), "c", pubsub.Message{Data: fmt.Sprintf("%d/%d", i, k)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	expectKind(t, watch, pubsub.Leave, "killed")
	var ids [4][]string
	read := func(i int, s *pubsub.Subscription) {
		t.Helper()
		last := map[string]int{"0": -1, "1": -1}
		for range 2 * each {
			m := next(t, s)
			publisher, text, _ := strings.Cut(m.Data, "/")
			if text != fmt.Sprint(last[publisher]+1) {
				t.Fatalf("%s after %d", m.Data, last[publisher])
			}
			last[publisher]++
			ids[i] = append(ids[i], m.ID)
		}
		if n, _ := s.Queue().Len(); n != 0 {
			t.Errorf("%d messages more", n)
		}
	}
	read(0, before[0])
	read(1, before[1])
	for i, b := range all[1:] {
		s := subscribe(t, b, "c", pubsub.Options{After: start})
		if s.Missed() {
			t.Error("missed")
		}
		read(2+i, s)
	}
	for i := range ids {
		if !slices.Equal(ids[i], ids[0]) {
			t.Errorf("subscriber %d has other ids", i)
		}
	}
	if all[1].Leads() == all[2].Leads() {
		t.Error("there is not one leader")
	}
}

// TestOneOfTwoIsLeft has the leader killed, and then a new node with the history that is left.
func TestOneOfTwoIsLeft(t *testing.T) {
	url := startServer(t, server.Options{}).ClientURL()
	all := cluster(t, url, 2, lease)
	here := subscribe(t, all[1], "c", pubsub.Options{})
	start := publish(t, all[0], "c", "first")
	publish(t, all[1], "c", "second")
	expect(t, here, "first", "second")
	all[0].Kill()
	publish(t, all[1], "c", "third")
	expect(t, here, "third")
	fresh := open(t, &natspubsub.Broker{URL: url, Lease: lease})
	s := subscribe(t, fresh, "c", pubsub.Options{After: start})
	if s.Missed() {
		t.Error("missed")
	}
	expect(t, s, "second", "third")
	publish(t, all[1], "c", "fourth")
	expect(t, s, "fourth")
	expect(t, here, "fourth")
}

func TestTheLeaderLeaves(t *testing.T) {
	all := cluster(t, startServer(t, server.Options{}).ClientURL(), 2, time.Hour) // nothing is noticed by a lease
	watch := subscribe(t, all[1], "room", pubsub.Options{Presence: true})
	subscribe(t, all[0], "room", pubsub.Options{Member: pubsub.Member{ID: "leaves"}})
	expectKind(t, watch, pubsub.Join, "leaves")
	if err := all[0].Close(); err != nil {
		t.Fatal(err)
	}
	expectKind(t, watch, pubsub.Leave, "leaves")
}

// TestANodeThatHangs has its members leave after the lease, and come again when it goes on. It gets what
// it has missed.
func TestANodeThatHangs(t *testing.T) {
	for name, hanging := range map[string]int{"the leader": 0, "a follower": 1} {
		t.Run(name, func(t *testing.T) {
			all := cluster(t, startServer(t, server.Options{}).ClientURL(), 3, time.Second)
			hangs, other := all[hanging], all[2]
			watch := subscribe(t, other, "room", pubsub.Options{Presence: true})
			member := subscribe(t, hangs, "room", pubsub.Options{Member: pubsub.Member{ID: "ann"}})
			expectKind(t, watch, pubsub.Join, "ann")
			goOn := hangs.Hang()
			expectKind(t, watch, pubsub.Leave, "ann")
			publish(t, other, "room", "meanwhile")
			goOn()
			expect(t, watch, "meanwhile")
			expect(t, member, "meanwhile")
			expectKind(t, watch, pubsub.Join, "ann")
			publish(t, hangs, "room", "after")
			expect(t, watch, "after")
			expect(t, member, "after")
			testkit.Eventually(t, "two subscriptions", func() bool {
				infos, err := other.Channels(t.Context(), "")
				return err == nil && len(infos) == 1 && infos[0].Subscribers == 2
			})
		})
	}
}

// TestTheServerStartsAgain has NATS away for a while. Everything that was kept is there afterwards.
func TestTheServerStartsAgain(t *testing.T) {
	s := startServer(t, server.Options{})
	port := s.Addr().String()[strings.LastIndex(s.Addr().String(), ":")+1:]
	var number int
	if _, err := fmt.Sscan(port, &number); err != nil {
		t.Fatal(err)
	}
	log := &testkit.Log{}
	one := open(t, &natspubsub.Broker{URL: s.ClientURL(), Logger: log.Logger(), Lease: lease, Alone: first})
	two := open(t, &natspubsub.Broker{URL: s.ClientURL(), Logger: log.Logger(), Lease: lease})
	if err := errors.Join(one.Keep("c", pubsub.History{Messages: 10}), two.Keep("c", pubsub.History{Messages: 10})); err != nil {
		t.Fatal(err)
	}
	there := subscribe(t, two, "c", pubsub.Options{Member: pubsub.Member{ID: "m"}})
	id := publish(t, one, "c", "1")
	expect(t, there, "1")
	s.Shutdown()
	s.WaitForShutdown()
	log.WaitFor(t, "the connection to NATS is lost")
	kept := []string{} // what one has accepted before it noticed
	testkit.Eventually(t, "an error", func() bool {
		_, err := one.Publish(t.Context(), "c", pubsub.Message{Data: "late"})
		if err == nil {
			kept = append(kept, "late")
		}
		return err != nil
	})
	kept = append(kept, "2")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := one.Subscribe(ctx, "new", pubsub.Options{}); err == nil {
		t.Error("subscribed")
	}
	startServer(t, server.Options{Port: number})
	log.WaitFor(t, "the connection to NATS is back")
	testkit.Eventually(t, "a publisher", func() bool {
		_, err := one.Publish(t.Context(), "c", pubsub.Message{Data: "2"})
		return err == nil
	})
	expect(t, there, kept...)
	s2 := subscribe(t, two, "c", pubsub.Options{After: id})
	if s2.Missed() {
		t.Error("missed")
	}
	expect(t, s2, kept...)
	members, err := one.Members(t.Context(), "c")
	if err != nil || len(members) != 1 {
		t.Errorf("%v %v", members, err)
	}
}

// TestALargeStateIsCopied has a new node that gets more than one message of NATS can hold.
func TestALargeStateIsCopied(t *testing.T) {
	url := startServer(t, server.Options{}).ClientURL()
	one := cluster(t, url, 1, lease)[0]
	text := strings.Repeat("é\x00\"", 4000)
	var before string
	for i := range 120 {
		if id := publish(t, one, fmt.Sprint("c", i%3), fmt.Sprint(i, text)); i == 0 {
			before = id
		}
	}
	const members = 2000
	q := pubsub.NewQueue(pubsub.Limits{})
	for i := range members {
		subscribe(t, one, "room", pubsub.Options{Queue: q, Member: pubsub.Member{ID: fmt.Sprint(i), Info: strings.Repeat("i", 200)}})
	}
	two := open(t, &natspubsub.Broker{URL: url, Lease: lease})
	s := subscribe(t, two, "c0", pubsub.Options{After: before})
	for i := 3; i < 120; i += 3 {
		expect(t, s, fmt.Sprint(i, text))
	}
	all, err := two.Members(t.Context(), "room")
	if err != nil || len(all) != members || all[7].ID != "7" {
		t.Errorf("%d members, %v", len(all), err)
	}
}

func TestCheck(t *testing.T) {
	for name, b := range map[string]*natspubsub.Broker{
		"neither URL nor server": {},
		"a wrong URL":            {URL: "localhost"},
		"another scheme":         {URL: "redis://ann:secret@localhost"},
		"a path":                 {URL: "nats://ann:secret@localhost/x"},
		"no URL":                 {URL: "nats://ann:secret@localhost:x"},
		"a limit below 0":        {URL: "nats://localhost", MaxChannels: -1},
		"a server that is away":  {URL: "nats://ann:secret@127.0.0.1:1"},
	} {
		err := b.Open(t.Context())
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if _, err := b.Publish(t.Context(), "c", pubsub.Message{}); !errors.Is(err, pubsub.ErrClosed) {
			t.Error(err)
		}
	}
	small := startServer(t, server.Options{MaxPayload: 1000})
	if err := (&natspubsub.Broker{URL: small.ClientURL()}).Open(t.Context()); err == nil || !strings.Contains(err.Error(), "max_payload") {
		t.Errorf("a small max_payload: %v", err)
	}
}

func TestClose(t *testing.T) {
	all := cluster(t, startServer(t, server.Options{}).ClientURL(), 2, lease)
	b, other := all[1], all[0]
	s := subscribe(t, b, "c", pubsub.Options{Member: pubsub.Member{ID: "m"}})
	publish(t, b, "c", "last")
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	expect(t, s, "last")
	if _, err := s.Next(t.Context()); !errors.Is(err, pubsub.ErrClosed) {
		t.Error(err)
	}
	if _, err := b.Subscribe(t.Context(), "c", pubsub.Options{}); !errors.Is(err, pubsub.ErrClosed) {
		t.Error(err)
	}
	if members, err := other.Members(t.Context(), "c"); err != nil || len(members) != 0 {
		t.Errorf("%v %v", members, err)
	}
}

func TestTheNumberOfChannelsIsLimited(t *testing.T) {
	b := open(t, &natspubsub.Broker{URL: startServer(t, server.Options{}).ClientURL(), MaxChannels: 1, Alone: first})
	subscribe(t, b, "one", pubsub.Options{})
	if _, err := b.Subscribe(t.Context(), "two", pubsub.Options{}); !errors.Is(err, pubsub.ErrTooMany) {
		t.Error(err)
	}
}
