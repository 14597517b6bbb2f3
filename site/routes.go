package site

import (
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Route is a line of what "pagi-bridge routes" prints.
type Route struct {
	// Type is "http", "sse", "websocket", or "mount" for all that is below a prefix.
	Type string `json:"type"`
	// Method is the HTTP method, or "*" for any.
	Method string `json:"method"`
	// Host is the host of the mount, or "*" for any. Several hosts have commas between them.
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
		prefix := Route{Type: pagi.RouteMount, Method: "*", Host: strings.Join(m.Hosts, ","), Path: m.Path, Kind: m.Kind, Source: m.Source}
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
			if part.Route != nil {
				all = append(all, part.routesIn(at, prefix)...)
			}
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
