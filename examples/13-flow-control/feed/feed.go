// Package feed is an event stream of readings that are stale soon. A slow client gets fewer of them, and always
// a fresh one.
package feed

import (
	"log"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/sse"
)

// New returns the application, which has a reading of 2 KB every interval.
func New(interval time.Duration) pagi.App {
	return endpoint.SSEFunc(func(stream *sse.Stream) error { return follow(stream, interval) })
}

func follow(stream *sse.Stream, interval time.Duration) error {
	sent, skipped := 0, 0
	transport := stream.Request().Scope().Transport // nil if the server cannot measure it
	return stream.Every(interval, func() error {
		behind := transport != nil && transport.BufferedAmount() > transport.HighWaterMark()/2
		if (sent+skipped)%50 == 49 {
			log.Printf("sent %d, skipped %d, behind: %t", sent, skipped, behind)
		}
		if behind {
			skipped++
			return nil
		}
		sent++
		return stream.Send(sse.Event{Name: "reading", Data: time.Now().Format(time.ANSIC) + " " + strings.Repeat(".", 2000)})
	})
}
