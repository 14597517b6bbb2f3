package server

import (
	"time"
)

// Status describes a running server at one moment.
type Status struct {
	// Listeners are the addresses that are listened at.
	Listeners []ListenerStatus `json:"listeners"`
	// Connections is the number of open connections, Requests that of the requests
	// that the application has now, and the ones before it that are not done yet.
	Connections int   `json:"connections"`
	Requests    int64 `json:"requests"`
	// Certificates are those of files.
	Certificates []CertificateStatus `json:"certificates,omitempty"`
}

// ListenerStatus describes a place that is listened at.
type ListenerStatus struct {
	Address  string `json:"address"`
	TLS      bool   `json:"tls,omitempty"`
	Proxy    bool   `json:"proxy,omitempty"`
	Redirect bool   `json:"redirect,omitempty"`
}

// CertificateStatus describes a certificate.
type CertificateStatus struct {
	File    string    `json:"file"`
	Names   []string  `json:"names"`
	Expires time.Time `json:"expires"`
	Stapled bool      `json:"stapled,omitempty"` // with an OCSP response
}

// Status reports on a running server; ok is false where it is not running.
func (s *Server) Status() (status Status, ok bool) {
	r := s.run.Load()
	if r == nil {
		return Status{}, false
	}
	for _, l := range r.listeners {
		status.Listeners = append(status.Listeners, ListenerStatus{l.Addr().String(), l.tls, l.place.Proxy, l.place.Redirect})
	}
	status.Connections = r.conns.len()
	status.Requests = r.current.Load().working()
	r.leaving.Range(func(g, _ any) bool {
		status.Requests += g.(*generation).working()
		return true
	})
	if r.tls != nil && r.tls.files != nil {
		for i, c := range r.tls.files.set.Load().list {
			status.Certificates = append(status.Certificates, CertificateStatus{
				File: r.tls.files.files[i].Cert, Names: c.Leaf.DNSNames, Expires: c.Leaf.NotAfter, Stapled: c.OCSPStaple != nil,
			})
		}
	}
	return status, true
}
