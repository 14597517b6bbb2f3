package mux

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// call is one call of an application in the worker: its receive, its send and its connection.
type call struct {
	stream  *stream
	scope   *pagi.Scope
	control engine.ConnectionControl
	started func() // called when lifespan.startup.complete is sent; nil in other scopes

	mu       sync.Mutex // held while an event is received
	previous item       // the event that receive returned last
	hasTaken bool       // its credit was granted

	order sync.Mutex // guards stage
	stage pagi.Stage // of the events that are sent
}

func newCall(s *stream, scope *pagi.Scope) *call {
	c := &call{stream: s, scope: scope, hasTaken: true}
	if scope.Type == pagi.TypeHTTP {
		scope.Connection = c.control.Connection()
	}
	if scope.Type != pagi.TypeLifespan {
		scope.Stash = &pagi.Stash{}
		meter := engine.NewFlowMeter(s.link.terms.Peer.Window-minPiece, s.link.terms.Peer.Window/4)
		s.out.count(meter, &s.link.tasks)
		scope.Transport = meter
	}
	return c
}

// disconnected is called when DISCONNECT has come, or the connection has ended.
func (c *call) disconnected(end ending, cancel context.CancelCauseFunc) {
	reason := end.reason()
	if c.scope.Type == pagi.TypeHTTP && reason == "" {
		if callbacks, first := c.control.Complete(); first {
			c.stream.link.tasks.Go(callbacks.Run) // the connection's reader must not wait for them
		}
		return
	}
	callbacks, first := c.control.Disconnect(reason)
	cancel(&pagi.DisconnectError{Reason: reason})
	if first {
		c.stream.link.tasks.Go(callbacks.Run)
	}
}

// reason is why the stream has ended, as the specification has it.
func (e *ending) reason() string {
	if e.err != nil {
		return pagi.ReasonServerShutdown
	}
	return e.text
}

// receive is the application's receive.
func (c *call) receive(ctx context.Context) (pagi.Event, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.hasTaken { // the application is done with the event before
		c.hasTaken = true
		if err := c.stream.taken(c.previous); err != nil {
			return nil, err
		}
	}
	ev, it, end, err := c.stream.receive(ctx)
	switch {
	case err != nil:
		return nil, err
	case end != nil:
		return c.disconnect(end), nil
	}
	c.previous, c.hasTaken = it, false
	return ev, nil
}

// disconnect returns the event that tells the application of the end.
func (c *call) disconnect(end *ending) pagi.Event {
	switch c.scope.Type {
	case pagi.TypeWebSocket:
		code := end.code
		if code == 0 {
			code = 1006
		}
		return pagi.WebSocketDisconnect{Code: code, Reason: end.reason()}
	case pagi.TypeSSE:
		return pagi.SSEDisconnect{Reason: end.reason()}
	case pagi.TypeLifespan:
		return pagi.LifespanShutdown{}
	}
	return pagi.HTTPDisconnect{}
}

// send is the application's send. It checks events and their order, as a server does.
func (c *call) send(ctx context.Context, ev pagi.Event) error {
	if err := pagi.Validate(c.scope.Type, ev); err != nil {
		return err
	}
	c.order.Lock()
	err := pagi.CheckOrder(c.stage, ev)
	if err == nil {
		c.stage = c.stage.After(ev)
	}
	c.order.Unlock()
	if err != nil {
		return err
	}
	switch e := ev.(type) {
	case pagi.HTTPResponseStart:
		c.control.Start()
	case pagi.LifespanStartupComplete:
		c.started()
	case pagi.HTTPResponseBody:
		if e.File != "" || e.FH != nil {
			return c.sendFile(ctx, e)
		}
		return c.sendBody(ctx, e)
	}
	return c.stream.send(ctx, ev)
}

// sendBody sends a piece of body, a long one as several events: each is one frame, so that the gateway need
// not put it together.
func (c *call) sendBody(ctx context.Context, body pagi.HTTPResponseBody) error {
	for len(body.Body) > maxBody {
		if err := c.stream.send(ctx, pagi.HTTPResponseBody{Body: body.Body[:maxBody], More: true}); err != nil {
			return err
		}
		body.Body = body.Body[maxBody:]
	}
	return c.stream.send(ctx, body)
}

// sendFile sends the rest of a body that is a file or a handle. Over a connection with descriptors a
// file goes as one; anything else is read here.
func (c *call) sendFile(ctx context.Context, body pagi.HTTPResponseBody) error {
	from := body.FH
	if body.File != "" {
		f, err := os.Open(body.File)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // only read from
		from = f
	}
	if f, is := from.(*os.File); is && c.stream.link.terms.Features.Has(wire.FeatureDescriptors) {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			return c.stream.sendFile(ctx, wire.FileRef{Offset: body.Offset, Length: body.Length}, f)
		}
	}
	if body.Offset > 0 {
		seeker, is := from.(io.Seeker)
		if !is {
			return fmt.Errorf("mux: an offset into a %T", from)
		}
		if _, err := seeker.Seek(body.Offset, io.SeekStart); err != nil {
			return err
		}
	}
	if body.Length >= 0 {
		from = io.LimitReader(from, body.Length)
	}
	return c.copy(ctx, from)
}

// copy sends what a reader has as the rest of the body.
func (c *call) copy(ctx context.Context, from io.Reader) error {
	b := make([]byte, maxBody)
	for {
		n, err := io.ReadFull(from, b)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return err
		}
		if err := c.stream.send(ctx, pagi.HTTPResponseBody{Body: b[:n], More: !last}); err != nil || last {
			return err
		}
	}
}
