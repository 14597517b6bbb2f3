package redispubsub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/pubsubtest"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/redispubsub"
)

func open(t *testing.T, b *redispubsub.Broker) *redispubsub.Broker {
	t.Helper()
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestBroker(t *testing.T) {
	pubsubtest.Run(t, func(t *testing.T) pubsub.Broker {
		return open(t, &redispubsub.Broker{URL: testkit.SharedRedis(t).URL})
	})
	pubsubtest.RunPair(t, func(t *testing.T) (a, b pubsub.Broker) {
		server := testkit.SharedRedis(t)
		return open(t, &redispubsub.Broker{URL: server.URL}), open(t, &redispubsub.Broker{Client: clientOf(t, server)})
	})
}

func ExampleBroker() {
	b := &redispubsub.Broker{URL: "redis://localhost:6379/0"}
	fmt.Println(b.Check()) // Open connects, and fails without a Redis
	_, err := b.Publish(context.Background(), "news", pubsub.Message{})
	fmt.Println(err)
	// Output:
	// <nil>
	// pubsub: closed
}

func TestCheck(t *testing.T) {
	for name, b := range map[string]*redispubsub.Broker{
		"neither URL nor client": {},
		"a wrong URL":            {URL: "localhost"},
		"a limit below 0":        {URL: "redis://localhost", MaxChannels: -1},
	} {
		if b.Check() == nil || b.Open(t.Context()) == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	b := &redispubsub.Broker{URL: "unix:///nowhere/at/all"}
	if b.Open(t.Context()) == nil {
		t.Error("opened without a server")
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func subscribe(t *testing.T, b pubsub.Broker, channel string, o pubsub.Options) *pubsub.Subscription {
	t.Helper()
	s, err := b.Subscribe(t.Context(), channel, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
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

// TestTheConnectionIsMadeAgain cuts the connections again and again: a subscriber gets each message
// once, and in order.
func TestTheConnectionIsMadeAgain(t *testing.T) {
	server := testkit.SharedRedis(t)
	reader := open(t, &redispubsub.Broker{URL: server.URL})
	writer := open(t, &redispubsub.Broker{URL: server.URL})
	if err := writer.Keep("c", pubsub.History{Messages: 1000}); err != nil {
		t.Fatal(err)
	}
	if err := reader.Keep("c", pubsub.History{Messages: 1000}); err != nil {
		t.Fatal(err)
	}
	s := subscribe(t, reader, "c", pubsub.Options{Queue: pubsub.NewQueue(pubsub.Limits{Messages: 10_000})})
	killer := clientOf(t, server)
	const count = 300
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() {
		for n := range count {
			if n%50 == 25 {
				if err := killer.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
					t.Error(err)
				}
			}
			if _, err := writer.Publish(t.Context(), "c", pubsub.Message{Data: fmt.Sprint(n)}); err != nil {
				t.Error(err)
			}
		}
	})
	for n := range count {
		if m := next(t, s); m.Data != fmt.Sprint(n) {
			t.Fatalf("got %s, want %d", m.Data, n)
		}
	}
	other := subscribe(t, reader, "other", pubsub.Options{}) // works by the new connection
	if _, err := writer.Publish(t.Context(), "other", pubsub.Message{Data: "x"}); err != nil {
		t.Fatal(err)
	}
	if m := next(t, other); m.Data != "x" {
		t.Errorf("%+v", m)
	}
}

func TestAServerThatIsGoneMakesErrors(t *testing.T) {
	server := testkit.StartRedis(t)
	log := &testkit.Log{}
	b := open(t, &redispubsub.Broker{Client: clientOf(t, server), Logger: log.Logger()})
	s := subscribe(t, b, "c", pubsub.Options{Member: pubsub.Member{ID: "m"}})
	server.Stop()
	if _, err := b.Publish(t.Context(), "c", pubsub.Message{}); err == nil {
		t.Error("published")
	}
	if _, err := b.Members(t.Context(), "c"); err == nil {
		t.Error("members")
	}
	if _, err := b.Channels(t.Context(), ""); err == nil {
		t.Error("channels")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := b.Subscribe(ctx, "new", pubsub.Options{}); err == nil {
		t.Error("subscribed")
	}
	log.WaitFor(t, "the connection to Redis is lost")
	s.Close() // does not wait
	b.Kill()  // Close would report that the node cannot be forgotten
}

// TestTheMembersOfAKilledProcessLeave has a process that ends without a word.
func TestTheMembersOfAKilledProcessLeave(t *testing.T) {
	server := testkit.SharedRedis(t)
	client := clientOf(t, server)
	const lease = 2 * time.Second
	killed := &redispubsub.Broker{URL: server.URL, Lease: lease}
	if err := killed.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	left := open(t, &redispubsub.Broker{URL: server.URL, Lease: lease})
	ann := subscribe(t, left, "room", pubsub.Options{Member: pubsub.Member{ID: "ann"}, Presence: true})
	subscribe(t, killed, "room", pubsub.Options{Member: pubsub.Member{ID: "bob", Info: "Bob"}})
	if m := next(t, ann); m.Kind != pubsub.Join || m.From != "bob" {
		t.Errorf("%+v", m)
	}
	leases := func() (sum float64) {
		all, err := client.ZRangeWithScores(t.Context(), "pagi_pubsub:{room}:w", 0, -1).Result()
		if err != nil || len(all) != 2 {
			t.Fatalf("leases: %v %v", all, err)
		}
		return all[0].Score + all[1].Score
	}
	before := leases()
	testkit.Eventually(t, "longer leases of both", func() bool { return leases() > before+2*float64((lease/3).Milliseconds()) })
	killed.Kill()
	if m := next(t, ann); m.Kind != pubsub.Leave || m.From != "bob" || m.Data != "Bob" {
		t.Errorf("%+v", m)
	}
	testkit.Eventually(t, "one subscriber", func() bool {
		all, err := left.Channels(t.Context(), "")
		return err == nil && len(all) == 1 && all[0].Subscribers == 1
	})
}

func TestClose(t *testing.T) {
	server := testkit.SharedRedis(t)
	b, other := open(t, &redispubsub.Broker{URL: server.URL}), open(t, &redispubsub.Broker{URL: server.URL})
	s := subscribe(t, b, "c", pubsub.Options{Member: pubsub.Member{ID: "m"}})
	quick := subscribe(t, b, "c", pubsub.Options{})
	if _, err := b.Publish(t.Context(), "c", pubsub.Message{Data: "last"}); err != nil {
		t.Fatal(err)
	}
	next(t, quick)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if m := next(t, s); m.Data != "last" {
		t.Errorf("%+v", m)
	}
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
	b := open(t, &redispubsub.Broker{URL: testkit.SharedRedis(t).URL, MaxChannels: 1})
	subscribe(t, b, "one", pubsub.Options{})
	if _, err := b.Subscribe(t.Context(), "two", pubsub.Options{}); !errors.Is(err, pubsub.ErrTooMany) {
		t.Error(err)
	}
}

// TestTwoGateways has the same applications in two gateways, whose clients are one audience.
func TestTwoGateways(t *testing.T) {
	server := testkit.SharedRedis(t)
	var clients []*pagitest.Client
	var brokers []pubsub.Broker
	for range 2 {
		b := open(t, &redispubsub.Broker{URL: server.URL})
		brokers = append(brokers, b)
		clients = append(clients, pagitest.Start(t, &apps.URLMap{Mounts: []apps.Mount{
			{Path: "/live", App: &apps.WebSocketBroadcast{Feed: apps.Feed{Channel: "news", Broker: b}}},
			{Path: "/events", App: &apps.SSEPubsub{Feed: apps.Feed{Channel: "news", History: 10, Broker: b}}},
			{Path: "/chat", App: &apps.WebSocketChat{Broker: b}},
		}}))
	}
	one, two := clients[0].WebSocket("/live"), clients[1].WebSocket("/live")
	stream := clients[1].Events("/events")
	testkit.Eventually(t, "three subscribers", func() bool {
		all, err := brokers[0].Channels(t.Context(), "news")
		return err == nil && len(all) == 1 && all[0].Subscribers == 3
	})
	if err := one.SendText("hello"); err != nil {
		t.Fatal(err)
	}
	if got, err := two.ReceiveText(); err != nil || got != "hello" {
		t.Errorf("%q %v", got, err)
	}
	ev, ok := stream.Next()
	if !ok || ev.Data != "hello" {
		t.Errorf("%+v", ev)
	}
	stream.Disconnect(pagi.ReasonClientClosed)
	if err := stream.Finish().Err; err != nil {
		t.Error(err)
	}
	if err := two.SendText("missed"); err != nil {
		t.Fatal(err)
	}
	if got, err := one.ReceiveText(); err != nil || got != "missed" {
		t.Errorf("%q %v", got, err)
	}
	// The client comes back, to the other gateway.
	stream = clients[0].Events("/events", pagitest.Header("last-event-id", ev.ID))
	if ev, ok := stream.Next(); !ok || ev.Data != "missed" {
		t.Errorf("%+v", ev)
	}
	stream.Disconnect(pagi.ReasonClientClosed)
	if err := stream.Finish().Err; err != nil {
		t.Error(err)
	}
	chatOfTwoGateways(t, clients[0], clients[1])
	for _, ws := range []*pagitest.WebSocket{one, two} {
		if err := ws.Finish(); err != nil {
			t.Error(err)
		}
	}
}

func chatOfTwoGateways(t *testing.T, here, there *pagitest.Client) {
	t.Helper()
	ann := here.WebSocket("/chat")
	expect := func(ws *pagitest.WebSocket, what string) string {
		t.Helper()
		for {
			text, err := ws.ReceiveText()
			if err != nil {
				t.Fatalf("waiting for %s: %v", what, err)
			}
			if strings.Contains(text, `"type":"`+what+`"`) {
				return text
			}
		}
	}
	expect(ann, "welcome")
	bob := there.WebSocket("/chat") // comes after ann, who is told
	expect(bob, "welcome")
	expect(ann, "user_joined")
	if err := bob.SendText(`{"message":"from there"}`); err != nil {
		t.Fatal(err)
	}
	if got := expect(ann, "message"); !strings.Contains(got, "from there") {
		t.Error(got)
	}
	if err := ann.SendText(`{"type":"rooms"}`); err != nil {
		t.Fatal(err)
	}
	if got := expect(ann, "rooms"); !strings.Contains(got, `{"name":"lobby","count":2}`) {
		t.Error(got)
	}
	if err := bob.Finish(); err != nil {
		t.Error(err)
	}
	expect(ann, "user_left")
	if err := ann.Finish(); err != nil {
		t.Error(err)
	}
}
