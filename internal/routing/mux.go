package routing

import (
	"context"
	"maps"
	"net/http"

	"github.com/pagi-go/pagi-bridge/internal/routetree"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// Mux passes each scope to the application of its route. It does not change once it is built.
type Mux struct {
	options    Options
	all        []*target
	http       routetree.Tree[*target] // by method
	webSockets routetree.Tree[*target]
	streams    routetree.Tree[*target]
	mounts     []*target // in the order in which they are tried
	names      map[string]*target
	children   []lifespan.Child
}

// Serve passes the scope on.
func (m *Mux) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	switch scope.Type {
	case pagi.TypeHTTP, pagi.TypeWebSocket, pagi.TypeSSE:
	case pagi.TypeLifespan:
		return lifespan.FanOut(ctx, scope, receive, send, m.children)
	default:
		return pagi.Unsupported(scope)
	}
	path := routetree.NewPath(scope.Path, scope.RootPath, scope.RawPath)
	if path.Text == "" && !m.options.RedirectSlash {
		path.Text = "/"
	}
	var match routetree.Match[*target]
	if m.find(scope, &path, &match) {
		return match.Value.app.Serve(ctx, routed(scope, &match), receive, send)
	}
	if scope.Type == pagi.TypeSSE && m.hasHTTP(&path) {
		return pagi.Unsupported(scope) // the server asks again, for an ordinary response
	}
	if allowed := m.allowed(scope, &path); allowed != nil {
		return m.refuseMethod(ctx, scope, receive, send, allowed)
	}
	if m.options.RedirectSlash && scope.Type != pagi.TypeWebSocket {
		if other, ok := otherSlash(path); ok && m.find(scope, &other, &match) {
			return redirect(ctx, scope, send, &path)
		}
	}
	return m.mounted(ctx, scope, receive, send, &path)
}

// find finds the route of a scope with a path.
func (m *Mux) find(scope *pagi.Scope, path *routetree.Path, match *routetree.Match[*target]) bool {
	switch scope.Type {
	case pagi.TypeWebSocket:
		return m.webSockets.Find(path, [3]string{}, match)
	case pagi.TypeSSE:
		return m.streams.Find(path, [3]string{}, match)
	}
	keys := [3]string{scope.Method}
	if scope.Method == http.MethodHead {
		keys[1] = http.MethodGet
	}
	return m.http.Find(path, keys, match)
}

// hasHTTP reports whether a path has a route for some method.
func (m *Mux) hasHTTP(path *routetree.Path) (has bool) {
	m.http.Keys(path, func(string) { has = true })
	return has
}

// routed returns the scope for the application of a route.
func routed(scope *pagi.Scope, match *routetree.Match[*target]) *pagi.Scope {
	inner := withRoute(scope, match.Value)
	setParams(inner, match.Pattern.Names(), match.Values())
	return inner
}

// withRoute returns a copy of the scope that has the route. Below a mount of another router, the
// pattern begins with that mount's.
func withRoute(scope *pagi.Scope, t *target) *pagi.Scope {
	outer, ok := scope.Value(scopekey.Router).(pagi.Route)
	if !ok || outer.Kind != pagi.RouteMount {
		return scope.With(scopekey.Router, t.info)
	}
	inner := t.route.Route
	inner.Pattern = join(outer.Pattern, inner.Pattern)
	return scope.With(scopekey.Router, inner)
}

// setParams gives a scope parameters in addition to those of routers around this one.
func setParams(scope *pagi.Scope, names, values []string) {
	if len(names) == 0 {
		return
	}
	outer, _ := scope.Value(scopekey.PathParams).(map[string]string)
	params := make(map[string]string, len(names)+len(outer))
	maps.Copy(params, outer)
	for i, name := range names {
		params[name] = values[i]
	}
	scope.SetValue(scopekey.PathParams, params)
}

// mounted passes a scope without a route to the mounts, the longest prefix first.
func (m *Mux) mounted(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send, path *routetree.Path) error {
	var chain []pagi.App
	for _, t := range m.mounts {
		values, length, ok := t.pattern.Prefix(path)
		switch {
		case !ok:
			continue
		case !t.route.FallThrough && chain == nil:
			return t.app.Serve(ctx, t.below(scope, values, length), receive, send)
		}
		chain = append(chain, pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
			return t.app.Serve(ctx, t.below(scope, values, length), receive, send)
		}))
		if !t.route.FallThrough {
			return m.options.Cascade(chain).Serve(ctx, scope, receive, send)
		}
	}
	if chain == nil {
		return m.notFound(ctx, scope, receive, send)
	}
	return m.options.Cascade(append(chain, pagi.AppFunc(m.notFound))).Serve(ctx, scope, receive, send)
}

// below returns the scope for the application of a mount, whose prefix has matched length bytes of the
// path.
func (t *target) below(scope *pagi.Scope, values []string, length int) *pagi.Scope {
	inner := withRoute(scope, t)
	length = min(length, len(scope.Path))
	inner.Path, inner.RootPath = scope.Path[length:], scope.RootPath+scope.Path[:length]
	setParams(inner, t.pattern.Names(), values)
	return inner
}
