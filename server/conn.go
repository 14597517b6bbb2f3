package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// connSet knows the open connections.
type connSet struct {
	mu    sync.Mutex
	conns map[*tracked]struct{}
}

// add counts a connection in, unless limit (0: none) is reached.
func (s *connSet) add(c net.Conn, limit int) *tracked {
	s.mu.Lock()
	defer s.mu.Unlock()
	if limit > 0 && len(s.conns) >= limit {
		return nil
	}
	if s.conns == nil {
		s.conns = map[*tracked]struct{}{}
	}
	t := &tracked{Conn: c, set: s}
	s.conns[t] = struct{}{}
	return t
}

// closeUnused closes the connections on which no request has begun, which a
// graceful stop of net/http would wait for.
func (s *connSet) closeUnused() {
	s.mu.Lock()
	var unused []*tracked
	for c := range s.conns {
		if !c.used.Load() {
			unused = append(unused, c)
		}
	}
	s.mu.Unlock()
	for _, c := range unused {
		_ = c.Close() // nothing was said on it that could be lost
	}
}

// tracked is a connection that is in a connSet until it is closed.
type tracked struct {
	net.Conn
	set  *connSet
	used atomic.Bool // a request has begun
}

func (c *tracked) Close() error {
	c.set.mu.Lock()
	delete(c.set.conns, c)
	c.set.mu.Unlock()
	return c.Conn.Close()
}

// httpConn is an HTTP/1 connection whose request heads are inspected on their way
// to net/http.
type httpConn struct {
	net.Conn
	tracked *tracked
	framing framing
}

func (c *httpConn) init(r *running, conn net.Conn, t *tracked) {
	c.Conn, c.tracked = conn, t
	c.framing.r, c.framing.conn = r, t
}

func (c *httpConn) Read(p []byte) (int, error) {
	// One byte is what net/http reads ahead, to notice a client that leaves, and
	// breaks off when the response is done. With more room it reads a head, or a
	// body, because it has used up everything before.
	ahead := len(p) == 1
	if c.framing.state == tooLarge && !ahead {
		return 0, c.largeHead()
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		if !c.tracked.used.Load() {
			c.tracked.used.Store(true)
		}
		n = c.framing.inspect(p[:n])
		switch {
		case n > 0:
		case ahead:
			p[0], n = 0, 1 // anything that does not end the head
		default:
			return 0, c.largeHead()
		}
	}
	if !ahead && c.framing.inHead() && errors.Is(err, os.ErrDeadlineExceeded) {
		c.slowHead()
	}
	return n, err
}

const (
	// refusalWrite is how long a client that is turned down may take for the answer.
	refusalWrite = time.Second
	// refusalLinger is how long it may then go on sending: closing a connection with
	// something unread on it could cost it the answer.
	refusalLinger = 500 * time.Millisecond
)

// slowHead answers a client that takes too long for its request's head; net/http
// would say 400, or nothing.
func (c *httpConn) slowHead() {
	c.framing.r.log.Warn("request head is too slow", "option", "--header-timeout",
		"limit", orDefault(c.framing.r.HeaderTimeout, DefaultHeaderTimeout).String(), "client", c.RemoteAddr().String())
	c.answer(http.StatusRequestTimeout)
	_ = c.Conn.Close() // everything the client sent was read
}

// largeHead answers a client whose request's head is too large, and returns what
// Read is to return then.
func (c *httpConn) largeHead() error {
	c.answer(http.StatusRequestHeaderFieldsTooLarge)
	// The connection is done with, whether the client hears about it or not.
	_ = c.CloseWrite()
	_ = c.Conn.SetReadDeadline(time.Now().Add(refusalLinger))
	_, _ = io.Copy(io.Discard, c.Conn)
	_ = c.Conn.Close()
	return io.EOF
}

// answer writes a response that is the connection's last.
func (c *httpConn) answer(status int) {
	text := http.StatusText(status)
	_ = c.Conn.SetWriteDeadline(time.Now().Add(refusalWrite))
	// Whether the client hears it or not, it is done with.
	_, _ = fmt.Fprintf(c.Conn, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\n"+
		"Connection: close\r\nContent-Length: %d\r\n\r\n%s\n", status, text, len(text)+1, text)
}

// CloseWrite lets net/http end a connection without losing its last response.
func (c *httpConn) CloseWrite() error {
	inner := c.Conn
	if t, ok := inner.(*tracked); ok {
		inner = t.Conn
	}
	if cw, ok := inner.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

func (c *httpConn) stopInspecting() { c.framing.off.Store(true) }

// tcpConn is a plain TCP connection; its ReadFrom is what sendfile needs.
type tcpConn struct {
	httpConn
	tcp *net.TCPConn
}

func (c *tcpConn) ReadFrom(r io.Reader) (int64, error) { return c.tcp.ReadFrom(r) }
func (c *tcpConn) SetLinger(sec int) error             { return c.tcp.SetLinger(sec) }

// tlsConn is an HTTP/1 connection over TLS.
type tlsConn struct {
	httpConn
	tls *tls.Conn
}

// ConnectionState is where net/http finds a request's TLS state.
func (c *tlsConn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// connState is the http.Server's hook: what follows a hijacked connection's last
// request is not HTTP.
func connState(c net.Conn, state http.ConnState) {
	if state != http.StateHijacked {
		return
	}
	if c, ok := c.(interface{ stopInspecting() }); ok {
		c.stopInspecting()
	}
}

// plainListener accepts connections without TLS.
type plainListener struct {
	net.Listener
	r *running
}

func (l plainListener) Accept() (net.Conn, error) {
	t, err := l.r.accept(l.Listener)
	if err != nil {
		return nil, err
	}
	if tcp, ok := t.Conn.(*net.TCPConn); ok {
		c := &tcpConn{tcp: tcp}
		c.init(l.r, t, t)
		return c, nil
	}
	c := &httpConn{}
	c.init(l.r, t, t)
	return c, nil
}

// accept returns the next connection within the limit on their number.
func (r *running) accept(l net.Listener) (*tracked, error) {
	for {
		c, err := l.Accept()
		if err != nil {
			return nil, err
		}
		if t := r.conns.add(c, r.MaxConnections); t != nil {
			return t, nil
		}
		r.refuse(c)
	}
}

// refuse turns a connection away that is one too many.
func (r *running) refuse(c net.Conn) {
	r.log.Warn("too many connections", "option", "--max-connections", "limit", r.MaxConnections, "client", c.RemoteAddr().String())
	if r.tls == nil {
		// An empty send buffer takes this at once; the deadline is for the rest.
		_ = c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = io.WriteString(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"+
			"Retry-After: 1\r\nConnection: close\r\nContent-Length: 20\r\n\r\nService Unavailable\n")
	}
	_ = c.Close() // it got an answer or it did not
}

// front puts what belongs before net/http in front of a listener.
func (r *running) front(l net.Listener) net.Listener {
	if r.tls == nil || l.Addr().Network() == "unix" {
		return plainListener{l, r}
	}
	return newTLSListener(l, r)
}
