package apps

import (
	"net/http"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/routing"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// RouteGroup adds routes to a Router. A Router embeds one with no prefix; its method Group makes others.
// The methods note mistakes for Check.
//
// The middleware of a route is around its application, inside that of the groups, the first one
// outermost. It is wrapped once, before the first request.
type RouteGroup struct {
	shared     *routing.Table // nil in the group of a Router, which has a table of its own
	table      routing.Table
	prefix     string
	middleware []pagi.Middleware
}

// Get adds a route for GET, and for HEAD unless there is one for HEAD at the same pattern.
func (g *RouteGroup) Get(pattern string, app pagi.App, middleware ...pagi.Middleware) *Route {
	return g.Handle(http.MethodGet, pattern, app, middleware...)
}

// Post adds a route for POST.
func (g *RouteGroup) Post(pattern string, app pagi.App, middleware ...pagi.Middleware) *Route {
	return g.Handle(http.MethodPost, pattern, app, middleware...)
}

// Put adds a route for PUT.
func (g *RouteGroup) Put(pattern string, app pagi.App, middleware ...pagi.Middleware) *Route {
	return g.Handle(http.MethodPut, pattern, app, middleware...)
}

// Patch adds a route for PATCH.
func (g *RouteGroup) Patch(pattern string, app pagi.App, middleware ...pagi.Middleware) *Route {
	return g.Handle(http.MethodPatch, pattern, app, middleware...)
}

// Delete adds a route for DELETE.
func (g *RouteGroup) Delete(pattern string, app pagi.App, middleware ...pagi.Middleware) *Route {
	return g.Handle(http.MethodDelete, pattern, app, middleware...)
}

// Head adds a route for HEAD, in place of the one for GET.
func (g *RouteGroup) Head(pattern string, app pagi.App, middleware ...pagi.Middleware) *Route {
	return g.Handle(http.MethodHead, pattern, app, middleware...)
}

// Options adds a route for OPTIONS, in place of the Router's own answer.
func (g *RouteGroup) Options(pattern string, app pagi.App, middleware ...pagi.Middleware) *Route {
	return g.Handle(http.MethodOptions, pattern, app, middleware...)
}

// Any adds a route for all methods that have no route at the same pattern.
func (g *RouteGroup) Any(pattern string, app pagi.App, middleware ...pagi.Middleware) *Route {
	return g.Handle("", pattern, app, middleware...)
}

// Handle adds a route for a method, which is written in capital letters; "" stands for any, as in Any.
func (g *RouteGroup) Handle(method, pattern string, app pagi.App, middleware ...pagi.Middleware) *Route {
	return g.add(pagi.TypeHTTP, method, pattern, app, middleware)
}

// WebSocket adds a route for WebSockets. There may be routes for other scopes at the same pattern.
func (g *RouteGroup) WebSocket(pattern string, app pagi.App, middleware ...pagi.Middleware) *Route {
	return g.add(pagi.TypeWebSocket, "", pattern, app, middleware)
}

// SSE adds a route for event streams. There may be routes for other scopes at the same pattern.
func (g *RouteGroup) SSE(pattern string, app pagi.App, middleware ...pagi.Middleware) *Route {
	return g.add(pagi.TypeSSE, "", pattern, app, middleware)
}

// Mount gives all paths at a prefix and below it to an application, in scopes of all types, as far as no
// route has them. The prefix is a pattern without a wildcard, and matches at slashes; "" and "/" are all
// paths. The application is called with Path below the prefix, and the prefix at the end of RootPath.
func (g *RouteGroup) Mount(prefix string, app pagi.App, middleware ...pagi.Middleware) *Route {
	return g.add(pagi.RouteMount, "", prefix, app, middleware)
}

// Group calls f with a group whose patterns begin with prefix and whose routes have the middleware.
// A slash at the end of prefix does not matter. In the group, the pattern "" is the prefix itself.
func (g *RouteGroup) Group(prefix string, f func(*RouteGroup), middleware ...pagi.Middleware) {
	f(&RouteGroup{
		shared:     g.routes(),
		prefix:     g.prefix + strings.TrimSuffix(prefix, "/"),
		middleware: append(slices.Clip(g.middleware), middleware...),
	})
}

func (g *RouteGroup) add(kind, method, pattern string, app pagi.App, middleware []pagi.Middleware) *Route {
	route := pagi.Route{Kind: kind, Method: method, Pattern: g.prefix + pattern}
	return &Route{g.routes().Add(route, app, g.middleware, middleware)}
}

func (g *RouteGroup) routes() *routing.Table {
	if g.shared != nil {
		return g.shared
	}
	return &g.table
}

// Route is a route that was added to a Router. Its methods complete it, before the first request.
type Route struct{ route *routing.Route }

// Name gives the route a name for Router.URL.
func (r *Route) Name(name string) *Route {
	r.route.Name = name
	return r
}

// FallThrough lets a mount pass on the requests that its application answers with 404: to the mount with
// the next shorter prefix, else to NotFound. A request body that was read is passed on, too; see Cascade.
func (r *Route) FallThrough() *Route {
	r.route.FallThrough = true
	return r
}
