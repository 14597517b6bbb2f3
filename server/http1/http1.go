// Package http1 serves HTTP/1.0 and HTTP/1.1 connections (RFC 9112) for a
// pagi.HTTPHandler. It does what net/http's server does, with less work for a small
// request, more strictly where two readers of one request could come to different
// conclusions, and it keeps the order in which headers stand.
//
// It knows connections and bytes. What a request means, limits on bodies, answers of
// the gateway's own and the rules of the specification are the handler's.
//
// Files: http1.go the server and its set of connections, conn.go one connection from
// request to request, deadline.go its time limits, head.go and target.go what a
// request's head says, refuse.go what becomes of one that is turned down, body.go the
// request's body, response.go the response, watch.go how a client that leaves is
// noticed.
package http1

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Server serves connections. Handler must be set; the fields must not change once
// connections are served.
type Server struct {
	// Handler is called for every request with a ResponseWriter that is also a
	// pagi.ResponseStream. The request's Header is nil: that stream has its headers.
	Handler http.Handler
	// Context is what the contexts of all requests are made from.
	Context context.Context
	// Limits are those of every connection; SetLimits replaces them for later ones.
	Limits Limits
	// HTTP2 takes over a connection without TLS whose client begins with the preface of
	// HTTP/2 (RFC 9113 section 3.4), which is part of ahead: what was read so far. Nil:
	// such a client is refused.
	HTTP2 func(c net.Conn, ahead []byte)
	// Refused is called when a request was turned down for its syntax, its size or
	// its slowness; no handler sees it. Nil: not called.
	Refused func(*Refusal)
	// Log receives panics of the handler. Nil: slog.Default().
	Log *slog.Logger

	replaced atomic.Pointer[Limits] // by SetLimits; nil: Limits count

	ending   atomic.Bool // every response says that it is the connection's last
	draining atomic.Bool // no connection gets another request, whatever its client was told
	mu       sync.Mutex
	closed   bool // no connection is taken any more
	conns    map[*conn]struct{}
	gone     chan struct{} // made by WaitGone: closed when no connection is left
}

// Limits are what a connection may cost.
type Limits struct {
	// MaxHead is the largest head of a request in bytes, from the request line to
	// the empty line; more gets 431, or 414 where the request line alone is more. A
	// trailer section has what the head leaves of it; with more the body cannot be read to
	// its end. 0: no limit.
	MaxHead int
	// HeadTimeout is how long a head may take from its first byte on, and the first
	// byte of a connection; a slower client gets 408, or is cut off where it sent
	// nothing. 0 or less: no limit.
	HeadTimeout time.Duration
	// IdleTimeout is how long a connection may stay idle between requests. 0 or
	// less: no limit.
	IdleTimeout time.Duration
	// MaxRequests is how many requests a connection may carry; with the answer to the
	// last one it ends. 0 or less: no limit.
	MaxRequests int
}

// SetLimits replaces the limits of connections that are taken from now on.
func (s *Server) SetLimits(l Limits) { s.replaced.Store(&l) }

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

// Take begins to serve a connection, which it will close. state is that of a TLS
// connection whose handshake is done.
func (s *Server) Take(c net.Conn, state *tls.ConnectionState) {
	conn := newConn(s, c, state)
	if !s.add(conn) {
		_ = c.Close() // it never was of use
		return
	}
	go func() {
		defer s.remove(conn)
		conn.serve()
	}()
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

// End makes every connection end with the answer to its current or next request: the
// first one that can say so.
// Connections are still taken: it is for clients that do not know yet that the server
// goes.
func (s *Server) End() { s.ending.Store(true) }

// WaitGone waits until no connection is left, or for ctx, whose error it then returns.
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
}

// Shutdown drains and waits until no connection is left, or for ctx, whose error it
// then returns. The listeners are their owners' to close.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	return s.WaitGone(ctx)
}

// goneLocked returns what is closed when no connection is left.
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
		_ = c.net.Close() // whoever reads or writes on it notices
	}
	s.mu.Unlock()
}

func (s *Server) log() *slog.Logger {
	if s.Log != nil {
		return s.Log
	}
	return slog.Default()
}
