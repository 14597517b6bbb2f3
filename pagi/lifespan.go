package pagi

import (
	"context"
	"errors"
)

// Lifespan is a middleware that gives an application hooks around its life.
// Startup hooks run in order before the first request; the first that fails
// keeps the server from starting, after the Shutdown hooks have run. Shutdown
// hooks run in reverse order after the last request, all of them, even when one
// fails. The application's own lifespan handling, if it has any, runs inside:
// after the Startup and before the Shutdown hooks.
//
// Hooks share the state map, whose entries appear in Scope.State of each request.
type Lifespan struct {
	Startup  []func(ctx context.Context, state map[string]any) error
	Shutdown []func(ctx context.Context, state map[string]any) error
}

// Wrap returns app with the hooks around it.
func (l Lifespan) Wrap(app App) App {
	return AppFunc(func(ctx context.Context, scope *Scope, receive Receive, send Send) error {
		if scope.Type != TypeLifespan {
			return app.Serve(ctx, scope, receive, send)
		}
		return l.serve(ctx, app, scope, receive, send)
	})
}

func (l Lifespan) serve(ctx context.Context, app App, scope *Scope, receive Receive, send Send) error {
	if scope.State == nil { // the server keeps no state: the hooks share one among themselves
		scope = scope.Clone()
		scope.State = map[string]any{}
	}
	var inner *LifespanRun
	startup := func(ctx context.Context) error {
		for _, hook := range l.Startup {
			if err := caught(func() error { return hook(ctx, scope.State) }); err != nil {
				return err
			}
		}
		var err error
		inner, err = StartLifespan(ctx, app, scope)
		return ownMessage(err)
	}
	shutdown := func(ctx context.Context) error {
		var errs []error
		if inner != nil {
			errs = append(errs, ownMessage(inner.Shutdown(ctx)))
		}
		for i := len(l.Shutdown) - 1; i >= 0; i-- {
			errs = append(errs, caught(func() error { return l.Shutdown[i](ctx, scope.State) }))
		}
		return errors.Join(errs...)
	}
	return ServeLifespan(ctx, receive, send, startup, shutdown)
}

// ServeLifespan answers a lifespan scope with two functions; it is what an
// application with something to start calls when Scope.Type is TypeLifespan.
// When startup fails, shutdown is called too, to release what startup had
// already taken, and the server is told the error. Shutdown is also called when
// the scope ends without having asked for it. Either may be nil.
func ServeLifespan(ctx context.Context, receive Receive, send Send, startup, shutdown func(context.Context) error) error {
	phase := func(f func(context.Context) error) error {
		if f == nil {
			return nil
		}
		return caught(func() error { return f(ctx) })
	}
	started := false
	for {
		ev, err := receive(ctx)
		if err != nil {
			if started {
				err = errors.Join(err, phase(shutdown))
			}
			return err
		}
		switch ev.(type) {
		case LifespanStartup:
			if err := phase(startup); err != nil {
				err = errors.Join(err, phase(shutdown))
				return send(ctx, LifespanStartupFailed{Message: err.Error()})
			}
			started = true
			if err := send(ctx, LifespanStartupComplete{}); err != nil {
				return errors.Join(err, phase(shutdown))
			}
		case LifespanShutdown:
			if err := phase(shutdown); err != nil {
				return send(ctx, LifespanShutdownFailed{Message: err.Error()})
			}
			return send(ctx, LifespanShutdownComplete{})
		}
	}
}
