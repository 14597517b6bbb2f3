package middleware

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/hostname"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// TrustedHosts refuses requests for other hosts than those it lists. An application that builds links
// of the Host header, for a mail with a new password for example, cannot be made to build them for
// another host then. Ports do not count.
type TrustedHosts struct {
	// Hosts are the host names. "*.example.org" stands for all names below example.org, and "*" for
	// every name. An IPv6 address has brackets.
	Hosts []string `yaml:"hosts"`
	// AllowEmpty lets requests without a host pass.
	AllowEmpty bool `yaml:"allow_empty"`
	// Status is the status for other hosts: 400 by default. 421 (RFC 9110 section 15.5.20) lets a client
	// that reuses a connection of HTTP/2 for another host try again. A host that cannot be one is always
	// 400.
	Status int `yaml:"status" default:"400"`
}

func init() { parts.Middleware[TrustedHosts]("trusted_hosts") }

// Check reports an empty list, entries that are no host names, and a Status below 400.
func (m TrustedHosts) Check() error {
	errs := []error{checkErrorStatus("status", m.Status)}
	if len(m.Hosts) == 0 {
		errs = append(errs, pagi.BadOption("hosts", "is missing"))
	}
	for _, h := range m.Hosts {
		if name, port := hostname.Split(strings.TrimPrefix(h, "*.")); h != "*" && (!hostname.Valid(name) || port != "") {
			errs = append(errs, pagi.BadOption("hosts", "%q must be a host name without a port, or one with *. in front", h))
		}
	}
	return errors.Join(errs...)
}

// Wrap puts m around next.
func (m TrustedHosts) Wrap(next pagi.App) pagi.App {
	status := m.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	patterns, every := hostPatterns(m.Hosts), slices.Contains(m.Hosts, "*")
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		host := scope.Headers.Get("host")
		switch {
		case host == "" && m.AllowEmpty:
			return next.Serve(ctx, scope, receive, send)
		case !hostname.Valid(host):
			return reply.Status(ctx, scope, send, http.StatusBadRequest)
		}
		name, _ := hostname.Split(host)
		if every || matchesHost(patterns, strings.ToLower(name)) {
			return next.Serve(ctx, scope, receive, send)
		}
		return reply.Status(ctx, scope, send, status)
	})
}
