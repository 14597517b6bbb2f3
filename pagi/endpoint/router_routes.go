package endpoint

import (
	"net/http"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/routing"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Middleware makes a function out of another one. It may look at the request before next, answer by
// itself, and change the response that next has returned.
//
//	func requireLogin(next endpoint.Func) endpoint.Func {
//		return func(c *endpoint.Context) (*response.Response, error) {
//			if _, ok := c.Scope().Auth(); !ok {
//				return response.Redirect("/login"), nil
//			}
//			return next(c)
//		}
//	}
type Middleware func(next Func) Func

// RouteGroup adds routes to a Router. A Router embeds one; the methods Group and With make others.
//
// The Middleware of a route is around its function, the first one outermost, inside that of With. A
// pagi.Middleware is around both, the one of an outer group outermost. Each is wrapped once.
type RouteGroup struct {
	shared  *routing.Table // nil in the group of a Router, which has a table of its own
	table   routing.Table
	prefix  string
	around  []pagi.Middleware
	wrapped []Middleware
}

// Get adds a route for GET, and for HEAD unless there is one for HEAD at the same pattern.
func (g *RouteGroup) Get(pattern string, f Func, middleware ...Middleware) *Route {
	return g.Handle(http.MethodGet, pattern, f, middleware...)
}

// Post adds a route for POST.
func (g *RouteGroup) Post(pattern string, f Func, middleware ...Middleware) *Route {
	return g.Handle(http.MethodPost, pattern, f, middleware...)
}

// Put adds a route for PUT.
func (g *RouteGroup) Put(pattern string, f Func, middleware ...Middleware) *Route {
	return g.Handle(http.MethodPut, pattern, f, middleware...)
}

// Patch adds a route for PATCH.
func (g *RouteGroup) Patch(pattern string, f Func, middleware ...Middleware) *Route {
	return g.Handle(http.MethodPatch, pattern, f, middleware...)
}

// Delete adds a route for DELETE.
func (g *RouteGroup) Delete(pattern string, f Func, middleware ...Middleware) *Route {
	return g.Handle(http.MethodDelete, pattern, f, middleware...)
}

// Head adds a route for HEAD, in place of the one for GET.
func (g *RouteGroup) Head(pattern string, f Func, middleware ...Middleware) *Route {
	return g.Handle(http.MethodHead, pattern, f, middleware...)
}

// Options adds a route for OPTIONS, in place of the Router's own answer.
func (g *RouteGroup) Options(pattern string, f Func, middleware ...Middleware) *Route {
	return g.Handle(http.MethodOptions, pattern, f, middleware...)
}

// Any adds a route for all methods that have no route at the same pattern.
func (g *RouteGroup) Any(pattern string, f Func, middleware ...Middleware) *Route {
	return g.Handle("", pattern, f, middleware...)
}

// Handle adds a route for a method, which is written in capital letters; "" stands for any, as in Any.
func (g *RouteGroup) Handle(method, pattern string, f Func, middleware ...Middleware) *Route {
	all := append(slices.Clip(g.wrapped), middleware...)
	for i := len(all) - 1; i >= 0 && f != nil; i-- {
		f = all[i](f)
	}
	if f == nil { // a nil Func would be an application that is not nil
		return g.add(pagi.TypeHTTP, method, pattern, nil, nil)
	}
	return g.add(pagi.TypeHTTP, method, pattern, f, nil)
}

// WebSocket adds a route for WebSockets.
func (g *RouteGroup) WebSocket(pattern string, f WebSocketFunc, middleware ...pagi.Middleware) *Route {
	if f == nil {
		return g.add(pagi.TypeWebSocket, "", pattern, nil, middleware)
	}
	return g.add(pagi.TypeWebSocket, "", pattern, f, middleware)
}

// SSE adds a route for event streams.
func (g *RouteGroup) SSE(pattern string, f SSEFunc, middleware ...pagi.Middleware) *Route {
	if f == nil {
		return g.add(pagi.TypeSSE, "", pattern, nil, middleware)
	}
	return g.add(pagi.TypeSSE, "", pattern, f, middleware)
}

// Endpoint adds a route for an endpoint: an HTTP with all its methods, an SSE, or a WebSocket. Another
// application gets http scopes of all methods. The middleware of With does not apply.
func (g *RouteGroup) Endpoint(pattern string, app pagi.App, middleware ...pagi.Middleware) *Route {
	kind := pagi.TypeHTTP
	if endpoint, ok := app.(interface{ scopeType() string }); ok {
		kind = endpoint.scopeType()
	}
	return g.add(kind, "", pattern, app, middleware)
}

// Mount gives all paths at a prefix and below it to an application, in scopes of all types, as far as no
// route has them. The prefix is a pattern without a wildcard. The application is called with Path below
// the prefix, and the prefix at the end of RootPath. The middleware of With does not apply.
func (g *RouteGroup) Mount(prefix string, app pagi.App, middleware ...pagi.Middleware) *Route {
	return g.add(pagi.RouteMount, "", prefix, app, middleware)
}

// Group calls f with a group whose patterns begin with prefix, and whose routes and mounts have the
// middleware. A slash at the end of prefix does not matter. In the group, the pattern "" is the prefix
// itself.
func (g *RouteGroup) Group(prefix string, f func(*RouteGroup), middleware ...pagi.Middleware) {
	inner := g.With()
	inner.prefix += strings.TrimSuffix(prefix, "/")
	inner.around = append(slices.Clip(g.around), middleware...)
	f(inner)
}

// With returns a group at the same place whose functions have the middleware.
func (g *RouteGroup) With(middleware ...Middleware) *RouteGroup {
	return &RouteGroup{
		shared:  g.routes(),
		prefix:  g.prefix,
		around:  g.around,
		wrapped: append(slices.Clip(g.wrapped), middleware...),
	}
}

func (g *RouteGroup) add(kind, method, pattern string, app pagi.App, middleware []pagi.Middleware) *Route {
	route := pagi.Route{Kind: kind, Method: method, Pattern: g.prefix + pattern}
	return &Route{g.routes().Add(route, app, g.around, middleware)}
}

func (g *RouteGroup) routes() *routing.Table {
	if g.shared != nil {
		return g.shared
	}
	return &g.table
}

// Route is a route that was added to a Router.
type Route struct{ route *routing.Route }

// Name gives the route a name for Router.URL, before the first request.
func (r *Route) Name(name string) *Route {
	r.route.Name = name
	return r
}
