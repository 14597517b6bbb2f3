package apps

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/sse"
)

// SSEStream sends the events of a generator to each client.
//
//	app := &apps.SSEStream{Events: func(ctx context.Context, scope *pagi.Scope) iter.Seq2[sse.Event, error] {
//		return func(yield func(sse.Event, error) bool) {
//			for i := range 10 {
//				if !yield(sse.Event{Data: strconv.Itoa(i)}, nil) {
//					return
//				}
//			}
//		}
//	}}
//
// The stream ends with the generator. The client then connects again, unless it was told not to.
type SSEStream struct {
	// Events returns the generator for a client. Its context ends when the client leaves; a generator
	// that waits must watch it. A generator that yields an error ends the stream with it.
	Events func(ctx context.Context, scope *pagi.Scope) iter.Seq2[sse.Event, error]
	// Retry is how long a client waits before it connects again; 0 leaves it to the client.
	Retry time.Duration
	// Headers go into the response.
	Headers map[string]string
	// OnConnect and OnClose are called for each client.
	OnConnect func(scope *pagi.Scope)
	OnClose   func(scope *pagi.Scope)
}

// Check reports a missing generator, and options that cannot work.
func (s *SSEStream) Check() error {
	err := checkStream(s.Retry, s.Headers)
	if s.Events == nil {
		err = errors.Join(pagi.BadOption("events", "is missing: it makes the events"), err)
	}
	return err
}

// Serve answers an sse scope with the stream. A request that does not accept one gets 406, a
// WebSocket 404.
func (s *SSEStream) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type == pagi.TypeLifespan {
		return serveLife(ctx, scope, receive, send, s.Check, func() error { return nil })
	}
	if done, err := refuseStream(ctx, scope, send); done {
		return err
	}
	if err := s.Check(); err != nil {
		return err
	}
	stream := sse.New(ctx, scope, receive, send)
	if s.Retry > 0 {
		stream.Retry(s.Retry)
	}
	if err := stream.Start(0, streamHeaders(s.Headers)); err != nil {
		return leftIsNil(ctx, err)
	}
	if s.OnConnect != nil {
		s.OnConnect(scope)
	}
	if s.OnClose != nil {
		defer s.OnClose(scope)
	}
	for event, err := range s.Events(ctx, scope) {
		if err == nil && ctx.Err() == nil {
			err = stream.Send(event)
		}
		if err != nil || ctx.Err() != nil {
			return endOfFeed(ctx, err)
		}
	}
	return stream.Close("the generator has ended")
}
