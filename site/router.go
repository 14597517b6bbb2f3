package site

import (
	"errors"
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
		m.addPart(part, "")
	}
}

// The keys of a router for the applications that answer in place of its routes. The first is also a kind
// of mount, so a mount with a router has it as a key of that router.
const (
	answerNotFound         = KindNotFound
	answerMethodNotAllowed = "method_not_allowed"
)

var answerKeys = []string{answerNotFound, answerMethodNotAllowed}

// answer decodes an application that answers in place of a router's routes.
func (d *decoder) answer(s *Site, m *Mount, p pair) {
	pairs, ok := d.mapping(p.value)
	if !ok {
		d.problems.add(d.at(d.plain(p.value)), "%s: must be an application like {psgi: missing.psgi}, is %s", p.key, d.describe(d.plain(p.value)))
		return
	}
	for _, inner := range pairs {
		if inner.key == "path" || inner.key == "host" {
			d.problems.add(inner.at, "the application of %s cannot have a %s", p.key, inner.key)
		}
	}
	if part := d.mount(s, d.at(p.value), pairs); part != nil {
		part.Answers = p.key
		m.addPart(part, p.key)
	}
}

// routeParts are the parts of a router by the number of each route that they have added to it.
type routeParts []*Mount

// add adds a part of a site's router to the router itself.
func (r *routeParts) add(router *apps.Router, part *Mount, app pagi.App, problems *Problems) {
	switch part.Answers {
	case answerNotFound:
		router.NotFound = app
		return
	case answerMethodNotAllowed:
		router.MethodNotAllowed = app
		return
	}
	if err := part.Route.check(); err != nil {
		problems.addOf(part.at, err)
		return
	}
	part.Route.addTo(router, app)
	for range max(1, len(part.Route.Method)) {
		*r = append(*r, part)
	}
}

// report adds what is wrong with a mount. Routes that exclude one another are reported where the later
// one stands.
func (r routeParts) report(m *Mount, err error, problems *Problems) {
	if many := joinedIn(err, m.at.prefix); many != nil {
		for _, each := range many {
			r.report(m, each, problems)
		}
		return
	}
	var c *apps.RouteConflict
	if !errors.As(err, &c) || max(c.Earlier, c.Later) >= len(r) {
		problems.addOf(m.at, err)
		return
	}
	options := []string{"path", "mount"}
	if c.Name != "" {
		options = []string{"name"}
	}
	at := func(part *Mount) Position {
		for _, option := range options {
			if place, ok := part.at.options[option]; ok {
				return place
			}
		}
		return part.at.part
	}
	problems.add(at(r[c.Later]), "router: %w; the other one is%s", c, first(at(r[c.Earlier])))
}
