// Package pagi is the vocabulary everything else in this module is written
// against: the application interface, the connection scope, the events of the
// http, websocket, sse and lifespan protocols, headers, and the objects through
// which a server tells an application about its connection.
//
// It follows the PAGI specification 0.3 (core, www, lifespan, tls, extensions).
// An application is called once per scope, which is one HTTP request, one
// WebSocket, one SSE stream or the life of the process:
//
//	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
//		if scope.Type != pagi.TypeHTTP {
//			return pagi.Unsupported(scope)
//		}
//		if err := send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "text/plain")}); err != nil {
//			return err
//		}
//		return send(ctx, pagi.HTTPResponseBody{Body: []byte("Hello from PAGI")})
//	})
//
// The package imports nothing but the standard library and knows nothing of
// sockets, Perl, middleware or ready-made applications.
package pagi

import "context"

// Versions of the specification this package implements.
const (
	// SpecVersion is the version of the core specification and of every
	// protocol specification below it; it is the value of Scope.PAGI.Version.
	SpecVersion = "0.3"
)

// Receive yields the next event from the client. It blocks until there is one,
// or returns ctx's error when ctx ends first. After the connection is gone it
// returns the protocol's disconnect event, every time it is called.
//
// Byte slices inside an event are valid until the next call of Receive.
// A Receive is not safe for concurrent use.
type Receive func(ctx context.Context) (Event, error)

// Send passes an event towards the client. It blocks while the client is behind
// (back-pressure) and returns when the event has been taken over; byte slices in
// the event are the caller's again once Send returns.
//
// An event that the specification forbids (a missing field, a type the scope
// does not know, a control character in a header) makes Send return an *EventError.
// A Send after the client has gone is no error and does nothing. A Send is not
// safe for concurrent use unless the server says so.
type Send func(ctx context.Context, ev Event) error

// App is a PAGI application. Serve is called once per scope and returns when the
// scope's work is done; a returned error says the application failed or, for a
// scope type it does not handle, declined (see Unsupported).
//
// ctx ends when the connection does or when the server shuts down; its cause
// (context.Cause) is a *DisconnectError where the server knows a reason.
type App interface {
	Serve(ctx context.Context, scope *Scope, receive Receive, send Send) error
}

// AppFunc makes an App of a function.
type AppFunc func(ctx context.Context, scope *Scope, receive Receive, send Send) error

// Serve calls f.
func (f AppFunc) Serve(ctx context.Context, scope *Scope, receive Receive, send Send) error {
	return f(ctx, scope, receive, send)
}

// Middleware makes an App out of another one. It must not change the Scope it is
// given; it passes a changed copy down (see Scope.With and Scope.Clone). It
// observes and rewrites the exchange by wrapping receive and send.
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

// Checker is implemented by applications and middleware that have options which
// can be wrong. An option struct is the App or Middleware itself, so there is no
// moment of construction at which it could fail; Check is that moment. Whoever
// puts a site together calls it on every part before the first request and
// refuses to start on an error.
//
// Check may look at the file system but starts nothing, changes nothing and may be
// called any number of times. For a wrong option it returns an *OptionError or an
// errors.Join of several. A part with an error in it stays safe to use: it answers
// the lifespan scope with startup.failed and every other scope with that error.
type Checker interface {
	Check() error
}

// Check returns part.Check's result when part is a Checker, else nil.
func Check(part any) error {
	if c, ok := part.(Checker); ok {
		return c.Check()
	}
	return nil
}

// Broken returns the application that stands in for one that cannot work: it
// answers lifespan.startup with startup.failed, so that a server does not start,
// and any other scope with err.
func Broken(err error) App {
	return AppFunc(func(ctx context.Context, scope *Scope, receive Receive, send Send) error {
		if scope.Type != TypeLifespan {
			return err
		}
		return ServeLifespan(ctx, receive, send, func(context.Context) error { return err }, nil)
	})
}
