package middleware

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/network"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Access allows and denies requests by the client's address. With Allow alone, all others are denied.
// With Deny alone, all others are allowed. With both, the smallest network that has the address
// decides, and an address in none is denied. Behind a proxy, put ReverseProxy in front.
type Access struct {
	// Allow are addresses and networks, or "unix" for clients that come by a Unix socket.
	Allow []string `yaml:"allow"`
	// Deny are the same. An entry that is in both lists is denied.
	Deny []string `yaml:"deny"`
	// Paths are the paths that this is about, each with all below it. None means every path.
	Paths []string `yaml:"paths"`
	// Status is the status for those who are denied: 403 by default, or 404 to hide what is there.
	Status int `yaml:"status" default:"403"`
}

func init() { parts.Middleware[Access]("access") }

// Check reports entries that are no addresses, a Status below 400, and an Access without lists.
func (m Access) Check() error {
	var errs []error
	for option, list := range map[string][]string{"allow": m.Allow, "deny": m.Deny} {
		if _, err := network.ParseSet(list); err != nil {
			errs = append(errs, pagi.BadOption(option, "%w", err))
		}
	}
	if len(m.Allow)+len(m.Deny) == 0 {
		errs = append(errs, pagi.BadOption("allow", "is missing, and so is deny"))
	}
	return errors.Join(append(errs, checkPaths("paths", m.Paths), checkErrorStatus("status", m.Status))...)
}

// checkErrorStatus reports a status that is neither 0 nor that of an error.
func checkErrorStatus(option string, status int) error {
	if status != 0 && (status < 400 || status > 599) {
		return pagi.BadOption(option, "must be 400 to 599, is %d", status)
	}
	return nil
}

// Wrap puts m around next.
func (m Access) Wrap(next pagi.App) pagi.App {
	status := m.Status
	if status == 0 {
		status = http.StatusForbidden
	}
	rules := m.rules()
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if protects(m.Paths, scope) && !rules.allow(scope.Client.Host) {
			return reply.Status(ctx, scope, send, status)
		}
		return next.Serve(ctx, scope, receive, send)
	})
}

// accessRules are the entries of both lists, the smallest networks first.
type accessRules struct {
	networks  []accessRule
	otherwise bool
	unix      bool
}

type accessRule struct {
	prefix netip.Prefix
	allow  bool
}

func (m Access) rules() accessRules {
	r := accessRules{otherwise: len(m.Allow) == 0}
	r.unix = r.otherwise
	for i, list := range [][]string{m.Deny, m.Allow} {
		allow := i == 1
		for _, text := range list {
			if text == network.Unix {
				r.unix = allow && !slices.Contains(m.Deny, text)
			} else if prefix, err := network.Parse(text); err == nil { // Check has reported the error
				r.networks = append(r.networks, accessRule{prefix, allow})
			}
		}
	}
	slices.SortStableFunc(r.networks, func(a, b accessRule) int { return b.prefix.Bits() - a.prefix.Bits() })
	return r
}

// allow decides about a peer. A host that is no address is that of a Unix socket.
func (r accessRules) allow(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return r.unix && (host == "" || strings.ContainsAny(host[:1], "/@"))
	}
	addr = addr.Unmap().WithZone("")
	for _, rule := range r.networks {
		if rule.prefix.Contains(addr) {
			return rule.allow
		}
	}
	return r.otherwise
}
