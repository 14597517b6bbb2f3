// Package progress is an event stream that the application ends. A browser connects again when a stream ends,
// so the last event tells it to close.
package progress

import (
	_ "embed"
	"log"
	"time"

	"github.com/pagi-go/pagi-bridge/examples/internal/look"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/sse"
)

//go:embed page.html
var page string

// New returns the application, which waits for pause behind each step.
func New(pause time.Duration) pagi.App {
	r := &endpoint.Router{}
	r.Get("/style.css", look.Style)
	r.Get("/", look.Page(page))
	r.SSE("/jobs", func(stream *sse.Stream) error { return work(stream, pause) })
	return r
}

func work(stream *sse.Stream, pause time.Duration) error {
	stream.OnClose(func(reason string) { log.Printf("the stream has ended: %s", reason) })
	for _, percent := range []int{25, 50, 75, 100} {
		if err := stream.SendJSON("progress", map[string]int{"pct": percent}); err != nil {
			return err
		}
		select {
		case <-time.After(pause):
		case <-stream.Done():
			return nil
		}
	}
	if err := stream.SendJSON("done", map[string]int{"ok": 1}); err != nil {
		return err
	}
	return stream.Close("job_complete") // the reason is for the log; clients do not see it
}
