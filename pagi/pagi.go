// Package pagi is the vocabulary of this module: applications, middleware, scopes and events, by
// the PAGI specification 0.3. An application is called once per scope: for an HTTP request, a
// WebSocket, an event stream, or the life of the process. See the example of App.
package pagi

import "context"

// Receive returns the next event from the client. It blocks until there is one, or returns the
// error of ctx if ctx ends first. After the connection has ended, every call returns the protocol's
// disconnect event.
//
// Byte slices inside an event are valid until the next call of Receive.
// A Receive is not safe for concurrent use.
type Receive func(ctx context.Context) (Event, error)

// Send passes an event towards the client. It blocks while the client is behind (back-pressure),
// and returns when the server has taken the event over. The caller may reuse byte slices of the
// event once Send has returned.
//
// An event that the specification forbids (a missing field, a type the scope
// does not know, a control character in a header) makes Send return an *EventError.
// A Send after the client has gone is no error and does nothing. A Send is not
// safe for concurrent use unless the server says so.
type Send func(ctx context.Context, ev Event) error

// App is a PAGI application. Serve is called once per scope and returns when the scope's work is
// done. A returned error says that the application failed. For a scope type that it does not
// handle, it declines with an error (see Unsupported).
//
// ctx ends when the connection ends or when the server shuts down. Its cause (context.Cause) is a
// *DisconnectError if the server knows a reason.
type App interface {
	Serve(ctx context.Context, scope *Scope, receive Receive, send Send) error
}

// AppFunc makes an App of a function.
type AppFunc func(ctx context.Context, scope *Scope, receive Receive, send Send) error

// Serve calls f.
func (f AppFunc) Serve(ctx context.Context, scope *Scope, receive Receive, send Send) error {
	return f(ctx, scope, receive, send)
}

// Middleware makes an App out of another one. It must not change the Scope that it gets; it passes
// a changed copy down (see Scope.With and Scope.Clone). It observes and rewrites the exchange by
// wrapping receive and send.
type Middleware interface {
	Wrap(next App) App
}

// MiddlewareFunc makes a Middleware of a function.
type MiddlewareFunc func(next App) App

// Wrap calls f.
func (f MiddlewareFunc) Wrap(next App) App { return f(next) }

// Chain wraps app in the given middleware; the first one is the outermost and
// sees a request first.
func Chain(app App, middleware ...Middleware) App {
	for i := len(middleware) - 1; i >= 0; i-- {
		app = middleware[i].Wrap(app)
	}
	return app
}

// Checker is implemented by applications and middleware whose options can be wrong. An option
// struct is the App or Middleware itself, so there is no constructor that could fail; Check takes
// its place. The program that builds a site calls Check on every part before the first request, and
// refuses to start on an error.
//
// Check may look at the file system, but it starts nothing and changes nothing. It may be called
// any number of times. For a wrong option it returns an *OptionError or an errors.Join of several.
// A part with a wrong option stays safe to use: it answers the lifespan scope with startup.failed
// and every other scope with that error.
type Checker interface {
	Check() error
}

// Check returns the result of part.Check if part is a Checker, else nil.
func Check(part any) error {
	if c, ok := part.(Checker); ok {
		return c.Check()
	}
	return nil
}
