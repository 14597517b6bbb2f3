package engine

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// end is how one request ends, and what follows from it.
//
//	           ┌─ complete ───> delivered ─┐
//	going on ──┤                           ├─ callbacks have run ──> over
//	           └─ disconnect ─> lost ──────┘
//
// The specification wants this order, which disconnect and complete keep:
//
//  1. The Connection tells the new state and its reason; a Send does nothing any more.
//  2. The callbacks of the application run, on the goroutine that noticed the end.
//  3. The request is over: Receive returns the disconnect event.
//  4. Where the client was lost, the application's context ends with the reason.
//
// The context of a request whose response was delivered goes on until the application
// returns, or until the server or the client's leaving ends it.
type end struct {
	control ConnectionControl // going on, delivered or lost; of the scope's Connection
	over    atomic.Bool

	mu     sync.Mutex                   // guards what follows, and is held for moments only
	signal chan struct{}                // closed when the request is over; nil: no goroutine waits
	cause  error                        // why the context has ended; nil: it has not
	inner  atomic.Pointer[innerContext] // the application's context, made when it is first needed; stored with mu held
}

// isLost reports whether the client was lost; callbacks may still run.
func (e *end) isLost() bool { return e.control.IsOver() && e.reason() != "" }

// reason returns why the client was lost, "" where it was not.
func (e *end) reason() string { return e.control.Reason() }

// disconnect ends the request with reason. If the request has ended already it returns at once;
// the caller that was first may still be running callbacks. Callers must not hold the exchange's
// mu, because callbacks may send.
func (e *end) disconnect(reason string) {
	if rest := e.beginDisconnect(reason); rest != nil {
		rest()
	}
}

// beginDisconnect is the first step of disconnect, which may be taken with the exchange's mu
// held. It returns the others; nil: the request has ended already.
func (e *end) beginDisconnect(reason string) (rest func()) {
	callbacks, first := e.control.Disconnect(reason)
	if !first {
		return nil
	}
	return func() {
		callbacks.Run()
		e.setOver()
		e.endContext(&pagi.DisconnectError{Reason: reason})
	}
}

// complete ends the request whose response was delivered, unless it has ended already. told
// is called between the first two steps. complete must not be called with the exchange's mu
// held.
func (e *end) complete(told interface{ Over() }) {
	callbacks, first := e.control.Complete()
	if !first {
		return
	}
	told.Over()
	callbacks.Run()
	e.setOver()
}

// setOver makes Receive return the disconnect event from now on.
func (e *end) setOver() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.over.Swap(true) && e.signal != nil {
		close(e.signal)
	}
}

// overSignal returns a channel that is closed when the request is over.
func (e *end) overSignal() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.signal == nil {
		e.signal = make(chan struct{})
		if e.over.Load() {
			close(e.signal)
		}
	}
	return e.signal
}

// awaitOver returns when the request is over. Its end must have begun.
func (e *end) awaitOver() {
	if !e.over.Load() {
		<-e.overSignal()
	}
}

// endContext ends the application's context; the first cause counts.
func (e *end) endContext(cause error) {
	e.mu.Lock()
	if e.cause == nil {
		e.cause = cause
	}
	inner := e.inner.Load()
	e.mu.Unlock()
	if inner != nil {
		inner.cancel(cause)
	}
}

// context returns the application's context, and makes it where there is none: derived from
// parent, whose end calls gone.
func (e *end) context(parent context.Context, gone func()) *innerContext {
	e.mu.Lock()
	defer e.mu.Unlock()
	if inner := e.inner.Load(); inner != nil {
		return inner
	}
	inner := &innerContext{}
	inner.Context, inner.cancel = context.WithCancelCause(context.WithoutCancel(parent))
	if e.cause != nil {
		inner.cancel(e.cause)
		inner.unwatch = func() bool { return true }
	} else {
		inner.unwatch = context.AfterFunc(parent, gone)
	}
	e.inner.Store(inner)
	return inner
}

// made returns the application's context; nil where it is not needed yet.
func (e *end) made() *innerContext {
	e.mu.Lock() // context may be about to store what it has made
	defer e.mu.Unlock()
	return e.inner.Load()
}
