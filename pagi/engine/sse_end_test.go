package engine_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
)

// sseEnd waits for the end of an sse scope as an application may, and returns the
// reason it is told.
func sseEnd(t *testing.T, c *call) string {
	for {
		ev, err := c.receive(context.WithoutCancel(c.ctx))
		if err != nil {
			t.Error(err)
			return ""
		}
		if e, is := ev.(pagi.SSEDisconnect); is {
			select {
			case <-c.ctx.Done():
			case <-time.After(testkit.Patience):
				t.Error("the context did not end")
			}
			var cause *pagi.DisconnectError
			if !errors.As(context.Cause(c.ctx), &cause) || cause.Reason != e.Reason {
				t.Errorf("cause %v", context.Cause(c.ctx))
			}
			if err := c.event("no-op"); err != nil {
				t.Errorf("a Send after the end: %v", err)
			}
			return e.Reason
		}
	}
}

func TestEndsOfEventStreams(t *testing.T) {
	stopping := make(chan struct{})
	close(stopping)
	for _, tt := range []struct {
		name    string
		options engine.Handler
		then    func(*stream)
		reason  string
		proper  bool // the client sees an end of stream
		log     string
	}{
		{"the client leaves", engine.Handler{}, func(s *stream) { s.cancel() }, pagi.ReasonClientClosed, false, ""},
		{"the client leaves, with a keepalive", engine.Handler{}, func(s *stream) { s.next(); s.cancel() }, pagi.ReasonClientClosed, false, ""},
		{"nothing is sent for too long", engine.Handler{Timeouts: engine.Timeouts{SSEIdleTimeout: 20 * time.Millisecond}}, nil, pagi.ReasonIdleTimeout, true, "--sse-idle-timeout"},
		{"the server stops", engine.Handler{Stopping: stopping}, nil, pagi.ReasonServerShutdown, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
				ended := make(chan string, 1)
				x := serve(tt.options, func(c *call) error {
					err := c.open()
					if strings.Contains(tt.name, "keepalive") {
						err = errors.Join(err, c.send(c.ctx, pagi.SSEKeepalive{Interval: time.Millisecond}))
					}
					ended <- sseEnd(t, c)
					return err
				})
				s := x.events("GET", nil)
				await := testkit.Await[string]
				if tt.then != nil {
					tt.then(s)
					await = testkit.AtOnce
				}
				if tt.proper {
					s.rest()
				}
				reason := await(t, ended)
				// A write may notice it first.
				if reason != tt.reason && (tt.reason != pagi.ReasonClientClosed || reason != pagi.ReasonWriteError) {
					t.Errorf("reason %q, want %q", reason, tt.reason)
				}
				if r := x.record(); r.Err != nil || r.Reason != reason || r.Close != nil {
					t.Errorf("record %+v", r)
				}
				if tt.log != "" {
					x.log.WaitFor(t, tt.log)
				} else if x.log.String() != "" {
					t.Errorf("logged %s", x.log)
				}
			})
		})
	}
}

// leaveAfter reads a response to its end, leaves, and closes left; the request must have
// ended well for all that.
func (x *fixture) leaveAfter(left chan<- struct{}) {
	x.t.Helper()
	s := x.events("GET", nil)
	s.rest()
	s.res.Body.Close()
	s.cancel()
	close(left)
	if r := x.record(); r.Err != nil || r.Reason != "" {
		x.t.Errorf("record %+v", r)
	}
}

// After sse.close the client's leaving is nothing to the application that cleans up.
func TestCleaningUpAfterSSEClose(t *testing.T) {
	onBoth(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
		left := make(chan struct{})
		x := serve(engine.Handler{}, func(c *call) error {
			err := errors.Join(c.open(), c.event("x"), c.send(c.ctx, pagi.SSEClose{}))
			<-left
			select {
			case <-c.ctx.Done():
				t.Errorf("the context has ended: %v", context.Cause(c.ctx))
			case <-time.After(50 * time.Millisecond):
			}
			return err
		})
		x.leaveAfter(left)
	})
}

// So it is after a request was declined; who waits for an event then learns that none comes.
func TestCleaningUpAfterADeclinedStream(t *testing.T) {
	onBoth(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
		left := make(chan struct{})
		x := serve(engine.Handler{}, func(c *call) error {
			watched := c.ctx.Done()
			err := errors.Join(c.send(c.ctx, pagi.SSEHTTPResponseStart{Status: 403}), c.send(c.ctx, pagi.SSEHTTPResponseBody{Body: []byte("no")}))
			<-left
			select {
			case <-watched:
				t.Errorf("the context has ended: %v", context.Cause(c.ctx))
			case <-time.After(50 * time.Millisecond):
			}
			var gone *pagi.DisconnectError
			if ev, err := c.receive(context.Background()); ev != nil || !errors.As(err, &gone) || gone.Reason != pagi.ReasonClientClosed {
				t.Errorf("received %v, %v", ev, err)
			}
			if c.ctx.Err() != nil {
				t.Errorf("the context has ended: %v", context.Cause(c.ctx))
			}
			return err
		})
		x.leaveAfter(left)
	})
}

// The connection of a stream that is over is not one to send another request on.
func TestSSECloseEndsTheConnection(t *testing.T) {
	ended := make(chan struct{})
	x := serve(t, engine.Handler{}, func(c *call) error {
		err := errors.Join(c.open(), c.event("x"), c.send(c.ctx, pagi.SSEClose{}))
		testkit.Await(t, ended)
		return err
	})
	c := x.request(getEvents)
	if got := c.Rest(); !strings.HasSuffix(got, "data: x\n\n\r\n0\r\n\r\n") {
		t.Errorf("%q", got)
	}
	close(ended)
	x.record()
}

func TestAnEventKeepsAStreamFromBeingIdle(t *testing.T) {
	x := serve(t, engine.Handler{Timeouts: engine.Timeouts{SSEIdleTimeout: 100 * time.Millisecond}}, func(c *call) error {
		err := c.open()
		for begin := time.Now(); time.Since(begin) < 250*time.Millisecond; time.Sleep(10 * time.Millisecond) {
			err = errors.Join(err, c.event("x"))
		}
		return errors.Join(err, c.event("end"))
	})
	if got := x.events("GET", nil).rest(); !strings.HasSuffix(got, "data: end\n\n") {
		t.Errorf("%q", got)
	}
}

func TestAnApplicationThatFailsInAnSSEScope(t *testing.T) {
	for _, tt := range []struct {
		name   string
		app    func(*call) error
		status int
		log    string
	}{
		{"before it answers", func(*call) error { return errors.New("bang") }, 500, "bang"},
		{"without an answer", func(*call) error { return nil }, 500, "without a response"},
		{"with a status of its own", func(*call) error { return &pagi.StatusError{Status: 503, Err: errors.New("full")} }, 503, "full"},
		{"by declining the scope", func(c *call) error { return pagi.Unsupported(c.scope) }, 500, "unsupported scope type"},
		{"by a panic", func(*call) error { panic("bang") }, 500, "bang"},
		{"in its stream", func(c *call) error { return errors.Join(c.open(), errors.New("bang")) }, 0, "bang"},
		{"in a response it began", func(c *call) error {
			return errors.Join(c.send(c.ctx, pagi.SSEHTTPResponseStart{Status: 200}), c.send(c.ctx, pagi.SSEHTTPResponseBody{Body: []byte("a"), More: true}))
		}, 0, "before the response was complete"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
				x := serve(engine.Handler{}, tt.app)
				s := x.events("GET", nil)
				if tt.status != 0 && s.res.StatusCode != tt.status {
					t.Errorf("%v", s.res)
				}
				if _, err := io.ReadAll(s.lines); (err != nil) != (tt.status == 0) {
					t.Errorf("the client reads to %v", err)
				}
				if r := x.record(); r.Reason != pagi.ReasonServerError {
					t.Errorf("record %+v", r)
				}
				x.log.WaitFor(t, tt.log)
			})
		})
	}
}

func TestAppInAnSSEScope(t *testing.T) {

	x := serve(t, engine.Handler{}, func(c *call) error {
		return nethttp.App(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for _, data := range []string{"a", "b"} {
				_, _ = io.WriteString(w, "data: "+data+"\n\n")
				if err := http.NewResponseController(w).Flush(); err != nil {
					t.Error(err)
				}
			}
		})).Serve(c.ctx, c.scope, c.receive, c.send)
	})
	s := x.events("GET", nil)
	if diff := cmp.Diff([]string{"data: a\n", "data: b\n"}, []string{s.next(), s.next()}); diff != "" || s.rest() != "" {
		t.Error(diff)
	}
	if r := x.record(); r.Err != nil {
		t.Errorf("record %+v", r)
	}
}
