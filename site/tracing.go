package site

import (
	"github.com/pagi-go/pagi-bridge/internal/tracing"
	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// trace takes over the tracer of the predecessor.
func (s *Site) trace() {
	if s.Tracer == nil && s.predecessor != nil {
		s.Tracer = s.predecessor.Tracer
	}
}

// traced puts a span around each request that is recorded. It is around the whole site, and not around what answers the local
// redirects of CGI scripts.
func (s *Site) traced(app pagi.App) pagi.App {
	return s.Tracer.App(app, s.tracePeers())
}

// tracePeers returns the peers whose trace context counts.
func (s *Site) tracePeers() tracing.Peers {
	peers, _ := s.Settings.Tracing.Peers(s.proxies()) // Check has reported the error
	return peers
}

// proxies returns the peers that the site's middleware reverse_proxy trusts, none without it; all says that it trusts every
// peer.
func (s *Site) proxies() (list []string, all bool) {
	for _, m := range s.Middleware {
		if p, is := m.Part.(*middleware.ReverseProxy); is {
			return p.Trusted(), p.TrustAll
		}
	}
	return nil, false
}
