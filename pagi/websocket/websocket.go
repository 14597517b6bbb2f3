// Package websocket is what an application uses to talk over a WebSocket: one value per scope, with
// methods to accept, send and receive, loops over messages, and clean-up that runs once.
//
//	func echo(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
//		conn := websocket.New(ctx, scope, receive, send)
//		if err := conn.Accept(websocket.Accept{}); err != nil {
//			return err
//		}
//		return conn.EachText(conn.SendText)
//	}
//
// The files: websocket.go has the life of a connection, send.go sending, receive.go receiving,
// each.go the loops.
//
// The package may import package request, and must know nothing of servers.
package websocket

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/ending"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

// Close codes of RFC 6455 section 7.4.1 that an application uses.
const (
	CodeNormal          = 1000
	CodeGoingAway       = 1001
	CodeUnsupportedData = 1003
	CodeNoStatus        = 1005 // the client gave none
	CodeAbnormal        = 1006 // the connection dropped
	CodeInvalidData     = 1007
	CodePolicyViolation = 1008
	CodeTooBig          = 1009
	CodeInternalError   = 1011
)

var (
	// ErrNotAccepted is the error of sending or receiving before Accept.
	ErrNotAccepted = errors.New("websocket: not accepted yet")
	// ErrAccepted is the error of a second Accept, and of Deny after it.
	ErrAccepted = errors.New("websocket: accepted already")
)

// CloseError says how a connection has ended. Receive returns it when there are no more messages,
// Accept, Deny and the methods that send when it is too late for them.
type CloseError struct {
	// Code is the close code: that of the client, or of the application's own Close; CodeNoStatus if
	// the client gave none, CodeAbnormal if the connection dropped, 0 after Deny.
	Code int
	// Reason is the text that came with the code, or a standard disconnect reason.
	Reason string
}

func (e *CloseError) Error() string {
	if e.Code == 0 {
		return "websocket: denied"
	}
	if e.Reason == "" {
		return fmt.Sprintf("websocket: closed with code %d", e.Code)
	}
	return fmt.Sprintf("websocket: closed with code %d (%s)", e.Code, e.Reason)
}

// Responder is a response that can be sent in any scope; *response.Response is one.
type Responder interface {
	Send(ctx context.Context, scope *pagi.Scope, send pagi.Send) error
}

// Conn is the application's side of one WebSocket. Methods that send, Close included, may be called
// by any goroutine; only one goroutine may receive. Goroutines that an application starts must have
// ended, or use the Conn no more, when Serve returns.
type Conn struct {
	ctx     context.Context
	request *request.Request
	receive pagi.Receive

	sending sync.Mutex // held by the running Send
	send    pagi.Send

	end ending.Once[*CloseError]

	mu    sync.Mutex // guards the rest
	state state      // until the end
}

// state is where a connection that has not ended stands. It only grows.
type state uint8

const (
	connecting state = iota // websocket.connect is not received
	asked                   // the client waits for an answer
	open
)

// New returns a Conn for the arguments of an application's Serve in a websocket scope.
func New(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) *Conn {
	return &Conn{ctx: ctx, request: request.New(ctx, scope, receive), receive: receive, send: send}
}

// Request returns the handshake's request: headers, query, cookies, path parameters.
func (c *Conn) Request() *request.Request { return c.request }

// Context returns the context with which the application was called. It ends when the connection has
// ended, or the server stops.
func (c *Conn) Context() context.Context { return c.ctx }

// Accept are the options of Conn.Accept.
type Accept struct {
	// Subprotocols are those that the application speaks, the preferred one first. The first that the
	// client offered is chosen; none if it offered none of them.
	Subprotocols []string
	// Headers go into the answer to the handshake.
	Headers pagi.Headers
}

// Accept completes the handshake. If the client has left meanwhile, the error is a *CloseError.
func (c *Conn) Accept(options Accept) error {
	if err := c.connect(); err != nil {
		return err
	}
	offered := c.request.Scope().Subprotocols
	i := slices.IndexFunc(options.Subprotocols, func(s string) bool { return slices.Contains(offered, s) })
	accept := pagi.WebSocketAccept{Headers: options.Headers}
	if i >= 0 {
		accept.Subprotocol = options.Subprotocols[i]
	}
	return c.sendInState(asked, accept, func() { c.state = open })
}

// connect receives websocket.connect, unless that is done.
func (c *Conn) connect() error {
	if err := c.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	state := c.state
	c.mu.Unlock()
	if state != connecting {
		return nil
	}
	ev, err := c.receive(c.ctx)
	switch e := ev.(type) {
	case pagi.WebSocketConnect:
		c.mu.Lock()
		c.state = max(c.state, asked)
		c.mu.Unlock()
		return nil
	case pagi.WebSocketDisconnect:
		return c.finish(&CloseError{e.Code, e.Reason})
	}
	var gone *pagi.DisconnectError
	if errors.As(err, &gone) {
		return c.finish(&CloseError{CodeAbnormal, gone.Reason})
	}
	if err == nil {
		err = fmt.Errorf("websocket: received %T instead of pagi.WebSocketConnect", ev)
	}
	return err
}

// CanDeny reports whether the server can send the response of Deny. If it cannot, the client gets a
// plain 403.
func (c *Conn) CanDeny() bool { return c.request.Scope().HasExtension(pagi.ExtDenialResponse) }

// Deny refuses the handshake with a response, before Accept. Without the server's help (see CanDeny)
// the client gets 403.
func (c *Conn) Deny(response Responder) error {
	if err := c.connect(); err != nil {
		return err
	}
	if err := c.deny(response); err != nil {
		return err
	}
	_ = c.end.Run() // sending is free: the functions may use the Conn
	return nil
}

func (c *Conn) deny(response Responder) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	if err := c.refuseState(asked); err != nil {
		return err
	}
	if err := response.Send(c.ctx, c.request.Scope(), c.send); err != nil {
		return err
	}
	c.end.Note(&CloseError{})
	return nil
}

// Close closes the connection; code 0 means CodeNormal. Before Accept it refuses the handshake with
// 403. reason is UTF-8 of at most 123 bytes. Close waits for a running send, and does nothing if the
// connection is closed already. The functions given to OnClose run before it returns.
func (c *Conn) Close(code int, reason string) error {
	if err := c.connect(); err != nil && !isClosed(err) {
		return err
	}
	if code == 0 {
		code = CodeNormal
	}
	ended, err := c.sendClose(code, reason)
	if ended {
		_ = c.end.Run() // whoever receives returns the panics
	}
	return err
}

// sendClose sends the event, and reports whether it was the end.
func (c *Conn) sendClose(code int, reason string) (ended bool, err error) {
	c.sending.Lock()
	defer c.sending.Unlock()
	if c.Err() != nil {
		return false, nil
	}
	if err := c.send(c.ctx, pagi.WebSocketClose{Code: code, Reason: reason}); err != nil {
		return false, err
	}
	c.end.Note(&CloseError{code, reason})
	return true, nil
}

func isClosed(err error) bool {
	var end *CloseError
	return errors.As(err, &end)
}

// OnClose registers a function that runs once, when the connection ends: after Close or Deny, when a
// Receive has found the end, or when a loop ends with an error. The functions run one after another,
// in the order of registration. If the connection has ended already, f runs at once.
//
// A panic of f does not keep the others from running. The loop or the Receive that has found the end
// returns it as a *pagi.PanicError, joined to its own error.
//
// f may send and close; it must not receive or run a loop, which wait for it.
func (c *Conn) OnClose(f func(end *CloseError)) { c.end.On(f) }

// Err returns how the connection has ended: a *CloseError, or nil while it has not, as far as the
// Conn knows.
func (c *Conn) Err() error {
	if end, ok := c.end.End(); ok {
		return end
	}
	return nil
}

// finish notes an end that was found, and runs the functions given to OnClose. It returns how the
// connection has ended, with their panics.
func (c *Conn) finish(end *CloseError) error {
	c.end.Note(end)
	if failed := c.end.Run(); failed != nil {
		return errors.Join(c.Err(), failed)
	}
	return c.Err()
}

// KeepAlive makes the server ping the client every interval, and drop the connection if no pong comes
// within timeout; a timeout of 0 waits for ever. An interval of 0 stops the pings.
func (c *Conn) KeepAlive(interval, timeout time.Duration) error {
	return c.sendInState(open, pagi.WebSocketKeepalive{Interval: interval, Timeout: timeout}, nil)
}
