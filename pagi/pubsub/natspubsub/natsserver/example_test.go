package natsserver_test

import (
	"context"
	"fmt"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/natspubsub"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/natspubsub/natsserver"
)

// A process that others can join at an address of its own. Those that listen where others can reach them
// need a Secret.
func Example() {
	s := &natsserver.Server{Listen: "127.0.0.1:0"}
	if err := s.Open(); err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	ctx := context.Background()
	b := &natspubsub.Broker{Server: s, Alone: 10 * time.Millisecond}
	if err := b.Open(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	sub, err := b.Subscribe(ctx, "news", pubsub.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sub.Close()
	if _, err := b.Publish(ctx, "news", pubsub.Message{Data: "hello"}); err != nil {
		fmt.Println(err)
		return
	}
	m, err := sub.Next(ctx)
	fmt.Println(m.Data, err)
	fmt.Println((&natsserver.Server{Listen: "10.0.0.1:6222"}).Check() != nil)
	// Output:
	// hello <nil>
	// true
}
