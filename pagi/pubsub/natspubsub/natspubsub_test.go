package natspubsub_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/natspubsub"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/pubsubtest"
)

// startServer starts a NATS server for the time of a test.
func startServer(t *testing.T, o server.Options) *server.Server {
	t.Helper()
	o.Host, o.NoSigs, o.NoLog = "127.0.0.1", true, true
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	s, err := server.NewServer(&o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(testkit.Patience) {
		t.Fatal("the NATS server does not start")
	}
	return s
}

// first is how long the first node of a test looks for others.
const first = time.Millisecond

func open(t *testing.T, b *natspubsub.Broker) *natspubsub.Broker {
	t.Helper()
	if b.Lease == 0 {
		b.Lease = 6 * time.Second
	}
	if b.Alone == 0 {
		b.Alone = testkit.Patience // joins others before
	}
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
	s := startServer(t, server.Options{})
	n := 0
	prefix := func() string { n++; return fmt.Sprint("t", n) }
	pubsubtest.Run(t, func(t *testing.T) pubsub.Broker {
		return open(t, &natspubsub.Broker{URL: s.ClientURL(), Prefix: prefix(), Alone: first})
	})
	pubsubtest.RunPair(t, func(t *testing.T) (a, b pubsub.Broker) {
		p := prefix()
		return open(t, &natspubsub.Broker{URL: s.ClientURL(), Prefix: p, Alone: first}), open(t, &natspubsub.Broker{Server: s, Prefix: p})
	})
}

func ExampleBroker() {
	b := &natspubsub.Broker{URL: "nats://one.internal:4222,nats://two.internal:4222"}
	fmt.Println(b.Check()) // Open connects, and fails without a NATS
	_, err := b.Publish(context.Background(), "news", pubsub.Message{})
	fmt.Println(err)
	// Output:
	// <nil>
	// pubsub: closed
}
