// Package endpoint makes applications of functions: a function that gets a Context and returns a
// response, one that talks over a WebSocket, one that sends an event stream. All of them are
// pagi.Apps, and can be mixed with plain ones.
//
//	hello := endpoint.Func(func(c *endpoint.Context) (*response.Response, error) {
//		return response.Text("Hello, " + c.Query().Get("name")), nil
//	})
//
// The files: endpoint.go has functions as applications, json.go functions of values, http.go an
// application with a function for each method, websocket.go and sse.go applications with hooks,
// router.go and router_routes.go the router of functions.
//
// It may import the other helpers of an application's author, and must know nothing of servers,
// Perl or middleware.
package endpoint

import (
	"context"
	"errors"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/pagi/response"
	"github.com/pagi-go/pagi-bridge/pagi/session"
	"github.com/pagi-go/pagi-bridge/pagi/sse"
	"github.com/pagi-go/pagi-bridge/pagi/websocket"
)

var (
	// ErrNoResponse is the error of a Func that has returned neither a response nor an error, and has
	// sent no event.
	ErrNoResponse = errors.New("endpoint: the handler has returned no response")
	// ErrNoSession is the error of Context.Session without a session.Manager around the application.
	ErrNoSession = errors.New("endpoint: there is no session: put a session.Manager around the application")
)

// Context is what a Func gets: the request, the session, and the way to the client. Its Request has
// query, headers, cookies, path parameters, body and URLs. A Context is for one goroutine, and for
// the time until the Func returns.
type Context struct {
	*request.Request

	ctx  context.Context
	send pagi.Send
	sent bool
}

// New returns a Context for the arguments of an application's Serve.
func New(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) *Context {
	c := &Context{Request: request.New(ctx, scope, receive), ctx: ctx}
	c.send = func(ctx context.Context, ev pagi.Event) error {
		c.sent = true
		return send(ctx, ev)
	}
	return c
}

// Context returns the context of the exchange. It ends when the client leaves or the server stops.
func (c *Context) Context() context.Context { return c.ctx }

// Session returns the session of the request; see package session. The error is ErrNoSession if no
// session.Manager is around the application.
func (c *Context) Session() (*session.Session, error) {
	s, ok := session.FromScope(c.Scope())
	if !ok {
		return nil, ErrNoSession
	}
	return s, nil
}

// Stash returns the values that all layers of the request share.
func (c *Context) Stash() *pagi.Stash { return c.Scope().Stash }

// Respond sends a response, for a Func that has more to do afterwards. The Func then returns nil.
func (c *Context) Respond(r *response.Response) error { return r.Send(c.ctx, c.Scope(), c.send) }

// Send sends an event, for what a response cannot do. A Func that has sent a response by events
// returns nil.
func (c *Context) Send(ev pagi.Event) error { return c.send(c.ctx, ev) }

// Call runs another application for this request, which finds the body that was read whole. The Func
// then returns nil.
func (c *Context) Call(app pagi.App) error {
	return app.Serve(c.ctx, c.Scope(), c.Receive(), c.send)
}

// Func is an application of http scopes. It returns a response, or nil if it has answered by
// itself. An error is returned to the server, which answers with 500 or the status of a
// *pagi.StatusError in it; those of package request have one. Temporary files of uploads are
// removed when it has returned and its response is sent. Other scopes are declined.
type Func func(c *Context) (*response.Response, error)

// Serve implements pagi.App.
func (f Func) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) (err error) {
	if scope.Type != pagi.TypeHTTP {
		return pagi.Unsupported(scope)
	}
	c := New(ctx, scope, receive, send)
	defer func() { err = errors.Join(err, c.Close()) }()
	r, err := f(c)
	switch {
	case err != nil:
		return err
	case r != nil:
		return c.Respond(r)
	case !c.sent:
		return ErrNoResponse
	}
	return nil
}

// WebSocketFunc is an application of websocket scopes. Other scopes are declined.
type WebSocketFunc func(conn *websocket.Conn) error

// Serve implements pagi.App. A connection that the function has not ended is closed by the server.
func (f WebSocketFunc) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type != pagi.TypeWebSocket {
		return pagi.Unsupported(scope)
	}
	return f(websocket.New(ctx, scope, receive, send))
}

// SSEFunc is an application of sse scopes. Other scopes are declined.
type SSEFunc func(stream *sse.Stream) error

// Serve implements pagi.App. A stream that the function has not ended is ended when it returns.
func (f SSEFunc) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type != pagi.TypeSSE {
		return pagi.Unsupported(scope)
	}
	return f(sse.New(ctx, scope, receive, send))
}
