package routing

import (
	"context"
	"reflect"
	"sync"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
)

// wrap puts the middleware around the applications, and notes which of them get the lifespan scope:
// each once, through the middleware of each route.
func (m *Mux) wrap() {
	shared := m.shared()
	seen := map[pagi.App]bool{}
	child := func(name string, app pagi.App) {
		if canCompare(app) {
			if seen[app] {
				return
			}
			seen[app] = true
		}
		m.children = append(m.children, lifespan.Child{Name: name, App: app})
	}
	guarded := func(app pagi.App) pagi.App {
		if canCompare(app) && shared[app] != nil {
			return shared[app]
		}
		return app
	}
	for _, t := range m.all {
		t.app = pagi.Chain(guarded(t.app), t.route.Middleware...)
		child(t.route.label(), t.app)
	}
	if m.options.NotFound != nil {
		child("not found", guarded(m.options.NotFound))
	}
	if m.options.MethodNotAllowed != nil {
		child("method not allowed", guarded(m.options.MethodNotAllowed))
	}
}

// shared returns a guard for each application that several routes share, if one of them has
// middleware.
func (m *Mux) shared() map[pagi.App]*guard {
	count, wrapped := map[pagi.App]int{}, map[pagi.App]bool{}
	note := func(app pagi.App, hasMiddleware bool) {
		if app != nil && canCompare(app) {
			count[app]++
			wrapped[app] = wrapped[app] || hasMiddleware
		}
	}
	for _, t := range m.all {
		note(t.app, len(t.route.Middleware) > 0)
	}
	note(m.options.NotFound, false)
	note(m.options.MethodNotAllowed, false)
	guards := map[pagi.App]*guard{}
	for app, n := range count {
		if n > 1 && wrapped[app] {
			guards[app] = &guard{App: app}
		}
	}
	return guards
}

// canCompare reports whether an application can be told from others. Functions cannot.
func canCompare(app pagi.App) bool { return reflect.ValueOf(app).Comparable() }

// guard gives an application one lifespan scope at a time, and declines others for it.
type guard struct {
	pagi.App
	mu   sync.Mutex
	busy bool
}

// Serve passes the scope on.
func (g *guard) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type != pagi.TypeLifespan {
		return g.App.Serve(ctx, scope, receive, send)
	}
	if !g.enter() {
		return pagi.Unsupported(scope)
	}
	defer g.leave()
	return g.App.Serve(ctx, scope, receive, send)
}

func (g *guard) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.busy {
		return false
	}
	g.busy = true
	return true
}

func (g *guard) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy = false
}
