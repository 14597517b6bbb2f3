package pagi

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

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

// ownMessage takes the phase off a nested application's lifespan failure: whoever
// answers the outer scope puts it back.
func ownMessage(err error) error {
	if failed, is := err.(*LifespanError); is && failed.Message != "" {
		return errors.New(failed.Message)
	}
	return err
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
// start. Any other error is ctx's: it did not answer in time; it was cancelled. In both
// cases the application's context has ended, and it was given five seconds to return: what
// it has begun, processes say, is gone then.
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
		run.abandon()
		return nil, fmt.Errorf("lifespan startup: no answer: %w", context.Cause(ctx))
	}
}

func (r *LifespanRun) settle(err error) (*LifespanRun, error) {
	if err != nil {
		r.abandon()
		return nil, err
	}
	r.supported = true
	return r, nil
}

// abandonTime is how long an application that is not to start after all may take to return.
const abandonTime = 5 * time.Second

// abandon ends an application that is not to start after all.
func (r *LifespanRun) abandon() {
	r.cancel()
	late := time.NewTimer(abandonTime)
	defer late.Stop()
	select {
	case <-r.finished:
	case <-late.C:
	}
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
			select {
			case <-r.askShutdown:
			default:
				return &EventError{ev.EventType(), "", "shutdown was not asked for yet"}
			}
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
func serveGuarded(ctx context.Context, app App, scope *Scope, receive Receive, send Send) error {
	return caught(func() error { return app.Serve(ctx, scope, receive, send) })
}

// caught calls f and turns a panic into a *PanicError.
func caught(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return f()
}
