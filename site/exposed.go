package site

import (
	"fmt"
	"net"
	"slices"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/middleware"
)

// guards are the middleware that decide who may make a request.
var guards = []string{"access", "auth_forward", "auth_oidc", "basic_auth", "bearer_auth"}

// exposureWarnings names the status pages that any client can see: no middleware before them decides who may, and the site
// listens at an address that other machines may reach. A middleware of the program's own is taken to decide.
func (s *Site) exposureWarnings() (warnings Problems) {
	if s.isLocal() || s.Settings.TLS.ClientAuth == "required" {
		return nil
	}
	guarded := func(list []*Middleware) bool {
		return slices.ContainsFunc(list, func(m *Middleware) bool {
			return slices.Contains(guards, m.Name) || !slices.Contains(middleware.Recommended, m.Name)
		})
	}
	var look func(list []*Mount)
	look = func(list []*Mount) {
		for _, m := range list {
			if guarded(m.Middleware) {
				continue
			}
			if _, is := m.Options.(*apps.StatusPage); is {
				warnings = append(warnings, &Problem{At: m.at.part, Err: fmt.Errorf(
					"any client can see the status page at %s: give it a middleware such as basic_auth or access", m.Name())})
			}
			look(m.Parts)
		}
	}
	if !guarded(s.Middleware) {
		look(s.Mounts)
	}
	return warnings
}

// isLocal reports whether the site listens at Unix sockets and loopback addresses only. Without listen it does; the sockets that
// systemd may pass instead are not known here.
func (s *Site) isLocal() bool {
	places, _ := s.Settings.places() // checkListen has reported the wrong ones
	return !slices.ContainsFunc(places, func(p place) bool {
		if _, isFile := p.Path(); isFile {
			return false
		}
		host, _, err := net.SplitHostPort(p.Address)
		if err != nil {
			return true
		}
		ip := net.ParseIP(host)
		return host != "localhost" && (ip == nil || !ip.IsLoopback())
	})
}
