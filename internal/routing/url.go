package routing

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/nearest"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// URL returns the path of a named route below the router, percent-encoded. params are names and values
// of its parameters, in pairs. A name with dots may be that of a mount and that of a route of the router
// there: "api.user".
func (m *Mux) URL(name string, params ...string) (string, error) {
	if len(params)%2 != 0 {
		return "", fmt.Errorf("the URL of %q: the parameter %q has no value", name, params[len(params)-1])
	}
	values := map[string]string{}
	for i := 0; i < len(params); i += 2 {
		if _, twice := values[params[i]]; twice {
			return "", fmt.Errorf("the URL of %q: the parameter %q is given twice", name, params[i])
		}
		values[params[i]] = params[i+1]
	}
	path, err := m.url(name, values)
	if err != nil {
		return "", fmt.Errorf("the URL of %q: %w", name, err)
	}
	return path, nil
}

func (m *Mux) url(name string, values map[string]string) (string, error) {
	if t := m.names[name]; t != nil {
		return t.pattern.Build(values)
	}
	for i := range name {
		t := m.names[name[:i]]
		if name[i] != '.' || t == nil {
			continue
		}
		router, ok := t.route.App.(interface {
			URL(name string, params ...string) (string, error)
		})
		if !ok {
			continue
		}
		own, others := map[string]string{}, []string(nil)
		for _, key := range slices.Sorted(maps.Keys(values)) {
			if slices.Contains(t.pattern.Names(), key) {
				own[key] = values[key]
			} else {
				others = append(others, key, values[key])
			}
		}
		prefix, err := t.pattern.Build(own)
		if err != nil {
			return "", err
		}
		path, err := router.URL(name[i+1:], others...)
		return strings.TrimSuffix(prefix, "/") + path, err
	}
	return "", fmt.Errorf("there is no route of that name%s", nearest.Suggestion(name, "", slices.Collect(maps.Keys(m.names))))
}

// Routes describes the routes in the order in which they were added. A mount is followed by the routes
// of the router there.
func (m *Mux) Routes() (all []pagi.Route) {
	for _, t := range m.all {
		all = append(all, t.route.Route)
		router, ok := t.route.App.(interface{ Routes() []pagi.Route })
		if !ok || t.route.Kind != pagi.RouteMount {
			continue
		}
		for _, r := range router.Routes() {
			r.Pattern = join(t.route.Pattern, r.Pattern)
			switch {
			case t.route.Name == "":
				r.Name = ""
			case r.Name != "":
				r.Name = t.route.Name + "." + r.Name
			}
			all = append(all, r)
		}
	}
	return all
}

// join puts the prefix of a mount in front of a pattern.
func join(prefix, pattern string) string { return strings.TrimSuffix(prefix, "/") + pattern }
