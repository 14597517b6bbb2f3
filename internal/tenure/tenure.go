// Package tenure lets an application outlive the site that it was built for. When a server replaces its application by
// another one, it ends event streams and WebSockets, because they would go on without end. A part of the old application
// may also be a part of the new one. Then its streams go on. They end when that part is replaced, too.
//
// The owner of a shared part marks the scopes of its streams with a Tenure. The server looks for the mark when it replaces
// an application.
package tenure

import (
	"context"
	"sync/atomic"
)

// Tenure is the time for which a part of applications is in use.
type Tenure struct {
	ctx  context.Context
	end  context.CancelFunc
	kept atomic.Bool
}

// New returns a Tenure that has not ended.
func New() *Tenure {
	t := &Tenure{}
	t.ctx, t.end = context.WithCancel(context.Background())
	return t
}

// Keep says that the part also belongs to an application that is about to replace another one.
func (t *Tenure) Keep() { t.kept.Store(true) }

// End says that no application has the part any more.
func (t *Tenure) End() { t.end() }

// Stays reports whether streams go on when the application is replaced.
func (t *Tenure) Stays() bool { return t.kept.Load() && t.ctx.Err() == nil }

// Ended is closed by End.
func (t *Tenure) Ended() <-chan struct{} { return t.ctx.Done() }

// AfterEnd calls f in a goroutine of its own once End was called. The function stop prevents that, as that of
// context.AfterFunc does.
func (t *Tenure) AfterEnd(f func()) (stop func() bool) { return context.AfterFunc(t.ctx, f) }

// Stash is what layers of one request share: a *pagi.Stash.
type Stash interface {
	Get(key any) (value any, ok bool)
	Once(key any, make func() any) any
}

type key struct{}

// Mark marks the scope of a stream that is served by the part. The first mark counts.
func (t *Tenure) Mark(scope Stash) { scope.Once(key{}, func() any { return t }) }

// Of returns the Tenure with which a scope is marked, nil for none.
func Of(scope Stash) *Tenure {
	t, _ := scope.Get(key{})
	found, _ := t.(*Tenure)
	return found
}
