package pagi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"sync"
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
	var inner *LifespanRun
	startup := func(ctx context.Context) error {
		for _, hook := range l.Startup {
			if err := hook(ctx, scope.State); err != nil {
				return err
			}
		}
		var err error
		inner, err = StartLifespan(ctx, app, scope)
		return err
	}
	shutdown := func(ctx context.Context) error {
		var errs []error
		if inner != nil {
			errs = append(errs, inner.Shutdown(ctx))
		}
		for i := len(l.Shutdown) - 1; i >= 0; i-- {
			errs = append(errs, l.Shutdown[i](ctx, scope.State))
		}
		return errors.Join(errs...)
	}
	return ServeLifespan(ctx, receive, send, startup, shutdown)
}

// ServeLifespan answers a lifespan scope with two functions; it is what an
// application with something to start calls when Scope.Type is TypeLifespan.
// When startup fails, shutdown is called too, to release what startup had
// already taken, and the server is told the error. Either may be nil.
func ServeLifespan(ctx context.Context, receive Receive, send Send, startup, shutdown func(context.Context) error) error {
	for {
		ev, err := receive(ctx)
		if err != nil {
			return err
		}
		switch ev.(type) {
		case LifespanStartup:
			if startup == nil {
				err = nil
			} else if err = startup(ctx); err != nil {
				if shutdown != nil {
					err = errors.Join(err, shutdown(ctx))
				}
				return send(ctx, LifespanStartupFailed{Message: err.Error()})
			}
			if err := send(ctx, LifespanStartupComplete{}); err != nil {
				return err
			}
		case LifespanShutdown:
			if shutdown != nil {
				if err := shutdown(ctx); err != nil {
					return send(ctx, LifespanShutdownFailed{Message: err.Error()})
				}
			}
			return send(ctx, LifespanShutdownComplete{})
		}
	}
}

// LifespanChild is one of several applications that share a lifespan scope.
type LifespanChild struct {
	// Name tells it from its siblings in messages: a mount's path, for example.
	Name string
	App  App
}

// FanOutLifespan answers a lifespan scope on behalf of children: a URL map, a
// router, a cascade. The children start side by side, each with a state map of
// its own; the maps are merged into scope.State in the order of the children.
// When one fails, those that had started are shut down and the failure names it.
func FanOutLifespan(ctx context.Context, scope *Scope, receive Receive, send Send, children []LifespanChild) error {
	runs := make([]*LifespanRun, len(children))
	startup := func(ctx context.Context) error {
		errs := make([]error, len(children))
		states := make([]map[string]any, len(children))
		var wg sync.WaitGroup
		for i, child := range children {
			wg.Go(func() {
				inner := scope.Clone()
				inner.State = maps.Clone(scope.State)
				if inner.State == nil {
					inner.State = map[string]any{}
				}
				states[i] = inner.State
				var err error
				if runs[i], err = StartLifespan(ctx, child.App, inner); err != nil {
					errs[i] = fmt.Errorf("%s: %w", child.Name, err)
				}
			})
		}
		wg.Wait()
		for _, s := range states {
			if scope.State != nil {
				maps.Copy(scope.State, s)
			}
		}
		return errors.Join(errs...)
	}
	shutdown := func(ctx context.Context) error {
		errs := make([]error, len(children))
		var wg sync.WaitGroup
		for i, run := range runs {
			if run == nil {
				continue
			}
			wg.Go(func() {
				if err := run.Shutdown(ctx); err != nil {
					errs[i] = fmt.Errorf("%s: %w", children[i].Name, err)
				}
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	}
	return ServeLifespan(ctx, receive, send, startup, shutdown)
}

// LifespanError says that an application failed its startup or shutdown.
type LifespanError struct {
	// Phase is "startup" or "shutdown".
	Phase string
	// Message is the application's own.
	Message string
}

func (e *LifespanError) Error() string {
	if e.Message == "" {
		return e.Phase + " failed"
	}
	return e.Phase + " failed: " + e.Message
}

// LifespanRun is an application's lifespan in progress.
type LifespanRun struct {
	supported bool
	declined  error

	askShutdown chan struct{}
	askOnce     sync.Once
	shutdown    chan error // capacity 1: the application's answer
	finished    chan struct{}
	appErr      error // valid once finished is closed
	cancel      context.CancelFunc
}

// StartLifespan calls app with the given lifespan scope and waits until it is
// ready, has failed, or has declined. scope needs only Type TypeLifespan and,
// where the application may keep something for its requests, a State map.
//
// A *LifespanError means the application sent lifespan.startup.failed: do not
// start. Any other error is ctx's: it did not answer in time; it was cancelled.
// Declining, by an error or by returning without an answer, is no error; see
// Supported.
func StartLifespan(ctx context.Context, app App, scope *Scope) (*LifespanRun, error) {
	appCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	run := &LifespanRun{
		askShutdown: make(chan struct{}),
		shutdown:    make(chan error, 1),
		finished:    make(chan struct{}),
		cancel:      cancel,
	}
	started := make(chan error, 1)
	go func() {
		defer close(run.finished)
		run.appErr = serveGuarded(appCtx, app, scope, run.receive(), run.send(started))
	}()
	select {
	case err := <-started:
		return run.settle(err)
	case <-run.finished:
		select { // an answer given just before it returned counts
		case err := <-started:
			return run.settle(err)
		default:
		}
		run.declined = run.appErr
		cancel()
		return run, nil
	case <-ctx.Done():
		cancel()
		return nil, fmt.Errorf("lifespan startup: no answer: %w", context.Cause(ctx))
	}
}

func (r *LifespanRun) settle(err error) (*LifespanRun, error) {
	if err != nil {
		r.cancel()
		return nil, err
	}
	r.supported = true
	return r, nil
}

func (r *LifespanRun) receive() Receive {
	startupGiven, shutdownGiven := false, false
	return func(ctx context.Context) (Event, error) {
		if !startupGiven {
			startupGiven = true
			return LifespanStartup{}, nil
		}
		ask := r.askShutdown
		if shutdownGiven {
			ask = nil
		}
		select {
		case <-ask:
			shutdownGiven = true
			return LifespanShutdown{}, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (r *LifespanRun) send(started chan<- error) Send {
	var mu sync.Mutex
	startAnswered, shutdownAnswered := false, false
	return func(_ context.Context, ev Event) error {
		if err := validateLifespan(ev); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		switch e := ev.(type) {
		case LifespanStartupComplete, LifespanStartupFailed:
			if startAnswered {
				return &EventError{ev.EventType(), "", "startup was answered already"}
			}
			startAnswered = true
			if failed, is := e.(LifespanStartupFailed); is {
				started <- &LifespanError{"startup", failed.Message}
			} else {
				started <- nil
			}
		case LifespanShutdownComplete, LifespanShutdownFailed:
			if shutdownAnswered {
				return &EventError{ev.EventType(), "", "shutdown was answered already"}
			}
			shutdownAnswered = true
			if failed, is := e.(LifespanShutdownFailed); is {
				r.shutdown <- &LifespanError{"shutdown", failed.Message}
			} else {
				r.shutdown <- nil
			}
		}
		return nil
	}
}

// Supported reports whether the application takes part in the lifespan protocol.
func (r *LifespanRun) Supported() bool { return r.supported }

// Declined returns the error with which the application declined, or nil.
func (r *LifespanRun) Declined() error { return r.declined }

// Finished is closed when the application's lifespan call has returned.
func (r *LifespanRun) Finished() <-chan struct{} { return r.finished }

// Err returns the error the lifespan call ended with; valid after Finished.
func (r *LifespanRun) Err() error { return r.appErr }

// Shutdown asks the application to clean up and waits for its answer or for ctx.
// It does nothing for an application that declined or that has ended, and
// returns the error a call that crashed after startup ended with.
func (r *LifespanRun) Shutdown(ctx context.Context) error {
	if !r.supported {
		return nil
	}
	defer r.cancel()
	r.askOnce.Do(func() { close(r.askShutdown) })
	select {
	case err := <-r.shutdown:
		return err
	case <-r.finished:
		select {
		case err := <-r.shutdown:
			return err
		default:
			return r.appErr
		}
	case <-ctx.Done():
		return fmt.Errorf("lifespan shutdown: no answer: %w", context.Cause(ctx))
	}
}

// serveGuarded calls app and turns a panic into an error.
func serveGuarded(ctx context.Context, app App, scope *Scope, receive Receive, send Send) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return app.Serve(ctx, scope, receive, send)
}
