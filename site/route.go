package site

import (
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/routetree"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// RouteOptions are the keys of a route in a router mount, beside those of its application.
type RouteOptions struct {
	// Path is the pattern of the paths, below the router; see apps.Router. The application finds the
	// whole path.
	Path string `yaml:"path"`
	// Mount is the prefix of the paths, in place of Path. The application finds the path below it.
	Mount string `yaml:"mount"`
	// Method lists the HTTP methods; none means all.
	Method []string `yaml:"method"`
	// Type is "http", the default, "sse" or "websocket": what is served at Path.
	Type string `yaml:"type"`
	// Name is the name of the route in lists.
	Name string `yaml:"name"`
	// FallThrough lets a route with Mount pass on what its application answers with 404.
	FallThrough bool `yaml:"fall_through"`
}

// check reports options that exclude one another or have a wrong value.
func (o *RouteOptions) check() error {
	_, badPath := routetree.Parse(o.Path)
	_, badPrefix := routetree.Parse(o.Mount)
	upper := strings.ToUpper(strings.Join(o.Method, " "))
	switch {
	case o.Path == "" && o.Mount == "":
		return pagi.BadOption("path", "is missing: a route has a path, or a prefix as its mount")
	case o.Path != "" && o.Mount != "":
		return pagi.BadOption("mount", "a route has a path or a mount, not both")
	case o.Path != "" && badPath != nil:
		return pagi.BadOption("path", "%w", badPath)
	case o.Mount != "" && badPrefix != nil:
		return pagi.BadOption("mount", "%w", badPrefix)
	case o.Type != "" && o.Type != pagi.TypeHTTP && o.Type != pagi.TypeSSE && o.Type != pagi.TypeWebSocket:
		return pagi.BadOption("type", "must be http, sse or websocket, is %q", o.Type)
	case o.Type != "" && o.Mount != "":
		return pagi.BadOption("type", "is for a route with a path; a mount serves all types")
	case len(o.Method) > 0 && (o.Mount != "" || o.Type == pagi.TypeSSE || o.Type == pagi.TypeWebSocket):
		return pagi.BadOption("method", "is for a route with a path and the type http")
	case upper != strings.Join(o.Method, " "):
		return pagi.BadOption("method", "must be in capital letters: %s", upper)
	case o.FallThrough && o.Mount == "":
		return pagi.BadOption("fall_through", "is for a route with a mount")
	}
	return nil
}

// addTo adds the route to a router.
func (o *RouteOptions) addTo(r *apps.Router, app pagi.App) {
	switch {
	case o.Mount != "":
		mount := r.Mount(o.Mount, app).Name(o.Name)
		if o.FallThrough {
			mount.FallThrough()
		}
	case o.Type == pagi.TypeSSE:
		r.SSE(o.Path, app).Name(o.Name)
	case o.Type == pagi.TypeWebSocket:
		r.WebSocket(o.Path, app).Name(o.Name)
	case len(o.Method) == 0:
		r.Any(o.Path, app).Name(o.Name)
	}
	for i, method := range o.Method {
		route := r.Handle(method, o.Path, app)
		if i == 0 { // a name stands for one route
			route.Name(o.Name)
		}
	}
}

// routeKeys are the keys of RouteOptions.
var routeKeys = fieldsOf(&RouteOptions{})

// routes decodes the routes of a router.
func (d *decoder) routes(s *Site, m *Mount, what pair) {
	list, ok := d.plain(what.value).(*ast.SequenceNode)
	if !ok || len(list.Values) == 0 {
		d.problems.add(d.at(what.value), "router: must be a list like [{path: /users/{id}, psgi: app.psgi}], is %s", d.describe(d.plain(what.value)))
		return
	}
	for _, item := range list.Values {
		pairs, ok := d.mapping(item)
		if !ok {
			d.problems.add(d.at(item), "router: each route must be a mapping like {path: /users/{id}, psgi: app.psgi}, is %s", d.describe(d.plain(item)))
			continue
		}
		var own []pair
		others := slices.DeleteFunc(pairs, func(p pair) bool {
			_, is := routeKeys[p.key]
			if is {
				own = append(own, p)
			}
			return is
		})
		for _, p := range others {
			if p.key == "host" || p.key == KindRouter {
				d.problems.add(p.at, "a route cannot have a %s", p.key)
			}
		}
		part := d.mount(s, d.at(item), others)
		if part == nil {
			continue
		}
		for key := range fieldsOf(part.Options) {
			if _, taken := routeKeys[key]; taken {
				d.problems.add(part.at.part, "%s has an option called %q, which belongs to the route; mount it", part.Kind, key)
			}
		}
		part.Route = &RouteOptions{}
		d.into(part.Route, own, "a route", "", part.at.options)
		m.addPart(part)
	}
}

// Route is a line of what "pagi-bridge routes" prints.
type Route struct {
	// Type is "http", "sse", "websocket", or "mount" for all that is below a prefix.
	Type string `json:"type"`
	// Method is the HTTP method, or "*" for any.
	Method string `json:"method"`
	// Host is the host of the mount, or "*" for any.
	Host string `json:"host"`
	// Path is the pattern. That of a mount ends with "/*".
	Path string `json:"path"`
	// Kind and Source are those of the Mount that serves it.
	Kind   string `json:"kind"`
	Source string `json:"source"`
	// Name is the name of the route; "" if there is none.
	Name string `json:"name,omitempty"`
}

// Routes lists the routes and mounts of the site, in the order of the site file. A router, also one that
// is a Go application with a method Routes() []pagi.Route, is listed by its routes, a cascade by its
// parts. Build must have been called.
func (s *Site) Routes() (all []Route) {
	for _, m := range s.Mounts {
		prefix := Route{Type: pagi.RouteMount, Method: "*", Host: m.Host, Path: m.Path, Kind: m.Kind, Source: m.Source}
		if prefix.Host == "" {
			prefix.Host = "*"
		}
		all = append(all, m.routes(prefix)...)
	}
	return all
}

// routes lists a mount, which is at a place that the line names.
func (m *Mount) routes(at Route) (all []Route) {
	at.Kind, at.Source = m.Kind, m.Source
	prefix := strings.TrimRight(at.Path, "/")
	if at.Type == pagi.RouteMount {
		at.Path = prefix + "/*"
	}
	router, isRouter := m.app.(interface{ Routes() []pagi.Route })
	switch {
	case m.Kind == KindRouter:
		for _, part := range m.Parts {
			all = append(all, part.routesIn(at, prefix)...)
		}
	case m.Kind == KindCascade:
		for _, part := range m.Parts {
			inner := at
			if at.Type == pagi.RouteMount {
				inner.Path = prefix
			}
			all = append(all, part.routes(inner)...)
		}
	case isRouter && at.Type == pagi.RouteMount:
		for _, r := range router.Routes() {
			one := Route{Type: r.Kind, Method: or(r.Method, "*"), Host: at.Host, Path: prefix + r.Pattern, Kind: at.Kind, Source: at.Source, Name: r.Name}
			if r.Kind == pagi.RouteMount {
				one.Path = strings.TrimRight(one.Path, "/") + "/*"
			}
			all = append(all, one)
		}
	default:
		all = append(all, at)
	}
	return all
}

// routesIn lists a part of a router whose mount has a prefix.
func (m *Mount) routesIn(at Route, prefix string) (all []Route) {
	at.Name = m.Route.Name
	if m.Route.Mount != "" {
		at.Path = prefix + m.Route.Mount
		return m.routes(at)
	}
	at.Type, at.Path = or(m.Route.Type, pagi.TypeHTTP), prefix+m.Route.Path
	if len(m.Route.Method) == 0 {
		return m.routes(at)
	}
	for _, method := range m.Route.Method {
		at.Method = method
		all = append(all, m.routes(at)...)
	}
	return all
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
