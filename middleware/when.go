package middleware

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/hostname"
	"github.com/pagi-go/pagi-bridge/internal/network"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Condition is a condition on requests. A request matches if it matches every field that is set, and
// of a list at least one entry. The zero Condition matches every request. In a site file it stands
// beside the options of a middleware, under the keys "when" and "unless".
type Condition struct {
	// Path lists paths as the client asks for them. "/admin" stands for itself and all below it, and
	// "*.pdf" for every path with that ending.
	Path []string `yaml:"path"`
	// Host lists host names, without ports. "*.example.org" stands for all names below example.org.
	// The client chooses the name.
	Host []string `yaml:"host"`
	// Method lists methods. The handshake of a WebSocket counts as GET.
	Method []string `yaml:"method"`
	// Header gives for each header the value that one of its lines must have. In a value, "*" stands
	// for any text, so that "*" alone matches if the header is there.
	Header map[string]string `yaml:"header"`
	// Address lists addresses and networks of clients, or "unix" for those that come by a Unix socket.
	Address []string `yaml:"address"`
	// Func decides about the requests that match everything else. nil matches them all.
	Func func(*pagi.Scope) bool `yaml:"-"`
}

// Check reports paths without a slash, hosts and methods that are none, and entries of Address that
// are no addresses.
func (c Condition) Check() error {
	var errs []error
	for _, p := range c.Path {
		if !strings.HasPrefix(p, "/") && !strings.HasPrefix(p, "*.") || strings.LastIndexByte(p, '*') > 0 {
			errs = append(errs, pagi.BadOption("path", "%q must begin with a slash, or be an ending such as *.pdf", p))
		} else if p[0] == '/' {
			errs = append(errs, checkPaths("path", []string{p}))
		}
	}
	for _, m := range c.Method {
		errs = append(errs, checkMethod("method", m))
	}
	for _, h := range c.Host {
		if name := strings.TrimPrefix(h, "*."); !hostname.Valid(name) || strings.Contains(name, ":") {
			errs = append(errs, pagi.BadOption("host", "%q must be a host name, or one with *. in front", h))
		}
	}
	for name := range c.Header {
		errs = append(errs, checkName("header", name))
	}
	if _, err := network.ParseSet(c.Address); err != nil {
		errs = append(errs, pagi.BadOption("address", "%w", err))
	}
	return errors.Join(errs...)
}

// When puts middleware around an application for the requests that match a condition, and for no
// other:
//
//	middleware.When{If: middleware.Condition{Path: []string{"/admin"}}, Use: middleware.BasicAuth{...}}
//
// A path can be written in several ways, "//admin" for example, that an application may take for the
// same. If matches all of them. Unless matches only the plain one, so that neither is a way around a
// middleware that protects something. The lifespan scope goes through the middleware.
type When struct {
	// If is what a request must match.
	If Condition
	// Unless is what a request must not match. Its zero value excludes no request.
	Unless Condition
	// Use is the middleware.
	Use pagi.Middleware
}

// Check reports what the conditions and the middleware report.
func (m When) Check() error {
	return errors.Join(m.CheckConditions(), pagi.Check(m.Use))
}

// CheckConditions reports wrong options of the conditions, under the names "when" and "unless".
func (m When) CheckConditions() error {
	var errs []error
	for name, c := range map[string]Condition{"when": m.If, "unless": m.Unless} {
		if err := c.Check(); err != nil {
			errs = append(errs, pagi.BadOption(name, "%w", err))
		}
	}
	return errors.Join(errs...)
}

// Wrap puts m around next.
func (m When) Wrap(next pagi.App) pagi.App {
	inner := m.Use.Wrap(next)
	matches, excluded := m.If.compile(), m.Unless.compile()
	through, past := onward(inner), onward(next)
	asks := m.If.Func != nil || m.Unless.Func != nil
	return wrapPassage(m, inner, func(ctx context.Context, p passage) error {
		if asks { // a Func may keep the scope
			p.keep()
		}
		if !matches.match(p.scope, true) || !excluded.isEmpty && excluded.match(p.scope, false) {
			return past(ctx, p)
		}
		return through(ctx, p)
	})
}

// condition is a Condition whose fields are read.
type condition struct {
	Condition
	methods   []string
	hosts     []string
	addresses network.Set
	isEmpty   bool
}

func (c Condition) compile() condition {
	r := condition{Condition: c, methods: upper(c.Method)}
	r.addresses, _ = network.ParseSet(c.Address) // Check has reported the error
	r.hosts = hostPatterns(c.Host)
	r.isEmpty = len(c.Path)+len(c.Host)+len(c.Method)+len(c.Header)+len(c.Address) == 0 && c.Func == nil
	return r
}

// match reports whether a scope matches. A path that is not plain matches if it does so as it is or
// cleaned with loose set, and otherwise never.
func (c condition) match(scope *pagi.Scope, loose bool) bool {
	return (len(c.Path) == 0 || c.matchPath(scope, loose)) &&
		(len(c.hosts) == 0 || c.matchHost(scope)) &&
		(len(c.methods) == 0 || slices.Contains(c.methods, methodOf(scope))) &&
		(len(c.Header) == 0 || c.matchHeaders(scope)) &&
		(len(c.Address) == 0 || c.addresses.HasHost(scope.Client.Host)) &&
		(c.Func == nil || c.Func(scope))
}

func (c condition) matchPath(scope *pagi.Scope, loose bool) bool {
	asked := scope.RootPath + scope.Path
	cleaned := cleanPath(asked)
	if !loose && cleaned != asked && cleaned+"/" != asked {
		return false
	}
	return slices.ContainsFunc(c.Path, func(p string) bool {
		if ending, is := strings.CutPrefix(p, "*"); is {
			return strings.HasSuffix(asked, ending) || strings.HasSuffix(cleaned, ending)
		}
		return isAtOrBelow(asked, p) || isAtOrBelow(cleaned, p)
	})
}

func (c condition) matchHost(scope *pagi.Scope) bool {
	host, _ := hostname.Split(scope.Headers.Get("host"))
	return matchesHost(c.hosts, strings.ToLower(host))
}

// hostPatterns returns names of hosts as matchesHost reads them: in lower case, and without a dot at
// the end.
func hostPatterns(hosts []string) []string {
	patterns := make([]string, len(hosts))
	for i, host := range hosts {
		patterns[i] = strings.TrimSuffix(strings.ToLower(host), ".")
	}
	return patterns
}

// matchesHost reports whether one of the patterns stands for a host, which is in lower case. A dot at
// its end does not count.
func matchesHost(patterns []string, host string) bool {
	host = strings.TrimSuffix(host, ".")
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if below, is := strings.CutPrefix(pattern, "*."); is {
			name, ok := strings.CutSuffix(host, "."+below)
			return ok && name != ""
		}
		return pattern == host
	})
}

func (c condition) matchHeaders(scope *pagi.Scope) bool {
	for name, pattern := range c.Header {
		found := false
		for value := range scope.Headers.Values(name) {
			found = found || matchesText(pattern, value)
		}
		if !found {
			return false
		}
	}
	return true
}

// matchesText reports whether pattern, in which "*" stands for any text, stands for s.
func matchesText(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return pattern == s
	}
	rest, ok := strings.CutPrefix(s, first)
	if !ok || len(rest) < len(last) || !strings.HasSuffix(rest, last) {
		return false
	}
	rest = rest[:len(rest)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return true
}
