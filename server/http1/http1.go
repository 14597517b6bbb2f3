// Package http1 serves HTTP/1.0 and HTTP/1.1 connections (RFC 9112) for an engine.Handler. It does
// the same as net/http's server, with less work for a small request. It is stricter where two
// readers could understand one request differently. It keeps the order of the headers.
//
// It knows connections and bytes. The handler knows the meaning of a request, the limits on bodies,
// the gateway's own answers and the rules of the specification.
//
// Files: http1.go the server and its set of connections, conn.go one connection from request to
// request, deadline.go its time limits, head.go and target.go the parsing of a request's head,
// beginning.go other protocols, refuse.go the answer to a request that is refused, body.go the
// request's body, response.go the response, watch.go how a client that leaves is noticed.
package http1

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/sysio"
)

// Server serves connections. Handler must be set. The exported fields must not change once the
// server serves connections.
type Server struct {
	// Handler is called for every request with a ResponseWriter that is also an engine.Stream. The
	// request's Header is nil: the stream has the headers.
	Handler http.Handler
	// Context is the parent of the contexts of all requests.
	Context context.Context
	// Limits apply to every connection. SetLimits replaces them for later connections.
	Limits Limits
	// HTTP2 takes over a connection without TLS whose client begins with the preface of HTTP/2 (RFC
	// 9113 section 3.4), ahead holds the bytes read so far, the preface among them. Nil: such a
	// client is refused.
	HTTP2 func(c net.Conn, ahead []byte)
	// Secured reports whether a connection without TLS comes from a trusted gateway, whose clients
	// may have spoken TLS. On other connections a target of https is refused with 421 (RFC 9110
	// section 7.4). Nil: no gateway is trusted.
	Secured func(net.Conn) bool
	// Refused is called when the server has refused a request for its syntax, its size or its
	// slowness. The handler does not see that request. Nil: not called.
	Refused func(*Refusal)
	// Log receives panics of the handler. Nil: slog.Default().
	Log *slog.Logger

	replaced atomic.Pointer[Limits] // by SetLimits; nil: Limits count
	rest     time.Duration          // restAfter, except in tests
	lot      sysio.Lot              // of connections that rest

	ending   atomic.Bool // every response announces the end of its connection
	draining atomic.Bool // no connection handles another request, whether or not its client was told
	mu       sync.Mutex
	closed   bool // the server takes no further connections
	conns    map[*conn]struct{}
	gone     chan struct{} // made by WaitGone: closed when no connection is left
}

// Limits bound what a connection may cost.
type Limits struct {
	// MaxHead is the largest head of a request in bytes, from the request line to the empty line;
	// more gets 431, or 414 where the request line alone is more. A trailer section may use the
	// part that the head has left; a longer one makes reading the body fail. 0: no limit.
	MaxHead int
	// HeadTimeout is how long a head may take from its first byte on, and how long the first byte
	// of a connection may take. A slower client gets 408, or is cut off where it has sent nothing.
	// 0 or less: no limit.
	HeadTimeout time.Duration
	// IdleTimeout is how long a connection may stay idle between requests. 0 or
	// less: no limit.
	IdleTimeout time.Duration
	// MaxRequests is how many requests a connection may carry. It ends with the answer to the last
	// one. 0 or less: no limit.
	MaxRequests int
}

// SetLimits replaces the limits for connections that the server takes from now on.
func (s *Server) SetLimits(l Limits) { s.replaced.Store(&l) }

// restsAfter is how long a connection waits before it rests.
func (s *Server) restsAfter() time.Duration { return cmp.Or(s.rest, restAfter) }

func (s *Server) limits() *Limits {
	if l := s.replaced.Load(); l != nil {
		return l
	}
	return &s.Limits
}

// Serve accepts connections until l fails or is closed. The error is
// http.ErrServerClosed after Shutdown or Close.
func (s *Server) Serve(l net.Listener) error {
	const most = time.Second
	delay := 5 * time.Millisecond
	for {
		c, err := l.Accept()
		if err == nil {
			delay = 5 * time.Millisecond
			s.Take(c, nil)
			continue
		}
		var temporary interface{ Temporary() bool }
		switch {
		case s.draining.Load():
			return http.ErrServerClosed
		case errors.As(err, &temporary) && temporary.Temporary(): // out of descriptors, most likely
			s.log().Warn("cannot accept a connection, trying again", "error", err, "in", delay.String())
			select {
			case <-time.After(delay):
			case <-s.Context.Done():
			}
			delay = min(2*delay, most)
		case s.ending.Load():
			return http.ErrServerClosed
		default:
			return err
		}
	}
}

// Take begins to serve a connection, and closes it at the end. state belongs to a TLS connection
// whose handshake is done; nil is for one without TLS.
func (s *Server) Take(c net.Conn, state *tls.ConnectionState) {
	conn := newConn(s, c, state)
	if !s.add(conn) {
		_ = c.Close() // it has not been used
		return
	}
	go s.serve(conn)
}

// serve serves a connection until it ends, or is parked. Then its next request has another goroutine.
func (s *Server) serve(c *conn) {
	parked := false
	defer func() {
		if !parked {
			s.remove(c)
		}
	}()
	for !parked && c.serve() {
		parked = c.park()
	}
}

func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.conns == nil {
		s.conns = map[*conn]struct{}{}
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if len(s.conns) == 0 && s.gone != nil {
		close(s.gone)
		s.gone = nil
	}
}

// End makes every connection end with the answer to its current or next request, the first one that
// can still announce the end. The server goes on taking connections, for clients that do not know
// yet that it stops.
func (s *Server) End() { s.ending.Store(true) }

// WaitGone waits until no connection is left. It returns the error of ctx when that ends first.
func (s *Server) WaitGone(ctx context.Context) error {
	s.mu.Lock()
	gone := s.goneLocked()
	s.mu.Unlock()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Drain makes the server take no new connections, closes idle ones and ends the
// others after their current request.
func (s *Server) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.ending.Store(true)
	s.draining.Store(true)
	for c := range s.conns {
		c.closeIdle()
	}
	s.lot.WakeAll()
}

// Shutdown drains and waits until no connection is left. It returns the error of ctx when that ends
// first. It does not close the listeners.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	return s.WaitGone(ctx)
}

// goneLocked returns a channel that is closed when no connection is left. mu is held.
func (s *Server) goneLocked() <-chan struct{} {
	if s.gone == nil {
		s.gone = make(chan struct{})
	}
	gone := s.gone
	if len(s.conns) == 0 {
		close(s.gone)
		s.gone = nil
	}
	return gone
}

// Close closes all connections.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.ending.Store(true)
	s.draining.Store(true)
	for c := range s.conns {
		_ = c.net.Close() // its goroutine notices when it reads or writes
	}
	s.mu.Unlock()
	s.lot.WakeAll()
}

func (s *Server) log() *slog.Logger {
	if s.Log != nil {
		return s.Log
	}
	return slog.Default()
}
