package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// A comment and a keepalive may come before sse.start: the comment leaves behind the head, and
// the keepalive counts from then on.
func TestCommentsAndKeepaliveBeforeSSEStart(t *testing.T) {
	onBoth(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
		x := serve(engine.Handler{}, func(c *call) error {
			err := errors.Join(
				c.send(c.ctx, pagi.SSEKeepalive{Interval: time.Hour, Comment: "never"}),
				c.send(c.ctx, pagi.SSEComment{Comment: "a"}),
				c.send(c.ctx, pagi.SSEKeepalive{Interval: time.Millisecond, Comment: "beat"}),
				c.send(c.ctx, pagi.SSEComment{Comment: "b"}),
				c.open(), c.event("x"))
			<-c.ctx.Done()
			return err
		})
		s := x.events("GET", nil)
		for _, want := range []string{":a\n", ":b\n", "data: x\n", ":beat\n"} {
			if got := s.next(); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		s.cancel()
	})
}

// A keepalive that was asked for is nothing to an ordinary response, nor to a response without
// a body.
func TestEarlyKeepaliveWithoutAStream(t *testing.T) {
	x := serve(t, engine.Handler{}, func(c *call) error {
		err := errors.Join(c.send(c.ctx, pagi.SSEKeepalive{Interval: time.Millisecond}), c.send(c.ctx, pagi.SSEComment{Comment: "a"}))
		if c.scope.Method == "HEAD" {
			return errors.Join(err, c.open())
		}
		return errors.Join(err, c.send(c.ctx, pagi.SSEHTTPResponseStart{Status: 404}), c.send(c.ctx, pagi.SSEHTTPResponseBody{Body: []byte("none")}))
	})
	for method, want := range map[string]string{"GET": "none", "HEAD": ""} {
		s := x.events(method, nil)
		if got := s.rest(); got != want {
			t.Errorf("%s: %q", method, got)
		}
		if r := x.record(); r.Err != nil {
			t.Errorf("%s: %v", method, r.Err)
		}
	}
}

// An sse.close without a reason is told to the application as the end of what it had itself.
func TestSSECloseWithoutAReason(t *testing.T) {
	onBoth(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
		x := serve(engine.Handler{}, func(c *call) error {
			if _, err := c.receive(c.ctx); err != nil {
				return err
			}
			if err := errors.Join(c.open(), c.send(c.ctx, pagi.SSEClose{})); err != nil {
				return err
			}
			ev, err := c.receive(c.ctx)
			if ev != (pagi.SSEDisconnect{Reason: pagi.ReasonClientClosed}) {
				t.Errorf("received %v", ev)
			}
			return err
		})
		s := x.events("GET", nil)
		if got := s.rest(); got != "" {
			t.Errorf("stream %q", got)
		}
		if r := x.record(); r.Err != nil || r.Reason != "" || r.Close != nil {
			t.Errorf("%+v", r)
		}
	})
}
