package server

import (
	"sync/atomic"

	"github.com/pagi-go/pagi-bridge/internal/status"
)

// What Status returns is part of what "pagi-bridge status --json" prints; docs/operations.md
// lists the fields.
type (
	// Status describes a running server at one moment.
	Status = status.Server
	// ListenerStatus describes an address at which connections are accepted.
	ListenerStatus = status.Listener
	// CertificateStatus describes a certificate.
	CertificateStatus = status.Certificate
)

// traffic counts since Run has begun. The number of accepted connections is connSet's.
type traffic struct {
	requests           atomic.Int64
	requestsRefused    atomic.Int64
	connectionsRefused atomic.Int64
}

// Status reports on a running server; ok is false where it is not running.
func (s *Server) Status() (now Status, ok bool) {
	r := s.run.Load()
	if r == nil {
		return Status{}, false
	}
	for _, l := range r.listeners {
		now.Listeners = append(now.Listeners, ListenerStatus{Address: l.Addr().String(), TLS: l.tls, Proxy: l.place.Proxy, Redirect: l.place.Redirect})
	}
	now.Connections, now.Traffic.Connections = r.conns.count()
	now.Protocols = r.conns.protocols()
	now.Traffic.ConnectionsRefused = r.traffic.connectionsRefused.Load()
	now.Traffic.Requests = r.traffic.requests.Load()
	now.Traffic.RequestsRefused = r.traffic.requestsRefused.Load()
	now.Requests = r.current.Load().working()
	r.leaving.Range(func(g, _ any) bool {
		now.Requests += g.(*generation).working()
		return true
	})
	if r.tls != nil {
		now.Certificates = r.tls.status()
	}
	return now, true
}

// status describes the certificates from files, and those of the source.
func (f *tlsFront) status() (all []CertificateStatus) {
	if f.files != nil {
		for i, c := range f.files.set.Load().list {
			all = append(all, CertificateStatus{
				File: f.files.files[i].Cert, Names: c.Leaf.DNSNames, Expires: c.Leaf.NotAfter, Stapled: c.OCSPStaple != nil,
			})
		}
	}
	if f.options.Managed != nil {
		all = append(all, f.options.Managed.Status()...)
	}
	return all
}
