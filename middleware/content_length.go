package middleware

import (
	"context"
	"strconv"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// ContentLength gives a response a Content-Length when it lacks one and its body is small or comes
// in one piece. It holds pieces back up to Buffer bytes. A body that turns out larger, one that the
// application flushes, and one with trailers leave as a stream. The server adds the length of a
// file.
type ContentLength struct {
	// Buffer is how many bytes of a body in pieces are held back to count them; 0
	// holds nothing back: only a body in one piece is counted.
	Buffer int `yaml:"buffer" unit:"bytes"`
}

func init() { parts.Middleware[ContentLength]("content_length") }

// Check reports a negative Buffer.
func (m ContentLength) Check() error {
	if m.Buffer < 0 {
		return pagi.BadOption("buffer", "must not be negative, is %d", m.Buffer)
	}
	return nil
}

// Wrap puts m around next.
func (m ContentLength) Wrap(next pagi.App) pagi.App {
	on := onward(next)
	counted := &wholeBodies{limit: m.Buffer, wants: lacksLength, finish: countBody}
	return wrapPassage(m, next, func(ctx context.Context, p passage) error {
		if p.scope.Type != pagi.TypeHTTP || p.scope.Method == "HEAD" { // a body that HEAD leaves out cannot be counted
			return on(ctx, p)
		}
		return counted.serve(ctx, p, next)
	})
}

func lacksLength(e pagi.HTTPResponseStart) bool {
	return e.Status != 204 && e.Status != 304 && !e.Headers.Has("content-length") && !e.Headers.Has("transfer-encoding")
}

func countBody(start *pagi.HTTPResponseStart, _ string, body []byte) {
	start.Headers.Set("content-length", strconv.Itoa(len(body)))
}
