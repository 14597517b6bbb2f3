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
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeHTTP || scope.Method == "HEAD" { // a body that HEAD leaves out cannot be counted
			return next.Serve(ctx, scope, receive, send)
		}
		c := &counter{limit: m.Buffer, send: send}
		if err := next.Serve(ctx, scope, receive, c.event); err != nil {
			return err
		}
		return c.release(ctx) // an application may return without ending its body
	})
}

// counter holds a response's start back until its length is known.
type counter struct {
	limit int
	send  pagi.Send
	start *pagi.HTTPResponseStart // held back; nil: it has left, or has not come yet
	held  []byte
}

func (c *counter) event(ctx context.Context, ev pagi.Event) error {
	if e, is := ev.(pagi.HTTPResponseStart); is && countable(e) {
		// The application may use its headers again once Send has returned.
		e.Headers = e.Headers.Clone()
		c.start = &e
		return nil
	}
	if c.start == nil {
		return c.send(ctx, ev)
	}
	e, is := ev.(pagi.HTTPResponseBody)
	switch {
	case !is || e.File != "" || e.FH != nil || e.More && len(c.held)+len(e.Body) > c.limit:
		if err := c.release(ctx); err != nil {
			return err
		}
		return c.send(ctx, ev)
	case e.More:
		c.held = append(c.held, e.Body...)
		return nil
	}
	c.start.Headers.Set("content-length", strconv.Itoa(len(c.held)+len(e.Body)))
	if len(c.held) > 0 {
		e.Body, c.held = append(c.held, e.Body...), nil
	}
	if err := c.release(ctx); err != nil {
		return err
	}
	return c.send(ctx, e)
}

// release sends the start and the pieces that are held back.
func (c *counter) release(ctx context.Context) error {
	if c.start == nil {
		return nil
	}
	start, held := *c.start, c.held
	c.start, c.held = nil, nil
	if err := c.send(ctx, start); err != nil || len(held) == 0 {
		return err
	}
	return c.send(ctx, pagi.HTTPResponseBody{Body: held, More: true})
}

func countable(e pagi.HTTPResponseStart) bool {
	return !e.Trailers && e.Status != 204 && e.Status != 304 && !e.Headers.Has("content-length") && !e.Headers.Has("transfer-encoding")
}
