package endpoint

import (
	"context"

	"github.com/pagi-go/pagi-bridge/internal/routing"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Router is an application that gives each request to the function of its route. It is apps.Router for
// functions: patterns, their order, the answers to HEAD and OPTIONS, 404 and 405, and the lifespan are
// the same and described there. Routes are added by the methods of RouteGroup.
//
//	users := &Users{db}
//	r := &endpoint.Router{}
//	r.Get("/users/{id}", users.show).Name("user")
//	r.With(requireLogin).Post("/users", users.create)
//	r.WebSocket("/chat/{room}", users.chat)
//	r.Mount("/admin", admin)
//
// A function finds the parameters by request.Request.Param.
type Router struct {
	RouteGroup
	// NotFound answers where there is no route and no mount; nil answers 404.
	NotFound pagi.App
	// MethodNotAllowed answers where a path has routes, but none for the method; nil answers 405. The
	// function AllowedMethods gives it the value of the header allow, which a 405 without that header
	// gets.
	MethodNotAllowed pagi.App
	// RedirectSlash redirects to the path with a slash at its end, or without it, if only that one has a
	// route.
	RedirectSlash bool

	lazy routing.Lazy
}

// Check reports wrong patterns, routes without a function, routes that match the same requests, names
// that are given twice, and what applications and middleware report.
func (r *Router) Check() error { return r.table.Check(r.options()) }

// Serve implements pagi.App. The first scope completes the Router: routes added later have no effect.
func (r *Router) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	return r.lazy.Serve(ctx, scope, receive, send, &r.table, r.options())
}

func (r *Router) options() routing.Options {
	return routing.Options{NotFound: r.NotFound, MethodNotAllowed: r.MethodNotAllowed, RedirectSlash: r.RedirectSlash}
}

// URL returns the path of a named route below the Router, percent-encoded, as apps.Router.URL does.
// params are names and values of its parameters, in pairs.
func (r *Router) URL(name string, params ...string) (string, error) {
	return r.lazy.URL(&r.table, name, params...)
}

// Routes describes the routes in the order in which they were added, as apps.Router.Routes does.
func (r *Router) Routes() []pagi.Route {
	return r.lazy.Routes(&r.table)
}

// AllowedMethods returns the value of the header allow for the MethodNotAllowed of a Router: the
// methods that the path has, as in "GET, HEAD, OPTIONS". It is "" in other scopes.
func AllowedMethods(scope *pagi.Scope) string { return routing.Allowed(scope) }
