package pagi

import (
	"context"
	"errors"
	"time"
)

// appContext is the context an application gets. Most requests are over before
// anybody waits for their end, so the real context, and the watch for the client's
// leaving that ends it, come into being when they are first needed.
type appContext exchange

// innerContext is that real context.
type innerContext struct {
	context.Context
	cancel  context.CancelCauseFunc
	unwatch func() bool
}

// Deadline implements context.Context.
func (c *appContext) Deadline() (time.Time, bool) { return c.r.Context().Deadline() }

// Done implements context.Context.
func (c *appContext) Done() <-chan struct{} { return (*exchange)(c).watch().Done() }

// Err implements context.Context.
func (c *appContext) Err() error {
	if c.inner.Load() == nil && !c.ended.Load() && c.r.Context().Err() == nil {
		return nil
	}
	return (*exchange)(c).watch().Err()
}

// Value implements context.Context.
func (c *appContext) Value(key any) any {
	if inner := c.inner.Load(); inner != nil {
		return inner.Value(key)
	}
	return c.r.Context().Value(key)
}

// watch makes the real context and begins to look for the client's leaving.
func (x *exchange) watch() *innerContext {
	if inner := x.inner.Load(); inner != nil {
		return inner
	}
	x.endMu.Lock()
	defer x.endMu.Unlock()
	if inner := x.inner.Load(); inner != nil {
		return inner
	}
	parent := x.r.Context()
	inner := &innerContext{}
	inner.Context, inner.cancel = context.WithCancelCause(context.WithoutCancel(parent))
	if x.cause != nil {
		inner.cancel(x.cause)
		inner.unwatch = func() bool { return true }
	} else {
		inner.unwatch = context.AfterFunc(parent, x.gone)
	}
	x.inner.Store(inner)
	return inner
}

// look is the Connection's look.
func (x *exchange) look() {
	if x.r.Context().Err() != nil && x.mu.TryLock() { // else a Send notices it
		x.mu.Unlock()
		x.notice()
		return
	}
	x.watch()
}

// endContext ends the application's context; the first cause counts.
func (x *exchange) endContext(cause error) {
	x.endMu.Lock()
	if x.cause == nil {
		x.cause = cause
	}
	inner := x.inner.Load()
	x.endMu.Unlock()
	if inner != nil {
		inner.cancel(cause)
	}
}

// awaitCut lets the server cut an application that works on after its response, when
// nothing more is to be learned from the request's context: the client has left, or the
// handler has returned.
func (x *exchange) awaitCut() {
	x.endMu.Lock() // watch may be about to store what it has made
	base, inner := x.h.Base, x.inner.Load()
	x.endMu.Unlock()
	if base == nil || inner == nil {
		return
	}
	stop := context.AfterFunc(base, func() {
		reason := ReasonServerShutdown
		var d *DisconnectError
		if errors.As(context.Cause(base), &d) {
			reason = d.Reason
		}
		x.endContext(&DisconnectError{reason})
	})
	context.AfterFunc(inner, func() { stop() }) // with the application's return at the latest
}

// unwatch ends the watch, if there was one.
func (x *exchange) unwatch() {
	if inner := x.inner.Load(); inner != nil {
		inner.unwatch()
	}
}
