// Package http2 stands between a connection and net/http's HTTP/2 server. It looks at the frames
// that pass (RFC 9113) and does two things. It mends the mistakes of that server, and it ends
// connections that waste the server's time.
//
// It knows frames, not requests. The server behind it decodes, schedules and answers. This package
// leaves alone the frames that the server refuses by itself.
//
// Files: conn.go the connection both ways, frame.go the heads of frames, settings.go, fields.go,
// message.go and data.go the mends, flood.go the limits, upgrade.go the start of HTTP/2 by an
// HTTP/1.1 request.
package http2

import (
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"
)

// Preface is the text with which a client begins (RFC 9113 section 3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

const (
	// MaxFrame is the largest payload that a frame from the client may have. It is the smallest
	// limit that the specification allows. The server behind must be given the same limit.
	MaxFrame = 16 << 10
	// readBuffer is how many bytes are read from the network at once.
	readBuffer = 4 << 10
	// tableSize is the size of either side's header compression table (RFC 7541), where
	// the client does not ask for a smaller one.
	tableSize = 4096
)

// Conn is a connection on which HTTP/2 is spoken. Reads belong to one goroutine.
type Conn struct {
	net.Conn
	// TLS is the state of a connection under TLS, else nil. net/http takes a Conn for a connection
	// without TLS.
	TLS *tls.ConnectionState

	limits Limits

	store   []byte  // the buffer for reading
	buf     []byte  // the part of it that is still to be looked at
	ready   []byte  // bytes that were looked at, for the server to read
	pass    int     // how many bytes of the current frame are passed on without a look
	began   bool    // the preface has passed
	settled bool    // the server has been given settings
	table   uint32  // the largest header table it may use
	first   []byte  // settings for the server to read before the client's first ones
	inject  []byte  // frames for the server to read after those
	block   bool    // a header block goes on in CONTINUATION frames
	hurried bool    // a time limit is set for the frame or block that has begun
	blocks  int     // how many CONTINUATION frames the block has so far
	message message // the content of the block
	lengths bodyLengths
	decoder *hpack.Decoder
	flood   flood

	last  atomic.Uint32 // the highest stream the client has begun
	wmu   sync.Mutex
	sent  frameReader // follows the frames that the server writes
	ended bool        // set by end: the server writes nothing more
}

// New returns a connection that keeps limits. state is the state of its TLS, or nil without TLS.
// ahead holds the bytes that were read from it already.
func New(c net.Conn, state *tls.ConnectionState, limits Limits, ahead []byte) *Conn {
	x := &Conn{Conn: c, TLS: state, limits: limits, buf: ahead}
	x.table = tableSize
	x.lengths = bodyLengths{}
	x.decoder = hpack.NewDecoder(tableSize, func(f hpack.HeaderField) { x.message.add(f) })
	x.flood.start(limits)
	x.sent.seen = x.flood.answered
	return x
}

// NetConn returns the connection below.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Requests returns how many requests the client has begun.
func (c *Conn) Requests() int { return int(c.last.Load()+1) / 2 } // its streams have odd numbers

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	for len(c.ready) == 0 {
		if c.pass > 0 {
			return c.readOn(p)
		}
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.ready)
	c.ready = c.ready[n:]
	return n, nil
}

// readOn reads bytes that need no look directly into p.
func (c *Conn) readOn(p []byte) (n int, err error) {
	p = p[:min(len(p), c.pass)]
	if len(c.buf) > 0 {
		n = copy(p, c.buf)
		c.buf = c.buf[n:]
	} else {
		n, err = c.Conn.Read(p)
	}
	c.pass -= n
	return n, err
}

// fill reads until buf has n bytes.
func (c *Conn) fill(n int) error {
	if len(c.buf) >= n {
		return nil
	}
	if len(c.store) < n {
		c.store = make([]byte, max(n, readBuffer))
	}
	// The server has read all bytes that were taken, because it asks for more only then. So they
	// may be overwritten.
	c.buf = c.store[:copy(c.store, c.buf)]
	for len(c.buf) < n {
		m, err := c.Conn.Read(c.buf[len(c.buf):cap(c.buf)])
		c.buf = c.buf[:len(c.buf)+m]
		if err != nil && len(c.buf) < n {
			return err
		}
	}
	return nil
}

// take removes the first n bytes from buf, which must have them, and returns them.
func (c *Conn) take(n int) []byte {
	p := c.buf[:n:n]
	c.buf = c.buf[n:]
	return p
}

// next looks at the next frame.
func (c *Conn) next() error {
	if !c.began {
		if err := c.fill(len(Preface)); err != nil {
			return err
		}
		c.began = true
		c.ready = c.take(len(Preface)) // the server checks it
		return nil
	}
	if err := c.fill(headLength); err != nil {
		return err
	}
	head := parseHead(c.buf)
	if err := c.count(head); err != nil {
		return err
	}
	if head.length > MaxFrame { // the server refuses such a frame
		c.ready, c.pass = c.take(headLength), head.length
		return nil
	}
	switch head.kind {
	case frameHeaders, frameContinuation:
		return c.headers(head)
	case frameSettings:
		return c.settings(head)
	case frameData:
		return c.data(head)
	case frameReset:
		delete(c.lengths, head.stream)
	}
	c.ready, c.pass = c.take(headLength), head.length
	return nil
}

// whole reads a frame to its end and takes it. The end must come within the time limit.
func (c *Conn) whole(head frameHead) ([]byte, error) {
	n := headLength + head.length
	if len(c.buf) < n {
		if err := c.hurry(true); err != nil {
			return nil, err
		}
	}
	if err := c.fill(n); err != nil {
		return nil, err
	}
	return c.take(n), nil
}

// hurry sets the time limit for a frame or block that has begun, unless it is set already. Without
// begun it removes the limit.
func (c *Conn) hurry(begun bool) error {
	if c.limits.HeadTimeout <= 0 || begun == c.hurried {
		return nil
	}
	c.hurried = begun
	if begun {
		return c.Conn.SetReadDeadline(time.Now().Add(c.limits.HeadTimeout))
	}
	return c.Conn.SetReadDeadline(time.Time{})
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.ended {
		return 0, errFlood
	}
	n, err := c.Conn.Write(p)
	c.sent.advance(p[:n])
	if c.flood.provoked && err == nil {
		err = c.endLocked("too many streams that had to be reset")
	}
	return n, err
}
