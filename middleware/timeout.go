package middleware

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Timeout limits how long the application may take for a response. After that the context of the
// application ends, and each further Send of its fails. The client gets a 504 at once if the response
// has not begun; otherwise the response is cut.
//
// The application runs in the goroutine that has called Timeout, and Timeout returns when it does. An
// application that does not look at its context goes on; the client does not wait for it.
//
// The time in which a client sends its request body, and in which it takes the response, counts too.
type Timeout struct {
	// Timeout is the time limit.
	Timeout time.Duration `yaml:"timeout" default:"30s" zero:"must be more than 0"`
	// Until says what must happen before: the "end" of the response, or its "start".
	Until string `yaml:"until" default:"end"`
	// Streams limits event streams and WebSockets as well.
	Streams bool `yaml:"streams"`
	// OnTimeout is called when a request has reached the limit, in a goroutine of its own. Timeout
	// waits for its end.
	OnTimeout func(scope *pagi.Scope) `yaml:"-"`
}

func init() { parts.Middleware[Timeout]("timeout") }

// Check reports a negative Timeout and a wrong Until.
func (m Timeout) Check() error {
	option.SetDefaults(&m)
	if m.Timeout < 0 {
		return pagi.BadOption("timeout", "must not be negative, is %v", m.Timeout)
	}
	if m.Until != "end" && m.Until != "start" {
		return pagi.BadOption("until", "must be end or start, is %q", m.Until)
	}
	return nil
}

// Wrap puts m around next.
func (m Timeout) Wrap(next pagi.App) pagi.App {
	option.SetDefaults(&m)
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeHTTP && !m.Streams {
			return next.Serve(ctx, scope, receive, send)
		}
		inner, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		r := &timedResponse{m: &m, ctx: ctx, cancel: cancel, scope: scope, send: send, fired: make(chan struct{})}
		r.timer = time.AfterFunc(m.Timeout, r.expire)
		defer r.stop() // if the application panics
		return r.outcome(next.Serve(inner, scope, receive, r.event))
	})
}

var eventStreams = mediaTypes{eventStream}

// timedResponse is a response with a time limit.
type timedResponse struct {
	m      *Timeout
	ctx    context.Context // of the caller
	cancel context.CancelCauseFunc
	scope  *pagi.Scope
	send   pagi.Send
	timer  *time.Timer
	fired  chan struct{} // closed when expire has returned

	sending sync.RWMutex // read-locked while the application sends an event, so that the 504 does not come between

	mu       sync.Mutex // guards the following; not held while an event is sent
	started  bool
	trailers bool
	done     bool  // the limit no longer applies; never together with late
	late     error // why the time is over; nil before
	panicked error // of OnTimeout
}

// expire runs when the time is over.
func (r *timedResponse) expire() {
	defer close(r.fired)
	r.mu.Lock()
	if r.done {
		r.mu.Unlock()
		return
	}
	r.late = &pagi.StatusError{
		Status: http.StatusGatewayTimeout, Message: http.StatusText(http.StatusGatewayTimeout),
		Err: fmt.Errorf("the application has taken more than %v: %w", r.m.Timeout, context.DeadlineExceeded),
	}
	started := r.started
	r.mu.Unlock()
	r.cancel(r.late)
	if !started {
		r.sending.Lock() // an interim response may be on its way
		_ = reply.Text(r.ctx, r.scope, r.send, http.StatusGatewayTimeout, "The server has taken too long.")
		r.sending.Unlock()
	}
	if r.m.OnTimeout != nil {
		defer func() {
			if p := recover(); p != nil {
				r.panicked = &pagi.PanicError{Value: p, Stack: debug.Stack()}
			}
		}()
		r.m.OnTimeout(r.scope)
	}
}

// stop ends the time limit. If the time is over, it waits until expire has returned.
func (r *timedResponse) stop() {
	r.timer.Stop()
	r.mu.Lock()
	late := r.late != nil
	r.done = !late
	r.mu.Unlock()
	if late {
		<-r.fired
	}
}

// event is the application's Send.
func (r *timedResponse) event(ctx context.Context, ev pagi.Event) error {
	if err := r.note(ev); err != nil {
		return err
	}
	r.sending.RLock()
	defer r.sending.RUnlock()
	if err := r.answered(); err != nil {
		return err
	}
	err := r.send(ctx, ev)
	if e, is := ev.(pagi.HTTPResponseBody); is && (e.File != "" || e.FH != nil) && err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.trailers {
			r.finish()
		}
	}
	return err
}

// answered returns an error if the client has got a 504, or is about to.
func (r *timedResponse) answered() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.started {
		return nil
	}
	return r.late
}

// note notes what ev does to the response, or says that it is late.
func (r *timedResponse) note(ev pagi.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.late != nil {
		return r.late
	}
	begins, ends := false, false
	switch e := ev.(type) {
	case pagi.HTTPResponseStart:
		begins, r.trailers = true, e.Trailers
		if !r.m.Streams && eventStreams.have(e.Headers.Get("content-type")) {
			ends = true
		}
	case pagi.HTTPResponseBody:
		ends = !r.trailers && !e.More && e.File == "" && e.FH == nil // a file takes its time
	case pagi.HTTPResponseTrailers:
		ends = true
	case pagi.SSEStart, pagi.SSEHTTPResponseStart, pagi.WebSocketAccept, pagi.WebSocketHTTPResponseStart:
		begins = true
	}
	r.started = r.started || begins
	if ends || begins && r.m.Until == "start" {
		r.finish()
	}
	return nil
}

// finish ends the time limit unless the time is over, with mu held.
func (r *timedResponse) finish() {
	if r.late == nil {
		r.done = true
		r.timer.Stop()
	}
}

// outcome is the result of Serve, given that of the application.
func (r *timedResponse) outcome(err error) error {
	r.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.late == nil:
		return err
	case !r.started:
		return r.panicked // the client has its answer
	}
	return errors.Join(r.late, r.panicked)
}
