// Package upstream knows the servers behind a proxy: how they are named, which of them gets a
// request, which are down, and how they are reached.
//
// Files: backend.go reads the name of a backend, pool.go chooses one, health.go keeps the states,
// check.go asks the backends how they are, and transport.go connects to them. direct.go is the short
// way for requests without a body, with guard.go for its time limits, head.go for the head of a
// response and response.go for its body.
// fastcgi.go is the same for applications of FastCGI.
//
// Of package pagi it uses Headers. It knows nothing of scopes and events.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/hostname"
)

// Backend is one server behind a proxy.
type Backend struct {
	// Name is the address as Parse got it, for logs.
	Name string
	// URL has the scheme http or https, the host with its port if it has one, and the path in front
	// of those of requests, without a slash at its end. The host of a Unix socket is a name that
	// leads nowhere.
	URL *url.URL
	// Weight is the share of requests that the backend gets, in relation to the others.
	Weight int

	socket string // path of a Unix socket; "": it is reached by TCP
	h2c    bool

	isFastCGI bool

	slots      chan struct{} // holds one for each request; nil: there is no limit
	sent       atomic.Int64
	failed     atomic.Int64
	running    atomic.Int64
	webSockets atomic.Int64

	// Guarded by the mutex of the Pool.
	current int // of the weighted round robin
	health  health
}

// Parse reads "http://host:port/prefix", "https://...", "h2c://..." (HTTP/2 without TLS),
// "unix:/path/of/the/socket:/prefix", "fastcgi://host:port" or "fastcgi+unix:/path/of/the/socket",
// each perhaps followed by " weight=N".
func Parse(text string) (*Backend, error) {
	address, words, _ := strings.Cut(strings.TrimSpace(text), " ")
	b := &Backend{Name: address, Weight: 1}
	for word := range strings.FieldsSeq(words) {
		number, is := strings.CutPrefix(word, "weight=")
		weight, err := strconv.Atoi(number)
		if !is || err != nil || weight < 1 || weight > 1000 {
			return nil, fmt.Errorf("%q: the address may be followed by weight=1 to weight=1000, not by %q", address, word)
		}
		b.Weight = weight
	}
	if socket, is := strings.CutPrefix(address, "unix:"); is {
		return b, b.parseSocket(socket)
	}
	if socket, is := strings.CutPrefix(address, "fastcgi+unix:"); is {
		b.isFastCGI = true
		if strings.Contains(socket, ":") {
			return nil, fmt.Errorf("%q: a path cannot follow the socket of a FastCGI backend", address)
		}
		return b, b.parseSocket(socket)
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", address, errors.Unwrap(err))
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "h2c" && u.Scheme != "fastcgi":
		return nil, fmt.Errorf("%q must begin with http://, https://, h2c://, fastcgi://, or with unix: or fastcgi+unix:, which a path follows", address)
	case u.Scheme == "fastcgi" && (u.Port() == "" || u.Path != "" && u.Path != "/"):
		return nil, fmt.Errorf("%q must have a port, and no path", address)
	case u.User != nil:
		return nil, errors.New("the address of a backend must not contain a password; set the header authorization by request_headers")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(address, "#"):
		return nil, fmt.Errorf("%q must not have a query or a fragment", address)
	case !hostname.Valid(u.Host):
		return nil, fmt.Errorf("%q does not name a host", address)
	}
	if u.Scheme == "h2c" {
		u.Scheme, b.h2c = "http", true
	}
	if u.Scheme == "fastcgi" {
		u.Scheme, b.isFastCGI = "http", true // of the links that lead to it
	}
	b.URL = u
	b.setPrefix(u.Path, u.EscapedPath())
	return b, nil
}

func (b *Backend) parseSocket(text string) error {
	socket, prefix, hasPrefix := strings.Cut(text, ":/")
	if !strings.HasPrefix(socket, "/") {
		return fmt.Errorf("%q: the path of the socket must begin with a slash", b.Name)
	}
	if hasPrefix {
		prefix = "/" + prefix
	}
	path, err := url.PathUnescape(prefix)
	if err != nil || strings.ContainsAny(prefix, "?#") {
		return fmt.Errorf("%q: %q cannot be the path of a URL", b.Name, prefix)
	}
	b.socket, b.URL = socket, &url.URL{Scheme: "http", Host: "localhost"}
	b.setPrefix(path, prefix)
	return nil
}

func (b *Backend) setPrefix(path, raw string) {
	b.URL.Path, b.URL.RawPath = strings.TrimRight(path, "/"), strings.TrimRight(raw, "/")
}

// IsLocal reports whether the backend is a Unix socket, which has no name to be called by.
func (b *Backend) IsLocal() bool { return b.socket != "" }

// IsFastCGI reports whether the backend speaks FastCGI.
func (b *Backend) IsFastCGI() bool { return b.isFastCGI }

// address is the host and port to connect to.
func (b *Backend) address() string {
	port := b.URL.Port()
	if port == "" {
		port = b.URL.Scheme // which names its port
	}
	return net.JoinHostPort(b.URL.Hostname(), port)
}

// Acquire waits at most limit until the backend may get another request, and counts it for the
// balance by connections. The caller calls Release when the request has ended. Acquire returns
// false if it took too long, or ctx has ended.
func (b *Backend) Acquire(ctx context.Context, limit time.Duration) bool {
	if !b.acquire(ctx, limit) {
		return false
	}
	b.begin()
	return true
}

func (b *Backend) acquire(ctx context.Context, limit time.Duration) bool {
	if b.slots == nil {
		return true
	}
	select {
	case b.slots <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case b.slots <- struct{}{}:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// Release ends a request.
func (b *Backend) Release() {
	b.running.Add(-1)
	if b.slots != nil {
		<-b.slots
	}
}

func (b *Backend) begin() {
	b.sent.Add(1)
	b.running.Add(1)
}

// Running returns how many requests the backend has.
func (b *Backend) Running() int { return int(b.running.Load()) }

// BeginWebSocket counts a WebSocket, of which the backend may have at most most, if that is more
// than 0. ok is false if it has that many.
func (b *Backend) BeginWebSocket(most int) (end func(), ok bool) {
	if n := b.webSockets.Add(1); most > 0 && n > int64(most) {
		b.webSockets.Add(-1)
		return nil, false
	}
	b.begin()
	return func() { b.webSockets.Add(-1); b.running.Add(-1) }, true
}
