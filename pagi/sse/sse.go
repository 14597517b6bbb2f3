// Package sse is what an application uses to send an event stream: one value per scope, with
// methods to start and send, loops, and clean-up that runs once.
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
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/ending"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// ErrStarted is the error of a second Start, and of Decline after the stream has begun.
var ErrStarted = errors.New("sse: the stream has begun already")

// CloseError says how a stream has ended. The methods that send return it when it is too late for
// them.
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
// goroutine; loops should be run by one. Goroutines that an application starts must have ended, or
// use the Stream no more, when Serve returns.
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

	end ending.Once[*CloseError]

	mu      sync.Mutex // guards the rest
	started bool
}

// New returns a Stream for the arguments of an application's Serve in an sse scope.
func New(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) *Stream {
	s := &Stream{ctx: ctx, request: request.New(ctx, scope, receive), receive: receive, send: send}
	s.life, s.endLife = context.WithCancel(ctx)
	if retry, ok := scope.Value(scopekey.SSERetry).(time.Duration); ok {
		s.retry = &retry
	}
	return s
}

// Request returns the request: headers, query, cookies, path parameters, and the body of a POST.
func (s *Stream) Request() *request.Request { return s.request }

// Context returns a context with the values of the one with which the application was called. It ends
// when the stream has ended or the client has left, as far as the Stream knows, or the server stops.
func (s *Stream) Context() context.Context { return s.life }

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
	_ = s.end.Run() // sending is free: the functions may use the Stream
	return nil
}

func (s *Stream) decline(response Responder) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	if err := s.canBegin(); err != nil {
		return err
	}
	if err := response.Send(s.ctx, s.request.Scope(), s.send); err != nil {
		return err
	}
	s.note(&CloseError{})
	return nil
}

// note notes the end, and wakes a loop.
func (s *Stream) note(end *CloseError) {
	s.end.Note(end)
	s.endLife()
}

func (s *Stream) canBegin() error {
	switch err := s.Err(); {
	case err != nil:
		return err
	case s.hasStarted():
		return ErrStarted
	}
	return nil
}

func (s *Stream) hasStarted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.started
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

// Close ends the stream at once; reason is for the log. It begins the stream if that has not begun.
// It may be called by another goroutine than the one in a loop, which then returns. It waits for a
// running send. The functions given to OnClose run before it returns. It does nothing if the stream
// has ended.
func (s *Stream) Close(reason string) error {
	ended, err := s.sendClose(reason)
	if ended {
		_ = s.end.Run() // the loop or Wait returns the panics
	}
	return err
}

// sendClose sends the event, and reports whether it was the end.
func (s *Stream) sendClose(reason string) (ended bool, err error) {
	s.sending.Lock()
	defer s.sending.Unlock()
	if s.Err() != nil {
		return false, nil
	}
	if !s.hasStarted() {
		if err := s.begin(pagi.SSEStart{}); err != nil {
			return false, err
		}
	}
	if err := s.send(s.ctx, pagi.SSEClose{Reason: reason}); err != nil {
		return false, err
	}
	s.note(&CloseError{reason})
	return true, nil
}

// OnClose registers a function that runs once, when the stream ends: after Close or Decline, when a
// loop or Wait has noticed that the client has left, or when a loop ends with an error. The
// functions run one after another, in the order of registration. If the stream has ended already, f
// runs at once.
//
// A panic of f does not keep the others from running. The loop or Wait returns it as a
// *pagi.PanicError.
//
// f may send and close; it must not call Wait or run a loop, which wait for it.
func (s *Stream) OnClose(f func(reason string)) {
	s.end.On(func(end *CloseError) { f(end.Reason) })
}

// Err returns how the stream has ended: a *CloseError, or nil while it has not, as far as the Stream
// knows.
func (s *Stream) Err() error {
	if end, ok := s.end.End(); ok {
		return end
	}
	return nil
}

// Done returns a channel that is closed when the stream has ended or the client has left.
func (s *Stream) Done() <-chan struct{} { return s.life.Done() }

// Wait waits until the stream has ended, for an application whose other goroutines send. It returns
// nil then, or the panics of functions given to OnClose. A request body that was not read is
// dropped.
func (s *Stream) Wait() error {
	for s.Err() == nil {
		if err := s.notice(); err != nil {
			s.finish(&CloseError{pagi.ReasonServerError})
			return errors.Join(err, s.end.Run())
		}
	}
	return s.end.Run()
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

// finish notes an end that was found, and runs the functions given to OnClose.
func (s *Stream) finish(end *CloseError) {
	s.note(end)
	_ = s.end.Run() // the loop or Wait returns the panics
}

// KeepAlive makes the server send comment every interval, so that proxies do not take the stream for
// dead; an interval of 0 stops it. An empty comment is allowed.
func (s *Stream) KeepAlive(interval time.Duration, comment string) error {
	return s.sendEvent(pagi.SSEKeepalive{Interval: interval, Comment: comment})
}
