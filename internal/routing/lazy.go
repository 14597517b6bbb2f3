package routing

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
)

// Lazy builds the Mux of a Table when the first scope comes. The zero Lazy is ready for use. Its methods
// are always called with the same Table.
type Lazy struct {
	once sync.Once
	mux  atomic.Pointer[Mux]
	err  error // of building mux; guarded by once
}

// Serve passes the scope on. If a route is wrong, it answers each scope with that error.
func (l *Lazy) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send, t *Table, o Options) error {
	mux := l.mux.Load()
	if mux == nil {
		if mux = l.complete(t, o); mux == nil {
			return lifespan.Broken(l.err).Serve(ctx, scope, receive, send)
		}
	}
	return mux.Serve(ctx, scope, receive, send)
}

// complete builds the Mux. It returns nil if there is an error in err.
func (l *Lazy) complete(t *Table, o Options) *Mux {
	l.once.Do(func() {
		mux, err := t.Build(o)
		l.err = err
		l.mux.Store(mux)
	})
	return l.mux.Load()
}

// known returns the Mux that is built already, or else one that cannot serve but knows the routes that
// the Table has now.
func (l *Lazy) known(t *Table) (*Mux, error) {
	if mux := l.mux.Load(); mux != nil {
		return mux, nil
	}
	return t.index(Options{})
}

// URL returns the path of a named route.
func (l *Lazy) URL(t *Table, name string, params ...string) (string, error) {
	mux, err := l.known(t)
	if err != nil {
		return "", err
	}
	return mux.URL(name, params...)
}

// Routes describes the routes; nil if one is wrong.
func (l *Lazy) Routes(t *Table) []pagi.Route {
	mux, err := l.known(t)
	if err != nil {
		return nil
	}
	return mux.Routes()
}
