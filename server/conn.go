package server

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/sysio"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// tracked is a connection that is in a connSet until it is closed.
type tracked struct {
	net.Conn
	inner  net.Conn // the connection as it was accepted
	set    *connSet
	on     *listener
	served atomic.Bool // handed to the server that closes it at a stop

	http2   bool         // it speaks HTTP/2; guarded by set.mu
	counted string       // the address under which it is counted; "": it is not
	remote  net.Addr     // the client's address by a PROXY header; nil: that of inner
	local   net.Addr     // the address the client has connected to by that header
	cert    *certificate // the one the TLS handshake has sent; nil: not known
	info    *pagi.TLS    // nil: no TLS
}

func (c *tracked) Close() error {
	c.set.remove(c)
	return c.Conn.Close()
}

// limit sets the deadline of reads and writes to d from now; 0 or less: no limit.
func (c *tracked) limit(d time.Duration) error {
	if d <= 0 {
		return c.SetDeadline(time.Time{})
	}
	return c.SetDeadline(time.Now().Add(d))
}

// RemoteAddr implements net.Conn.
func (c *tracked) RemoteAddr() net.Addr {
	if c.remote != nil {
		return c.remote
	}
	return c.inner.RemoteAddr()
}

// LocalAddr implements net.Conn.
func (c *tracked) LocalAddr() net.Addr {
	if c.local != nil {
		return c.local
	}
	return c.inner.LocalAddr()
}

// CloseWrite tells the client that nothing more will come.
func (c *tracked) CloseWrite() error {
	if half, ok := c.inner.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// ReadFrom lets io.Copy use sendfile.
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

// ReadInto reads into a room that is only taken when something may have come.
func (c *tracked) ReadInto(room sysio.Room) (int, error) {
	if conn, ok := c.Conn.(interface{ ReadInto(sysio.Room) (int, error) }); ok {
		return conn.ReadInto(room)
	}
	return c.Conn.Read(room.Take())
}

// ParkIn parks the connection in a lot, under the conditions of sysio.Lot.Park.
func (c *tracked) ParkIn(lot *sysio.Lot, until time.Time, who sysio.Parked) bool {
	return lot.Park(c.inner, until, who)
}

// WriteAhead writes p, which more data will follow at once.
func (c *tracked) WriteAhead(p []byte) (int, error) {
	if conn, ok := c.Conn.(interface{ WriteAhead([]byte) (int, error) }); ok {
		return conn.WriteAhead(p)
	}
	return c.Conn.Write(p)
}

// TryWrite writes as much as the kernel takes without waiting.
func (c *tracked) TryWrite(p []byte) (int, error) {
	if conn, ok := c.Conn.(interface{ TryWrite([]byte) (int, error) }); ok {
		return conn.TryWrite(p)
	}
	return 0, nil
}

// SetLinger is the method of net.TCPConn.
func (c *tracked) SetLinger(seconds int) error {
	if tcp, ok := c.inner.(*net.TCPConn); ok {
		return tcp.SetLinger(seconds)
	}
	return errors.ErrUnsupported
}
