// Package status has the types that tell what a running gateway does at one moment, and their JSON
// names. Each room fills in its own part: server listeners and connections (Server), bridge/pool
// and bridge/cgi what the processes of a mount do (Backend), package site the mounts, the command
// the rest. The command "pagi-bridge status" prints them, and whatever else shows them reads the
// same types.
//
// It is a room of its own, below all others, because the bridges must not import package site,
// and package server must not know the bridges. It imports nothing of this module.
//
// Which file does what: status.go has the gateway and its server, backend.go what is behind a
// mount, beside.go what is beside the site, responses.go what clients got, totals.go the counts, errors.go the counters of
// errors, waits.go those of waits, hang.go where a process was that hung.
//
// Two rules hold for all that is told of a request: its query string is not shown, and nothing
// of it is shown any more once it has ended, except by a Hang.
package status

import (
	"strconv"
	"time"
)

// Gateway describes a running gateway.
type Gateway struct {
	Version     string    `json:"version"`
	PID         int       `json:"pid"`
	Environment string    `json:"environment"`
	Since       time.Time `json:"since"` // when it was started
	// Draining is when "pagi-bridge drain" was called, and Stops when the gateway will stop by it.
	Draining time.Time `json:"draining,omitzero"`
	Stops    time.Time `json:"stops,omitzero"`
	Server
	// Responses are those of all mounts, and of requests that came to none.
	Responses Responses `json:"responses"`
	Mounts    []Mount   `json:"mounts"`
	// Adapters are the processes that keep mounts apart from the gateway.
	Adapters []Adapter `json:"adapters,omitempty"`
	// Shared are the namespaces that applications use.
	Shared []Space `json:"shared,omitempty"`
	// Services are the programs beside the site, Cron its jobs.
	Services []Service `json:"services,omitempty"`
	Cron     []Job     `json:"cron,omitempty"`
	// Logs are those that have lost lines.
	Logs []Log `json:"logs,omitempty"`
}

// Adapter describes a process that keeps the workers of mounts.
type Adapter struct {
	Name   string   `json:"name"`
	PID    int      `json:"pid"`
	UID    int      `json:"uid"`
	Mounts []string `json:"mounts"`
}

// Log describes a log that has lost lines.
type Log struct {
	Log     string `json:"log"`               // the option that names it
	Lost    uint64 `json:"lost"`              // lines, since the gateway was started
	Problem string `json:"problem,omitempty"` // why lines are lost now
}

// Server describes a running server.
type Server struct {
	Listeners []Listener `json:"listeners"`
	// Connections is the number of open connections.
	Connections int `json:"connections"`
	// Protocols are the open connections by protocol.
	Protocols Protocols `json:"protocols"`
	// Requests is the number of requests that the application has now. After a reload those
	// that the application before still has are among them.
	Requests int64 `json:"requests"`
	// Traffic counts since the server was started.
	Traffic Traffic `json:"traffic"`
	// Certificates are those that were read from files, and one for each name that ACME is asked about.
	Certificates []Certificate `json:"certificates,omitempty"`
}

// Protocols are numbers of connections. A connection counts for HTTP/1 until it speaks HTTP/2.
type Protocols struct {
	HTTP1 int `json:"http1"`
	HTTP2 int `json:"http2"`
	HTTP3 int `json:"http3"`
}

// Traffic counts what has come from clients since the server was started.
type Traffic struct {
	// Connections is the number of connections that clients have opened, ConnectionsRefused
	// of those among them that were turned away because there were too many.
	Connections        int64 `json:"connections"`
	ConnectionsRefused int64 `json:"connections_refused"`
	// Requests is the number of requests, RequestsRefused of those among them that were turned
	// down because of their head: it was malformed, too large or too slow.
	Requests        int64 `json:"requests"`
	RequestsRefused int64 `json:"requests_refused"`
}

// Listener describes an address at which connections are accepted.
type Listener struct {
	Address  string `json:"address"`
	TLS      bool   `json:"tls,omitempty"`
	Proxy    bool   `json:"proxy,omitempty"`    // a PROXY header comes first
	Redirect bool   `json:"redirect,omitempty"` // all requests are sent to https
}

// Certificate describes a certificate.
type Certificate struct {
	File string `json:"file,omitempty"` // it was read from this file
	// Domain is the name in tls.acme.domains that the certificate was obtained for. Without Expires the authority has
	// given none yet.
	Domain  string    `json:"domain,omitempty"`
	Names   []string  `json:"names,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	Stapled bool      `json:"stapled,omitempty"` // with an OCSP response
}

// Seconds is a time that is a number of seconds in JSON.
type Seconds time.Duration

// MarshalJSON writes the seconds with up to six decimals.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(time.Duration(s).Microseconds())/1e6, 'f', -1, 64), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Seconds) UnmarshalJSON(text []byte) error {
	f, err := strconv.ParseFloat(string(text), 64)
	*s = Seconds(f * float64(time.Second))
	return err
}
