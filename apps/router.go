package apps

import (
	"context"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/routing"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Router gives each request to the application of its route: by method and path for http scopes, by
// path for websocket and sse scopes. Routes are added by the methods of RouteGroup.
//
//	r := &apps.Router{}
//	r.Get("/users/{id:[0-9]+}", user).Name("user")
//	r.Post("/users", create, middleware.CSRF{})
//	r.WebSocket("/chat/{room}", chat)
//	r.Mount("/static", &apps.File{Root: "public"})
//
// A pattern consists of segments between slashes. A segment is text, a parameter, or both:
//
//	/users/{id}            a parameter has one or more characters; /users/:id is the same
//	/users/{id:[0-9]+}     it must match all of a regular expression (RE2 syntax)
//	/{name}.json           text and parameters mixed; the first parameters take as much as they can
//	/files/{path...}       a wildcard has the rest of the path, which is not empty; /files/*path is the same
//
// The more special of two patterns wins, segment by segment from the left: text before a parameter with
// a constraint or text around it, that before a plain parameter, and that before a wildcard. The order
// of adding counts only for two segments with regular expressions and equally much text. If the rest of
// the path does not match, or the pattern has no route for the method, the next pattern is tried.
//
// The application of a route finds the parameters in the scope, under scopekey.PathParams, together with
// those of a router around this one, and the route itself under scopekey.Router. Path and RootPath stay
// as they are.
//
// Routes go before mounts. The mount with the longest prefix gets what has no route.
//
// HEAD goes to the route for GET where there is none for HEAD. The Router answers three kinds of requests
// itself, without the middleware of routes and in the scope's own event family: OPTIONS with 204 and an
// Allow header, another method that the path lacks with 405, and a path without a route with 404. It
// declines an sse scope whose path has only routes for http scopes, so that the server asks again for an
// ordinary response.
//
// Paths are compared exactly. "/users" and "/users/" are two paths (see RedirectSlash), empty segments
// count, and segments of dots are ordinary text. The value of a wildcard may so contain "..": an
// application that opens files must check it, as File does. An encoded slash (%2F) does not end a
// segment but is part of it: "/users/a%2Fb" has the id "a/b". For that, Router compares RawPath with
// Path; where a middleware has changed only one of them, all slashes of Path are taken as separators.
// The path "" of a Router below a mount is "/".
//
// The first request or lifespan scope completes a Router: routes added later have no effect. It is safe
// for concurrent use from then on. With a wrong route (see Check) it answers each scope with that error.
type Router struct {
	RouteGroup `yaml:"-"`
	// NotFound answers where there is no route and no mount, in scopes of all types; nil answers 404.
	NotFound pagi.App `yaml:"-"`
	// MethodNotAllowed answers where a path has routes, but none for the method; nil answers 405.
	// AllowedMethods gives it the value of the header allow, which a 405 without that header gets.
	MethodNotAllowed pagi.App `yaml:"-"`
	// RedirectSlash redirects to the path with a slash at its end, or without it, if the requested path
	// has no route but that one has: with 301 for GET and HEAD, else with 308. The default is 404.
	RedirectSlash bool `yaml:"redirect_slash"`

	lazy routing.Lazy
}

func init() { parts.App[Router]("router", "") }

// Check reports patterns that are wrong, routes without an application, routes that match the same
// requests, names that are given twice, and what applications and middleware report.
func (r *Router) Check() error { return r.table.Check(r.options()) }

// RouteConflict is in the error of Router.Check for each two routes that match the same requests or have
// the same name.
type RouteConflict = routing.Conflict

// Serve passes the scope on. The lifespan scope goes to each application once, through the middleware of
// its routes; a failed startup names the route.
func (r *Router) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	return r.lazy.Serve(ctx, scope, receive, send, &r.table, r.options())
}

func (r *Router) options() routing.Options {
	return routing.Options{NotFound: r.NotFound, MethodNotAllowed: r.MethodNotAllowed, RedirectSlash: r.RedirectSlash, Cascade: passOn404}
}

// passOn404 tries applications until one answers other than 404.
func passOn404(all []pagi.App) pagi.App { return &Cascade{Apps: all, Catch: []int{404}} }

// URL returns the path of a named route below the Router, percent-encoded. params are names and values of
// its parameters, in pairs:
//
//	r.URL("user", "id", "7") // "/users/7"
//
// A slash in a value is encoded, except in the value of a wildcard. It is an error if there is no route of
// that name, if a parameter is missing, superfluous, empty or not what its constraint allows, and if a
// browser would change the path: if it has a segment of one or two dots, or begins with two slashes.
//
// The routes of a Router at a named mount have names with that of the mount in front: "api.user".
func (r *Router) URL(name string, params ...string) (string, error) {
	return r.lazy.URL(&r.table, name, params...)
}

// Routes describes the routes in the order in which they were added. A mount is followed by the routes of
// the Router there, with the mount's prefix in front. It is nil if there is a wrong route.
func (r *Router) Routes() []pagi.Route {
	return r.lazy.Routes(&r.table)
}

// AllowedMethods returns the value of the header allow for the MethodNotAllowed of a Router: the
// methods that the path has, as in "GET, HEAD, OPTIONS". It is "" in other scopes.
func AllowedMethods(scope *pagi.Scope) string { return routing.Allowed(scope) }
