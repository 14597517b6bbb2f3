package server

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/sysio"
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
	t := &tracked{Conn: sysio.New(c), inner: c, set: s}
	s.conns[t] = struct{}{}
	return t
}

// closeUnserved closes the connections that are still in their TLS handshake.
func (s *connSet) closeUnserved() {
	s.mu.Lock()
	var unserved []*tracked
	for c := range s.conns {
		if !c.served.Load() {
			unserved = append(unserved, c)
		}
	}
	s.mu.Unlock()
	for _, c := range unserved {
		_ = c.Close() // nothing was said on it that could be lost
	}
}

// tracked is a connection that is in a connSet until it is closed.
type tracked struct {
	net.Conn
	inner  net.Conn // the one it was accepted as
	set    *connSet
	served atomic.Bool // handed to what closes it when the server stops
}

func (c *tracked) Close() error {
	c.set.mu.Lock()
	delete(c.set.conns, c)
	c.set.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite tells the client that nothing more will come.
func (c *tracked) CloseWrite() error {
	if half, ok := c.inner.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// ReadFrom is what sendfile needs.
func (c *tracked) ReadFrom(r io.Reader) (int64, error) {
	if to, ok := c.inner.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

// WriteBuffers writes several pieces with one system call.
func (c *tracked) WriteBuffers(pieces *net.Buffers) error {
	_, err := pieces.WriteTo(c.inner)
	return err
}

// TryWrite writes what can be written without waiting.
func (c *tracked) TryWrite(p []byte) (int, error) {
	if conn, ok := c.Conn.(interface{ TryWrite([]byte) (int, error) }); ok {
		return conn.TryWrite(p)
	}
	return 0, nil
}

// SetLinger is net.TCPConn's.
func (c *tracked) SetLinger(seconds int) error {
	if tcp, ok := c.inner.(*net.TCPConn); ok {
		return tcp.SetLinger(seconds)
	}
	return errors.ErrUnsupported
}

// plainListener accepts connections without TLS.
type plainListener struct {
	net.Listener
	r *running
}

func (l plainListener) Accept() (net.Conn, error) {
	c, err := l.r.accept(l.Listener)
	if err != nil {
		return nil, err
	}
	c.served.Store(true)
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
