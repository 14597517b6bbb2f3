// Package chunks is an application whose response comes piece by piece. It stops when the client leaves.
package chunks

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/response"
)

// New returns the application, which waits for pause between two chunks.
func New(pause time.Duration) pagi.App {
	return endpoint.Func(func(*endpoint.Context) (*response.Response, error) {
		write := func(w *response.Writer) error { return writeChunks(w, pause) }
		return response.Stream("text/plain", write).Header("trailer", "x-stream-complete"), nil
	})
}

func writeChunks(w *response.Writer, pause time.Duration) error {
	for n := 1; n <= 3; n++ {
		if n > 1 {
			select {
			case <-time.After(pause):
			case <-w.Context().Done():
				log.Printf("the client has left before chunk %d", n)
				return context.Cause(w.Context())
			}
		}
		fmt.Fprintf(w, "Chunk %d\n", n)
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return w.Trailer("x-stream-complete", "1")
}
