package engine

import (
	"context"
	"errors"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// appContext is the context that an application gets. Most requests are over before a goroutine
// waits for their end. So the real context is made when it is first needed, and with it the
// watch for the client's leaving, which ends it.
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
	if c.end.inner.Load() == nil && !c.end.over.Load() && c.r.Context().Err() == nil {
		return nil
	}
	return (*exchange)(c).watch().Err()
}

// Value implements context.Context.
func (c *appContext) Value(key any) any {
	if inner := c.end.inner.Load(); inner != nil {
		return inner.Value(key)
	}
	return c.r.Context().Value(key)
}

// watch makes the real context and begins to look for the client's leaving.
func (x *exchange) watch() *innerContext {
	if inner := x.end.inner.Load(); inner != nil {
		return inner
	}
	return x.end.context(x.r.Context(), x.gone)
}

// Look is called by the Connection's methods; see ConnectionControl.LookWith.
func (x *exchange) Look() {
	if x.r.Context().Err() != nil && x.mu.TryLock() { // else a Send notices it
		x.mu.Unlock()
		x.notice()
		return
	}
	x.watch()
}

// awaitCut has the end of Base cut an application that works on after its response. It is called
// when the request's context has ended, because the client has left or the handler has returned:
// that context tells nothing more.
func (x *exchange) awaitCut() {
	base, inner := x.h.Base, x.end.made()
	if base == nil || inner == nil {
		return
	}
	stop := context.AfterFunc(base, func() {
		reason := pagi.ReasonServerShutdown
		var d *pagi.DisconnectError
		if errors.As(context.Cause(base), &d) {
			reason = d.Reason
		}
		x.end.endContext(&pagi.DisconnectError{Reason: reason})
	})
	context.AfterFunc(inner, func() { stop() }) // with the application's return at the latest
}

// unwatch ends the watch, if there was one.
func (x *exchange) unwatch() {
	if inner := x.end.inner.Load(); inner != nil {
		inner.unwatch()
	}
}
