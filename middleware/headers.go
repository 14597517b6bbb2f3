package middleware

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Headers changes the headers of requests, before the application sees them, and those of responses,
// before the client does. Those of the handshake of a WebSocket count as well.
type Headers struct {
	// Request says what is done with the headers of requests.
	Request HeaderEdits `yaml:"request"`
	// Response says what is done with the headers of responses.
	Response HeaderEdits `yaml:"response"`
}

// HeaderEdits are changes of headers, which are made in the order of the fields.
type HeaderEdits struct {
	// Unset lists the headers to remove. A "*" in a name stands for any text, as in "x-internal-*".
	Unset []string `yaml:"unset"`
	// Set replaces all headers of that name.
	Set map[string]string `yaml:"set"`
	// Default sets headers that are not there.
	Default map[string]string `yaml:"default"`
	// Add adds a header beside others of that name.
	Add map[string]string `yaml:"add"`
}

func init() { parts.Middleware[Headers]("headers") }

// framing are the headers that the server and the protocol need as they are.
var framing = []string{
	"connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
	"sec-websocket-accept", "sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol", "sec-websocket-extensions",
}

// Check reports names and values that cannot be those of a header, and headers that frame a message.
func (m Headers) Check() error {
	return errors.Join(m.Request.check("request"), m.Response.check("response"))
}

func (e HeaderEdits) check(option string) error {
	var errs []error
	name := func(name string) {
		if err := checkName(option, name); err != nil {
			errs = append(errs, err)
		}
		for _, f := range framing {
			if matchesText(strings.ToLower(name), f) {
				errs = append(errs, pagi.BadOption(option, "%s must not be changed, because it belongs to the connection", f))
			}
		}
	}
	for _, n := range e.Unset {
		name(n)
	}
	for _, list := range []map[string]string{e.Set, e.Default, e.Add} {
		for _, n := range slices.Sorted(maps.Keys(list)) {
			if strings.Contains(n, "*") {
				errs = append(errs, pagi.BadOption(option, "%q: only unset takes a *", n))
				continue
			}
			name(n)
			errs = append(errs, checkValue(option, list[n]))
		}
	}
	return errors.Join(errs...)
}

// Wrap puts m around next.
func (m Headers) Wrap(next pagi.App) pagi.App {
	request, response := m.Request.compile(), m.Response.compile()
	on := onward(next)
	adds := len(response.set) + len(response.otherwise) + len(response.add)
	change := edit{change: func(b beginning, _ string) beginning {
		b.own()
		response.apply(&b.headers)
		return b
	}}
	return wrapPassage(m, next, func(ctx context.Context, p passage) error {
		if !request.isEmpty() {
			request.apply(p.changeHeaders())
		}
		if !response.isEmpty() {
			p.edit(change, adds)
		}
		return on(ctx, p)
	})
}

// headerEdits are HeaderEdits in an order that is the same each time.
type headerEdits struct {
	unset               []string
	set, otherwise, add pagi.Headers
}

func (e HeaderEdits) compile() (r headerEdits) {
	for _, name := range e.Unset {
		r.unset = append(r.unset, strings.ToLower(name))
	}
	r.set, r.otherwise, r.add = sorted(e.Set), sorted(e.Default), sorted(e.Add)
	return r
}

func sorted(list map[string]string) (h pagi.Headers) {
	for _, name := range slices.Sorted(maps.Keys(list)) {
		h.Add(name, list[name])
	}
	return h
}

func (e headerEdits) isEmpty() bool { return len(e.unset)+len(e.set)+len(e.otherwise)+len(e.add) == 0 }

func (e headerEdits) apply(h *pagi.Headers) {
	for _, pattern := range e.unset {
		*h = slices.DeleteFunc(*h, func(x pagi.Header) bool { return matchesText(pattern, x.Name) })
	}
	for _, x := range e.set {
		h.Set(x.Name, x.Value)
	}
	for _, x := range e.otherwise {
		if !h.Has(x.Name) {
			h.Add(x.Name, x.Value)
		}
	}
	*h = append(*h, e.add...)
}
