// Package sse is what an application uses to send an event stream: one value per scope, with methods to
// start and send, loops, and clean-up that runs once.
//
//	func clock(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
//		stream := sse.New(ctx, scope, receive, send)
//		return stream.Every(time.Second, func() error {
//			return stream.SendData(time.Now().Format(time.TimeOnly))
//		})
//	}
//
// The files: sse.go has the life of a stream, send.go sending, each.go the loops.
//
// The package may import package request, and must know nothing of servers.
package sse

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// ErrStarted is the error of a second Start, and of Decline after the stream has begun.
var ErrStarted = errors.New("sse: the stream has begun already")

// CloseError says how a stream has ended. The methods that send return it when it is too late for them.
type CloseError struct {
	// Reason is the reason of the application's Close, or a standard disconnect reason: that of the
	// server if it knows one, else pagi.ReasonClientClosed.
	Reason string
}

func (e *CloseError) Error() string {
	if e.Reason == "" {
		return "sse: the stream has ended"
	}
	return "sse: the stream has ended (" + e.Reason + ")"
}

// Responder is a response that can be sent in any scope; *response.Response is one.
type Responder interface {
	Send(ctx context.Context, scope *pagi.Scope, send pagi.Send) error
}

// Stream is an event stream to one client. All methods but those of Request may be called by any
// goroutine; loops should be run by one. Goroutines that an application starts must have ended, or use
// the Stream no more, when Serve returns.
type Stream struct {
	ctx     context.Context // of the application; for sending
	life    context.Context // ends with ctx, and with the stream
	endLife context.CancelFunc
	request *request.Request
	receive pagi.Receive

	receiving sync.Mutex // held by the running Receive

	sending sync.Mutex // held by the running Send
	send    pagi.Send
	retry   *time.Duration // to come with the next event; guarded by sending

	mu      sync.Mutex // guards the rest
	started bool
	end     *CloseError // nil: the stream has not ended
	closed  []func(reason string)
	ran     chan struct{} // closed when the callbacks have run
	failed  error         // the panics of callbacks
}

// New returns a Stream for the arguments of an application's Serve in an sse scope.
func New(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) *Stream {
	s := &Stream{ctx: ctx, request: request.New(ctx, scope, receive), receive: receive, send: send, ran: make(chan struct{})}
	s.life, s.endLife = context.WithCancel(ctx)
	if retry, ok := scope.Value(scopekey.SSERetry).(time.Duration); ok {
		s.retry = &retry
	}
	return s
}

// Request returns the request: headers, query, cookies, path parameters, and the body of a POST.
func (s *Stream) Request() *request.Request { return s.request }

// LastEventID returns the id of the last event that the client has got before it lost the connection;
// "" if this is its first.
func (s *Stream) LastEventID() string { return s.request.Header("last-event-id") }

// Start begins the stream with a status, 0 for 200, and headers. An application that needs neither
// leaves it out: the first event begins the stream.
func (s *Stream) Start(status int, headers pagi.Headers) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	if err := s.canBegin(); err != nil {
		return err
	}
	return s.begin(pagi.SSEStart{Status: status, Headers: headers})
}

// Decline answers with a response instead of a stream, before the first event.
func (s *Stream) Decline(response Responder) error {
	if err := s.decline(response); err != nil {
		return err
	}
	s.finish(&CloseError{}) // sending is free: the callbacks may use the Stream
	return nil
}

func (s *Stream) decline(response Responder) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	if err := s.canBegin(); err != nil {
		return err
	}
	return response.Send(s.ctx, s.request.Scope(), s.send)
}

func (s *Stream) canBegin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.end != nil:
		return s.end
	case s.started:
		return ErrStarted
	}
	return nil
}

// begin sends the start; the caller holds sending.
func (s *Stream) begin(start pagi.SSEStart) error {
	if err := s.send(s.ctx, start); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = true
	return nil
}

// Close ends the stream at once; reason is for the log. It begins the stream if that has not begun. It
// may be called by another goroutine than the one in a loop, which then returns. It waits for a running
// send. The functions given to OnClose run before it returns. It does nothing if the stream has ended.
func (s *Stream) Close(reason string) error {
	s.sending.Lock()
	s.mu.Lock()
	over, started := s.end != nil, s.started
	s.mu.Unlock()
	if over {
		s.sending.Unlock()
		return nil
	}
	var err error
	if !started {
		err = s.begin(pagi.SSEStart{})
	}
	if err == nil {
		err = s.send(s.ctx, pagi.SSEClose{Reason: reason})
	}
	s.sending.Unlock()
	if err != nil {
		return err
	}
	s.finish(&CloseError{reason})
	return nil
}

// OnClose registers a function that runs once, when the stream ends: after Close or Decline, when a
// loop or Wait has noticed that the client has left, or when a loop ends with an error. The functions
// run one after another, in the order of registration. If the stream has ended already, f runs at once.
//
// A panic of f does not keep the others from running. The loop or Wait returns it as a
// *pagi.PanicError.
func (s *Stream) OnClose(f func(reason string)) {
	s.mu.Lock()
	if s.end == nil {
		s.closed = append(s.closed, f)
		s.mu.Unlock()
		return
	}
	reason := s.end.Reason
	s.mu.Unlock()
	f(reason)
}

// Err returns how the stream has ended: a *CloseError, or nil while it has not, as far as the Stream
// knows.
func (s *Stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end == nil {
		return nil
	}
	return s.end
}

// Done returns a channel that is closed when the stream has ended or the client has left.
func (s *Stream) Done() <-chan struct{} { return s.life.Done() }

// Wait waits until the stream has ended, for an application whose other goroutines send. It returns nil
// then, or the panics of functions given to OnClose. A request body that was not read is dropped.
func (s *Stream) Wait() error {
	for s.Err() == nil {
		if err := s.notice(); err != nil {
			s.finish(&CloseError{pagi.ReasonServerError})
			return errors.Join(err, s.panics())
		}
	}
	return s.panics()
}

// notice receives an event. If it is the disconnect, the stream ends.
func (s *Stream) notice() error {
	s.receiving.Lock()
	ev, err := s.receive(s.life)
	s.receiving.Unlock()
	var gone *pagi.DisconnectError
	switch e := ev.(type) {
	case pagi.SSEDisconnect:
		s.finish(&CloseError{e.Reason})
		return nil
	case pagi.SSERequest:
		return nil
	}
	switch {
	case s.Err() != nil: // Close has ended the waiting
		return nil
	case errors.As(err, &gone):
		s.finish(&CloseError{gone.Reason})
		return nil
	case err == nil:
		err = fmt.Errorf("sse: received an event of type %T", ev)
	}
	return err
}

// finish notes the end and runs the callbacks, the first time. It returns when they have run.
func (s *Stream) finish(end *CloseError) {
	s.mu.Lock()
	if s.end != nil {
		s.mu.Unlock()
		<-s.ran
		return
	}
	s.end = end
	callbacks := s.closed
	s.closed = nil
	s.mu.Unlock()
	s.endLife()
	var failed []error
	for _, f := range callbacks {
		failed = append(failed, guard(func() { f(end.Reason) }))
	}
	s.mu.Lock()
	s.failed = errors.Join(failed...)
	s.mu.Unlock()
	close(s.ran)
}

// panics returns the panics of the functions given to OnClose, once they have run.
func (s *Stream) panics() error {
	<-s.ran
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// guard calls f and returns its panic as an error.
func guard(f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &pagi.PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	f()
	return nil
}

// KeepAlive makes the server send comment every interval, so that proxies do not take the stream for
// dead; an interval of 0 stops it. An empty comment is allowed.
func (s *Stream) KeepAlive(interval time.Duration, comment string) error {
	return s.sendEvent(pagi.SSEKeepalive{Interval: interval, Comment: comment})
}
