// Package routing is the engine of the routers in packages apps and endpoint. They collect routes in a
// Table; Build makes a Mux of it, which serves.
//
// Files: table.go collects and checks, lazy.go builds when the first scope comes, mux.go passes requests
// on, answer.go has the answers that a Mux gives itself, life.go passes the lifespan scope on, url.go
// makes URLs and the list of routes.
package routing

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/routetree"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Route is what a Table collects: a route, or a mount.
type Route struct {
	pagi.Route
	// App serves the route. Middleware is around it, the first outermost.
	App        pagi.App
	Middleware []pagi.Middleware
	// FallThrough lets a mount pass on what its application answers with 404.
	FallThrough bool
}

// label names the route in messages.
func (r *Route) label() string {
	switch {
	case r.Kind != pagi.TypeHTTP:
		return r.Kind + " " + r.Pattern
	case r.Method == "":
		return "any " + r.Pattern
	}
	return r.Method + " " + r.Pattern
}

// Table collects routes. The zero Table is empty.
type Table struct{ routes []*Route }

// Add adds a route, which may be changed until Build. Middleware is the one of its groups, and then its
// own.
func (t *Table) Add(route pagi.Route, app pagi.App, groups, own []pagi.Middleware) *Route {
	r := &Route{Route: route, App: app, Middleware: append(slices.Clip(groups), own...)}
	t.routes = append(t.routes, r)
	return r
}

// Options are those of a router as a whole.
type Options struct {
	// NotFound answers where there is no route, and MethodNotAllowed where there is none for the method.
	// It finds the methods by Allowed. nil stands for the Mux's own answers.
	NotFound, MethodNotAllowed pagi.App
	// RedirectSlash redirects to the path with or without a slash at its end, if only that has a route.
	RedirectSlash bool
	// Cascade tries applications until one answers other than 404, for mounts that fall through.
	Cascade func(apps []pagi.App) pagi.App
}

// Check reports what Build would report, and what applications and middleware report themselves.
func (t *Table) Check(o Options) error {
	_, err := t.index(o)
	errs := []error{err}
	for _, r := range t.routes {
		if err := pagi.Check(r.App); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.label(), err))
		}
		for _, m := range r.Middleware {
			if err := pagi.Check(m); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", r.label(), err))
			}
		}
	}
	if err := pagi.Check(o.NotFound); err != nil {
		errs = append(errs, fmt.Errorf("not found: %w", err))
	}
	if err := pagi.Check(o.MethodNotAllowed); err != nil {
		errs = append(errs, fmt.Errorf("method not allowed: %w", err))
	}
	return errors.Join(errs...)
}

// Build returns a Mux of the routes that the Table has now, with their middleware wrapped around them.
func (t *Table) Build(o Options) (*Mux, error) {
	m, err := t.index(o)
	if err != nil {
		return nil, err
	}
	m.wrap()
	return m, nil
}

// index returns a Mux whose applications lack their middleware. The error names every route that is
// wrong, and both of two that exclude one another.
func (t *Table) index(o Options) (*Mux, error) {
	m := &Mux{options: o, names: map[string]*target{}}
	var errs []error
	for i, r := range t.routes {
		own := *r // what is changed later has no effect
		if err := m.add(i, &own); err != nil {
			errs = append(errs, pagi.BadOption("routes", "%w", err))
		}
	}
	slices.SortStableFunc(m.mounts, func(a, b *target) int { return routetree.More(a.pattern, b.pattern) })
	return m, errors.Join(errs...)
}

// Conflict is the error for two routes that exclude one another.
type Conflict struct {
	// Earlier and Later are their numbers in the order of adding, from 0.
	Earlier, Later int
	// Name is the name that both have; "" if they match the same requests.
	Name string

	text string
}

func (c *Conflict) Error() string { return c.text }

// conflict returns the Conflict of t with an earlier route.
func (t *target) conflict(earlier *target, name, problem string) error {
	text := earlier.route.label() + " and " + t.route.label() + " " + problem
	return &Conflict{Earlier: earlier.number, Later: t.number, Name: name, text: text}
}

// target is a route of a Mux.
type target struct {
	number  int // in the Table
	route   *Route
	pattern *routetree.Pattern
	app     pagi.App // with its middleware
	info    any      // the pagi.Route, as the value of a scope
}

func (m *Mux) add(number int, r *Route) error {
	p, err := routetree.Parse(or(r.Pattern, "/"))
	switch {
	case r.Pattern == "" && r.Kind != pagi.RouteMount:
		return fmt.Errorf("%s: the pattern is missing", r.label())
	case err != nil:
		return err
	case r.App == nil:
		return fmt.Errorf("%s has no application", r.label())
	case r.Kind == pagi.RouteMount && p.IsWild():
		return fmt.Errorf("%s: a mount has all paths below its prefix: leave the wildcard out", r.label())
	case !isMethod(r.Method):
		return fmt.Errorf("%s: the method must be a word of capital letters", r.label())
	}
	info := r.Route
	t := &target{number: number, route: r, pattern: p, app: r.App, info: info}
	m.all = append(m.all, t)
	if other, taken := m.place(t); taken {
		return t.conflict(other, "", "are the same route")
	}
	if r.Name == "" {
		return nil
	}
	if other := m.names[r.Name]; other != nil {
		return t.conflict(other, r.Name, fmt.Sprintf("have the same name %q", r.Name))
	}
	m.names[r.Name] = t
	return nil
}

// place puts a route where the lookup finds it. If another route has that place, place returns it.
func (m *Mux) place(t *target) (other *target, taken bool) {
	switch t.route.Kind {
	case pagi.TypeWebSocket:
		return m.webSockets.Add(t.pattern, routetree.Any, t)
	case pagi.TypeSSE:
		return m.streams.Add(t.pattern, routetree.Any, t)
	case pagi.RouteMount:
		shape := strings.TrimSuffix(t.pattern.Shape(), "/")
		for _, other := range m.mounts {
			if strings.TrimSuffix(other.pattern.Shape(), "/") == shape {
				return other, true
			}
		}
		m.mounts = append(m.mounts, t)
		return nil, false
	}
	return m.http.Add(t.pattern, t.route.Method, t)
}

// isMethod reports whether a method can be that of a request; "" stands for any.
func isMethod(method string) bool {
	return (pagi.Headers{{Name: strings.ToLower(or(method, http.MethodGet))}}).Validate("") == nil && method == strings.ToUpper(method)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
