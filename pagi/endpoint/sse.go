package endpoint

import (
	"context"
	"errors"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/sse"
)

// SSE is an application of sse scopes whose events come from elsewhere: Connect makes the stream known
// to those who send, and Disconnect makes them forget it. An application that sends by itself, in a
// loop, is an SSEFunc.
//
// A stream ends when the client leaves, when someone closes it, or when the server stops. Scopes of
// other types are declined.
type SSE struct {
	// Connect is called first. It may send events, set headers (Stream.Start) and refuse the client
	// (Stream.Decline). An error ends the stream, and is returned to the server. The stream begins when
	// Connect has returned, unless Connect begins it. If others use Stream.TrySend, which drops an event
	// while another one is being sent, Connect should begin the stream before they know it.
	Connect func(stream *sse.Stream) error
	// Disconnect is called once for each Connect that has returned nil, also if that has declined. reason
	// is the reason of Stream.Close, or a standard disconnect reason.
	Disconnect func(stream *sse.Stream, reason string)
	// KeepAlive is how often the server sends a comment, so that proxies do not take the stream for dead;
	// 0 means never.
	KeepAlive time.Duration
}

// Check reports a negative KeepAlive.
func (e SSE) Check() error {
	if e.KeepAlive < 0 {
		return pagi.BadOption("keep_alive", "must not be negative, is %v", e.KeepAlive)
	}
	return nil
}

// Serve implements pagi.App. It returns when the stream has ended.
func (e SSE) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type != pagi.TypeSSE {
		return pagi.Unsupported(scope)
	}
	stream := sse.New(ctx, scope, receive, send)
	if e.Connect != nil {
		if err := e.Connect(stream); err != nil {
			return err
		}
	}
	if e.Disconnect != nil {
		stream.OnClose(func(reason string) { e.Disconnect(stream, reason) })
	}
	if err := e.begin(stream); err != nil {
		return err
	}
	return stream.Wait()
}

// begin begins the stream, unless that is done or it has ended.
func (e SSE) begin(stream *sse.Stream) error {
	err := stream.Start(0, nil)
	if errors.Is(err, sse.ErrStarted) {
		err = nil
	}
	if err == nil && e.KeepAlive > 0 {
		err = stream.KeepAlive(e.KeepAlive, "")
	}
	if stream.Err() != nil {
		return nil
	}
	return err
}

func (e SSE) scopeType() string { return pagi.TypeSSE }
