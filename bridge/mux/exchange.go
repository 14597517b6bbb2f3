package mux

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/pagi-go/pagi-bridge/bridge/internal/buffer"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// exchange is one scope that the gateway serves by a stream: it passes the client's events to the
// worker and the worker's events to the client.
type exchange struct {
	stream *stream
	conn   *Conn
	scope  *pagi.Scope
	send   pagi.Send

	denied    atomic.Bool // the worker answers a WebSocket's handshake with a response; the client sends nothing then
	accepted  bool        // the worker has accepted the WebSocket
	announced bool        // trailers follow the body
	complete  bool        // the answer is complete
	ends      bool        // how the worker has ended the stream is the scope's own error
}

// serve passes events both ways until one side has ended.
func (x *exchange) serve(ctx context.Context, first pagi.Event, receive pagi.Receive) error {
	if isLast(x.scope, first) {
		// The end of ctx tells when the client leaves. To watch for that at once would cost more than most answers.
		if c := x.scope.Connection; c != nil {
			c.OnComplete(x.completed)
		}
		return x.leave(ctx, x.forward(ctx))
	}
	x.watch()
	feeding, cancel := context.WithCancelCause(ctx)
	x.stream.in.atEnd(func(end ending) {
		if end.err != nil {
			cancel(end.err) // a send to a slow client need not wait any more
		}
	})
	var feeder sync.WaitGroup
	var failed error // of feed; valid once the feeder has ended
	feeder.Go(func() {
		if failed = x.feed(feeding, receive); failed != nil {
			if x.denied.Load() { // there is nothing to receive any more, but the rest of the response to send
				failed = nil
				return
			}
			cancel(failed)
		}
	})
	err := x.forward(feeding)
	cancel(nil)
	feeder.Wait()
	return x.leave(ctx, cmp.Or(failed, err))
}

// isLast reports whether the client of a scope sends nothing after ev but what watch notices. There may be no ev.
func isLast(scope *pagi.Scope, ev pagi.Event) bool {
	switch e := ev.(type) {
	case pagi.HTTPRequest:
		return !e.More && scope.Connection != nil
	case pagi.LifespanShutdown:
		return true
	}
	return false
}

// watch has the worker told when an http request ends. In other scopes the client's last event tells.
func (x *exchange) watch() {
	if c := x.scope.Connection; c != nil {
		c.OnDisconnect(func(reason string) { x.disconnect(0, reason) })
		c.OnComplete(x.completed)
	}
}

// completed has the worker told that the answer is complete: perhaps earlier than the worker thinks, by a middleware.
func (x *exchange) completed() { x.disconnect(0, "") }

// feed passes the client's events to the worker until the last one.
func (x *exchange) feed(ctx context.Context, receive pagi.Receive) error {
	for {
		ev, err := receive(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil // forward has ended, or is about to
			}
			return err
		}
		switch e := ev.(type) {
		case pagi.HTTPDisconnect:
			reason := ""
			if x.scope.Connection != nil {
				reason = x.scope.Connection.DisconnectReason()
			}
			x.disconnect(0, reason)
			return nil
		case pagi.SSEDisconnect:
			x.disconnect(0, e.Reason)
			return nil
		case pagi.WebSocketDisconnect:
			if !x.denied.Load() {
				x.disconnect(e.Code, e.Reason)
			}
			return nil
		}
		if err := x.stream.send(ctx, ev); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if isLast(x.scope, ev) {
			return nil
		}
	}
}

// disconnect sends DISCONNECT, once, unless the worker has ended the stream.
func (x *exchange) disconnect(code int, reason string) {
	if x.stream.in.ended() != nil || x.stream.told.Swap(true) {
		return
	}
	x.stream.out.close()
	// An error means that the connection has ended, and the stream with it.
	_ = x.conn.put(func(b []byte) []byte { return wire.AppendDisconnect(b, x.stream.id, code, reason) })
}

// forward passes the worker's events to the client until the answer is complete, or END.
func (x *exchange) forward(ctx context.Context) error {
	for {
		ev, it, end, err := x.stream.receive(ctx)
		switch {
		case err != nil:
			return err
		case end != nil:
			x.ends = true
			return x.ended(end)
		}
		if err := x.pass(ctx, ev, it); err != nil {
			return err
		}
		buffer.Put(it.buffer) // after an error a write that was given up may still use it
		if err := x.stream.taken(it); err != nil {
			return err
		}
		if x.complete {
			return nil
		}
		if ctx.Err() != nil { // a send to a client that has left is no error
			return context.Cause(ctx)
		}
	}
}

// pass sends one event of the worker to the client.
func (x *exchange) pass(ctx context.Context, ev pagi.Event, it item) error {
	if file, is := ev.(wire.HTTPFile); is {
		return x.passFile(ctx, file.Ref, it)
	}
	if it.file != nil {
		closeFile(it.file)
		err := fmt.Errorf("%w: a descriptor with %s", ErrProtocol, ev.EventType())
		x.conn.close(err)
		return err
	}
	switch ev.(type) {
	case pagi.WebSocketAccept:
		x.accepted = true
	case pagi.WebSocketHTTPResponseStart:
		x.denied.Store(!x.accepted)
	}
	if err := x.send(ctx, ev); err != nil {
		return err
	}
	switch e := ev.(type) {
	case pagi.HTTPResponseStart:
		x.announced = e.Trailers
	case pagi.HTTPResponseBody:
		x.complete = !e.More && !x.announced
	case pagi.HTTPResponseTrailers:
		x.complete = true
	}
	return nil
}

// passFile sends the file that a worker answers with.
func (x *exchange) passFile(ctx context.Context, ref wire.FileRef, it item) error {
	f, err := x.conn.openFile(ref, it)
	if err != nil {
		closeFile(f)
		if errors.Is(err, ErrProtocol) {
			x.conn.close(err)
		}
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	x.complete = !x.announced
	return x.send(ctx, pagi.HTTPResponseBody{FH: f, Offset: ref.Offset, Length: ref.Length})
}

// ended returns the error of a scope that the worker has ended.
func (x *exchange) ended(end *ending) error {
	switch {
	case end.err != nil:
		return end.err
	case end.code == wire.EndReturned:
		return nil
	case end.code == wire.EndUnsupported:
		return pagi.Unsupported(x.scope)
	}
	return &EndError{Kind: end.code, Message: end.text}
}

// leave is called when Serve returns, with its error; a client that has left is none. A stream that
// the worker has not ended lives on until it does: what the worker still sends is dropped, and how it
// ends is logged if it is an error.
func (x *exchange) leave(ctx context.Context, err error) error {
	s := x.stream
	if s.in.ended() == nil {
		x.disconnect(0, x.reasonFor(ctx, err))
	}
	s.in.drop()
	if end := s.in.ended(); !x.ends && (end == nil || end.code != wire.EndReturned) {
		s.in.atEnd(func(end ending) {
			if end.err == nil && end.code != wire.EndReturned {
				s.logger().Warn("the application failed after its answer", "error", end.text)
			}
		})
	}
	if err == nil {
		return nil
	}
	var gone *pagi.DisconnectError
	if errors.As(err, &gone) {
		return nil
	}
	return err
}

// reasonFor returns the reason that the worker is given for the end of a scope.
func (x *exchange) reasonFor(ctx context.Context, err error) string {
	var gone *pagi.DisconnectError
	switch {
	case err == nil:
		if c := x.scope.Connection; c != nil && !c.ResponseComplete() {
			return c.DisconnectReason() // the client has left before the last event was sent
		}
		return ""
	case errors.As(context.Cause(ctx), &gone), errors.As(err, &gone):
		return gone.Reason
	case ctx.Err() != nil:
		return pagi.ReasonServerShutdown
	}
	return pagi.ReasonServerError
}
