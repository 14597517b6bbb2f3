// Package ticks is an event stream that ends by itself.
package ticks

import (
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/sse"
)

var events = []sse.Event{
	{Name: "tick", Data: "1"},
	{Name: "tick", Data: "2"},
	{Name: "done", Data: "finished"},
}

// New returns the application, which waits for pause in front of each event.
func New(pause time.Duration) pagi.App {
	return endpoint.SSEFunc(func(stream *sse.Stream) error {
		if err := stream.Start(200, nil); err != nil { // the browser knows at once that it is connected
			return err
		}
		for _, event := range events {
			select {
			case <-time.After(pause):
			case <-stream.Done():
				return nil
			}
			if err := stream.Send(event); err != nil {
				return err
			}
		}
		return nil
	})
}
