// Package lifespan has the two sides of the lifespan protocol (PAGI::Spec::Lifespan). One side is
// for applications that have something to start and to stop. The other is for a server, a URL map
// or a test client that starts an application.
//
// Files: lifespan.go the application's side, run.go the server's, fanout.go an application
// that passes the scope on to several.
package lifespan

import (
	"context"
	"errors"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Hooks is a middleware that gives an application hooks around its life. Startup hooks run in order
// before the first request. If one fails, the Shutdown hooks run and the server does not start.
// Shutdown hooks run in reverse order after the last request. All of them run, even if one fails.
// The application's own lifespan handling, if any, runs after the Startup and before the Shutdown
// hooks.
//
// Hooks share the state map, whose entries appear in pagi.Scope.State of each request.
type Hooks struct {
	Startup  []func(ctx context.Context, state map[string]any) error
	Shutdown []func(ctx context.Context, state map[string]any) error
}

// Wrap returns app with the hooks around it.
func (l Hooks) Wrap(app pagi.App) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeLifespan {
			return app.Serve(ctx, scope, receive, send)
		}
		return l.serve(ctx, app, scope, receive, send)
	})
}

func (l Hooks) serve(ctx context.Context, app pagi.App, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.State == nil { // the server keeps no state, so the hooks share a map of their own
		scope = scope.Clone()
		scope.State = map[string]any{}
	}
	var inner *Run
	startup := func(ctx context.Context) error {
		for _, hook := range l.Startup {
			if err := caught(func() error { return hook(ctx, scope.State) }); err != nil {
				return err
			}
		}
		var err error
		inner, err = Start(ctx, app, scope)
		return OwnMessage(err)
	}
	shutdown := func(ctx context.Context) error {
		var errs []error
		if inner != nil {
			errs = append(errs, OwnMessage(inner.Shutdown(ctx)))
		}
		for i := len(l.Shutdown) - 1; i >= 0; i-- {
			errs = append(errs, caught(func() error { return l.Shutdown[i](ctx, scope.State) }))
		}
		return errors.Join(errs...)
	}
	return Serve(ctx, receive, send, startup, shutdown)
}

// cleanUpTime is how long a shutdown may take when its scope's context has already ended. It is
// less than abandonTime, so that the server still waits for the work that the shutdown does when
// its own context ends.
const cleanUpTime = 3 * time.Second

// Serve answers a lifespan scope with two functions. An application with something to start calls
// it when pagi.Scope.Type is pagi.TypeLifespan. If startup fails, Serve calls shutdown, too, to
// release what startup had already acquired, and sends the error to the server. It also calls
// shutdown if the scope ends without a shutdown event. Either function may be nil. If ctx has
// ended, shutdown gets a context of its own, of three seconds.
func Serve(ctx context.Context, receive pagi.Receive, send pagi.Send, startup, shutdown func(context.Context) error) error {
	call := func(ctx context.Context, f func(context.Context) error) error {
		if f == nil {
			return nil
		}
		return caught(func() error { return f(ctx) })
	}
	cleanUp := func() error {
		ctx := ctx
		if ctx.Err() != nil {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
			defer cancel()
		}
		return call(ctx, shutdown)
	}
	started := false
	for {
		ev, err := receive(ctx)
		if err != nil {
			if started {
				err = errors.Join(err, cleanUp())
			}
			return err
		}
		switch ev.(type) {
		case pagi.LifespanStartup:
			if err := call(ctx, startup); err != nil {
				err = errors.Join(err, cleanUp())
				return send(ctx, pagi.LifespanStartupFailed{Message: err.Error()})
			}
			started = true
			if err := send(ctx, pagi.LifespanStartupComplete{}); err != nil {
				return errors.Join(err, cleanUp())
			}
		case pagi.LifespanShutdown:
			if err := cleanUp(); err != nil {
				return send(ctx, pagi.LifespanShutdownFailed{Message: err.Error()})
			}
			return send(ctx, pagi.LifespanShutdownComplete{})
		}
	}
}

// Broken returns an application that replaces one that cannot work. It answers lifespan.startup
// with startup.failed, so that a server does not start, and any other scope with err.
func Broken(err error) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeLifespan {
			return err
		}
		return Serve(ctx, receive, send, func(context.Context) error { return err }, nil)
	})
}
