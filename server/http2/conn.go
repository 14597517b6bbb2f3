// Package http2 stands between a connection and net/http's HTTP/2 server. It looks at
// the frames that pass (RFC 9113) and does two things: it mends what that server gets
// wrong, and it ends connections that waste its time.
//
// It knows frames and no requests. The server behind it decodes, schedules and
// answers; what it refuses by itself is left to it.
//
// Files: conn.go the connection both ways, frame.go what a frame's head says,
// settings.go, fields.go and message.go what is mended, flood.go the limits, upgrade.go the start of
// HTTP/2 by an HTTP/1.1 request.
package http2

import (
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"
)

// Preface is what a client begins with (RFC 9113 section 3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

const (
	// MaxFrame is the largest payload a frame from the client may have: the least
	// that must be allowed, and what the server behind must be told.
	MaxFrame = 16 << 10
	// readBuffer is how much is read from the network at once.
	readBuffer = 4 << 10
	// tableSize is the size of either side's header compression table (RFC 7541), where
	// the client does not ask for a smaller one.
	tableSize = 4096
)

// Conn is a connection on which HTTP/2 is spoken. Reads belong to one goroutine.
type Conn struct {
	net.Conn
	// TLS is the state of a connection under TLS, else nil. net/http takes Conn for one
	// without.
	TLS *tls.ConnectionState

	limits Limits

	store   []byte  // where is read to
	buf     []byte  // the part of it that was not looked at
	ready   []byte  // looked at, to be given to the server
	pass    int     // so much of the current frame is given without a look
	began   bool    // the preface has passed
	settled bool    // the server has been given settings
	table   uint32  // the largest header table it may use
	first   []byte  // settings to be given to the server before the client's first ones
	inject  []byte  // frames to be given to it after those
	block   bool    // a header block goes on in CONTINUATION frames
	hurried bool    // what has begun has a time limit
	blocks  int     // how many it has so far
	message message // what it says
	decoder *hpack.Decoder
	flood   flood

	last  atomic.Uint32 // the highest stream the client has begun
	wmu   sync.Mutex
	sent  frameReader // where in a frame the server's writing is
	ended bool        // by end: the server writes nothing more
}

// New returns a connection that keeps limits. state is that of its TLS, nil for none;
// ahead is what was read from it already.
func New(c net.Conn, state *tls.ConnectionState, limits Limits, ahead []byte) *Conn {
	x := &Conn{Conn: c, TLS: state, limits: limits, buf: ahead}
	x.table = tableSize
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

// readOn gives what needs no look.
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

// fill reads until n bytes are there to be looked at.
func (c *Conn) fill(n int) error {
	if len(c.buf) >= n {
		return nil
	}
	if len(c.store) < n {
		c.store = make([]byte, max(n, readBuffer))
	}
	// What was taken has been given to the server: it asks for no more before.
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

// take removes n bytes, which are there, from what is to be looked at.
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
		c.ready = c.take(len(Preface)) // the server knows whether it is right
		return nil
	}
	if err := c.fill(headLength); err != nil {
		return err
	}
	head := parseHead(c.buf)
	if err := c.count(head); err != nil {
		return err
	}
	if head.length > MaxFrame { // the server refuses it
		c.ready, c.pass = c.take(headLength), head.length
		return nil
	}
	switch head.kind {
	case frameHeaders, frameContinuation:
		return c.headers(head)
	case frameSettings:
		return c.settings(head)
	}
	c.ready, c.pass = c.take(headLength), head.length
	return nil
}

// whole reads a frame to its end, which must come in time, and takes it.
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

// hurry sets a time limit for what has begun, unless there is one, or takes it back.
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
