package lifespan

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Error says that an application failed its startup or shutdown.
type Error struct {
	// Phase is "startup" or "shutdown".
	Phase string
	// Message is the application's message.
	Message string
}

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Phase + " failed"
	}
	return e.Phase + " failed: " + e.Message
}

// OwnMessage removes the phase from a nested application's lifespan failure, because the answer to
// the outer scope adds it again.
func OwnMessage(err error) error {
	if failed, is := err.(*Error); is && failed.Message != "" {
		return errors.New(failed.Message)
	}
	return err
}

// Run is an application's lifespan in progress.
type Run struct {
	supported bool
	declined  error

	askShutdown chan struct{}
	askOnce     sync.Once
	shutdown    chan error // capacity 1: the application's answer
	finished    chan struct{}
	appErr      error // valid once finished is closed
	cancel      context.CancelFunc
}

// Start calls app with the given lifespan scope and waits until app is ready, has failed or has
// declined. scope needs only Type pagi.TypeLifespan, and a State map if the application may keep
// state for its requests.
//
// A *Error means that the application sent lifespan.startup.failed, and the server must not start.
// Any other error is that of ctx: the application did not answer in time, or ctx was cancelled. In
// both cases the application's context has ended, and Start has given it five seconds to return, so
// that it can end its processes, for example. Declining, by an error or by returning without an
// answer, is no error; see Supported.
func Start(ctx context.Context, app pagi.App, scope *pagi.Scope) (*Run, error) {
	appCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	run := &Run{
		askShutdown: make(chan struct{}),
		shutdown:    make(chan error, 1),
		finished:    make(chan struct{}),
		cancel:      cancel,
	}
	started := make(chan error, 1)
	go func() {
		defer close(run.finished)
		run.appErr = caught(func() error { return app.Serve(appCtx, scope, run.receive(), run.send(started)) })
	}()
	select {
	case err := <-started:
		return run.settle(err)
	case <-run.finished:
		select { // an answer just before the application returned counts
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

func (r *Run) settle(err error) (*Run, error) {
	if err != nil {
		r.abandon()
		return nil, err
	}
	r.supported = true
	return r, nil
}

// abandonTime is how long an abandoned application may take to return once its context has ended.
const abandonTime = 5 * time.Second

// abandon ends an application whose start is given up, or that has not shut down in time.
func (r *Run) abandon() {
	r.cancel()
	late := time.NewTimer(abandonTime)
	defer late.Stop()
	select {
	case <-r.finished:
	case <-late.C:
	}
}

func (r *Run) receive() pagi.Receive {
	startupGiven, shutdownGiven := false, false
	return func(ctx context.Context) (pagi.Event, error) {
		if !startupGiven {
			startupGiven = true
			return pagi.LifespanStartup{}, nil
		}
		ask := r.askShutdown
		if shutdownGiven {
			ask = nil
		}
		select {
		case <-ask:
			shutdownGiven = true
			return pagi.LifespanShutdown{}, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (r *Run) send(started chan<- error) pagi.Send {
	var mu sync.Mutex
	stage := pagi.StageBegin
	return func(_ context.Context, ev pagi.Event) error {
		if err := pagi.Validate(pagi.TypeLifespan, ev); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if err := pagi.CheckOrder(stage, ev); err != nil {
			return err
		}
		switch e := ev.(type) {
		case pagi.LifespanStartupComplete, pagi.LifespanStartupFailed:
			stage = pagi.StageOpen
			if failed, is := e.(pagi.LifespanStartupFailed); is {
				started <- &Error{"startup", failed.Message}
			} else {
				started <- nil
			}
		case pagi.LifespanShutdownComplete, pagi.LifespanShutdownFailed:
			select {
			case <-r.askShutdown:
			default:
				return &pagi.EventError{Type: ev.EventType(), Problem: "shutdown was not asked for yet"}
			}
			stage = pagi.StageComplete
			if failed, is := e.(pagi.LifespanShutdownFailed); is {
				r.shutdown <- &Error{"shutdown", failed.Message}
			} else {
				r.shutdown <- nil
			}
		}
		return nil
	}
}

// Supported reports whether the application takes part in the lifespan protocol.
func (r *Run) Supported() bool { return r.supported }

// Declined returns the error with which the application declined, or nil.
func (r *Run) Declined() error { return r.declined }

// Finished is closed when the application's lifespan call has returned.
func (r *Run) Finished() <-chan struct{} { return r.finished }

// Err returns the error with which the lifespan call ended; valid after Finished.
func (r *Run) Err() error { return r.appErr }

// Shutdown asks the application to clean up and waits for its answer or for ctx. If ctx ends first,
// the application's context ends, too, and the application gets five seconds to return, so that it
// can end its processes, for example. The error is then that of ctx. For an application that
// declined or has ended, Shutdown does nothing. If the lifespan call crashed after startup,
// Shutdown returns the error of that call.
func (r *Run) Shutdown(ctx context.Context) error {
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
		r.abandon()
		return fmt.Errorf("lifespan shutdown: no answer: %w", context.Cause(ctx))
	}
}

// caught calls f and turns a panic into a *pagi.PanicError.
func caught(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &pagi.PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return f()
}
