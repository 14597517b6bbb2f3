package http1

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

const (
	// readBuffer and writeBuffer are the sizes buffers begin with; only a larger
	// head makes one grow.
	readBuffer  = 4 << 10
	writeBuffer = 4 << 10
	// lingerTime is how long a client whose request was not read to its end may go
	// on sending: closing with something unread could cost it the answer.
	lingerTime = 500 * time.Millisecond
	// drainLimit is how much of a request body that nobody wanted is read to keep
	// the connection.
	drainLimit = 256 << 10
	// refusalTime is how long a client that is turned down may take for the answer.
	refusalTime = time.Second
)

// States of a connection, for Shutdown.
const (
	stateIdle   int32 = iota // between requests, or before the first one
	stateActive              // a request has begun
	stateClosed              // closed while idle
)

// conn is one connection. Its fields belong to the goroutine that serves it, and to
// the handler it calls, except where it says otherwise.
type conn struct {
	server *Server
	net    net.Conn
	tls    *tls.ConnectionState
	client string // address
	from   pagi.Addr
	local  net.Addr
	to     pagi.Addr

	state  atomic.Int32
	ctx    connContext
	cancel context.CancelCauseFunc
	blank  *http.Request // has the context

	in       []byte // read buffer
	r, w     int    // what is unread of it
	out      []byte // write buffer
	deadline struct{ read, write deadline }

	headOut   sync.Mutex // held while it is decided whether 100 Continue may be sent
	headBegun bool       // guarded by headOut: not any more
	hijacked  bool
	watch     watch
}

// deadline remembers what was set, so that setting about the same again can be
// spared: it may be early by a sixty-fourth of the time it was set for.
type deadline struct {
	at    time.Time
	slack time.Duration
}

// isNear reports whether the deadline in force will do for t.
func (d *deadline) isNear(t time.Time) bool {
	if d.at.IsZero() || t.IsZero() {
		return d.at.IsZero() && t.IsZero()
	}
	ahead := t.Sub(d.at)
	return ahead >= 0 && ahead <= d.slack
}

func (d *deadline) set(t time.Time) {
	d.at, d.slack = t, 0
	if !t.IsZero() {
		d.slack = time.Until(t) / 64
	}
}

func newConn(s *Server, c net.Conn, state *tls.ConnectionState) *conn {
	x := &conn{server: s, net: c, tls: state, client: c.RemoteAddr().String(), local: c.LocalAddr()}
	x.to = pagi.AddrOf(c.LocalAddr())
	if _, unix := c.RemoteAddr().(*net.UnixAddr); !unix { // a Unix socket's client has none
		x.from = pagi.AddrOf(c.RemoteAddr())
	}
	ctx, cancel := context.WithCancelCause(s.Context)
	x.ctx, x.cancel = connContext{ctx, x}, cancel
	x.blank = (&http.Request{}).WithContext(&x.ctx)
	return x
}

// serve handles one request after the other.
func (c *conn) serve() {
	defer func() {
		c.cancel(context.Canceled)
		if !c.hijacked {
			_ = c.net.Close() // what was to be said has been said
		}
	}()
	for first := true; ; first = false {
		head := c.awaitHead(first)
		if head == nil {
			return
		}
		x, refusal := c.parse(head)
		c.advance(len(head))
		if refusal != nil {
			c.refuse(refusal)
			return
		}
		if !c.handle(x) || c.hijacked {
			return
		}
		if !x.finish() {
			c.linger(x)
			return
		}
		c.state.Store(stateIdle)
		if c.server.closing.Load() || c.ctx.Context.Err() != nil {
			return
		}
	}
}

// handle calls the handler and reports whether the connection can be used further.
func (c *conn) handle(x *stream) (ok bool) {
	defer func() {
		c.watch.end(c)
		if v := recover(); v != nil {
			ok = false
			if err, is := v.(error); !is || !errors.Is(err, http.ErrAbortHandler) {
				c.server.log().Error("panic while serving", "client", c.client, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			}
		}
	}()
	c.headBegun = false
	if !x.body.isDone() {
		_ = c.setReadDeadline(time.Time{}) // the limits on a body are the handler's
	}
	c.watch.begin(x.body.isDone())
	c.server.Handler.ServeHTTP(x, &x.req)
	return true
}

// awaitHead returns a whole request head, which stays in the buffer; nil when there
// is none any more.
func (c *conn) awaitHead(first bool) []byte {
	if c.r == c.w {
		c.r, c.w = 0, 0
		wait := c.server.IdleTimeout
		if first {
			wait = c.server.HeadTimeout
		}
		c.limitRead(wait)
		if c.in == nil {
			c.in = make([]byte, readBuffer)
		}
		if _, err := c.fill(); err != nil {
			return nil
		}
	}
	if !c.state.CompareAndSwap(stateIdle, stateActive) {
		return nil // closed meanwhile
	}
	for searched, slow := 0, false; ; {
		for c.r < c.w && searched == 0 && (c.in[c.r] == '\r' || c.in[c.r] == '\n') {
			c.r++ // RFC 9112 section 2.2: empty lines before a request
		}
		pending := c.in[c.r:c.w]
		if limit := c.server.MaxHead; limit > 0 && len(pending) > limit {
			pending = pending[:limit]
		}
		if n := endOfHead(pending, searched); n > 0 {
			return pending[:n]
		}
		if len(pending) < c.w-c.r || c.server.MaxHead > 0 && len(pending) == c.server.MaxHead {
			c.refuse(&Refusal{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "the request's head is too large"})
			return nil
		}
		searched = max(0, len(pending)-3)
		if !slow {
			slow = true
			c.limitRead(c.server.HeadTimeout)
		}
		switch _, err := c.fill(); {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			if c.r < c.w {
				c.refuse(&Refusal{Status: http.StatusRequestTimeout, Reason: "the request's head is too slow"})
			}
			return nil
		case errors.Is(err, io.EOF) && c.r < c.w:
			c.refuse(&Refusal{Status: http.StatusBadRequest, Reason: "the request's head is incomplete"})
			return nil
		default:
			return nil
		}
	}
}

// endOfHead returns the length of a head up to and with its empty line; 0 where it
// is not complete. What stands before searched has been looked at.
func endOfHead(p []byte, searched int) int {
	for at := searched; ; {
		i := bytes.IndexByte(p[at:], '\n')
		if i < 0 {
			return 0
		}
		at += i + 1
		switch rest := p[at:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return at + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return at + 2
		}
	}
}

// fill reads more into the buffer, which grows where it is full.
func (c *conn) fill() (int, error) {
	if c.r > 0 && c.w == len(c.in) {
		c.w = copy(c.in, c.in[c.r:c.w])
		c.r = 0
	}
	if c.w == len(c.in) {
		c.in = append(c.in, make([]byte, len(c.in))...)
	}
	n, err := c.net.Read(c.in[c.w:])
	c.w += n
	if n > 0 {
		err = nil // it comes again
	}
	return n, err
}

// advance marks n bytes as read.
func (c *conn) advance(n int) {
	c.r += n
	if c.r == c.w {
		c.r, c.w = 0, 0
		if len(c.in) > 4*readBuffer {
			c.in = make([]byte, readBuffer) // a large head is rare
		}
	}
}

// limitRead sets the read deadline d from now; 0 or less: none.
func (c *conn) limitRead(d time.Duration) {
	var t time.Time
	if d > 0 {
		t = time.Now().Add(d)
	}
	c.setReadDeadline(t)
}

func (c *conn) setReadDeadline(t time.Time) error {
	if c.deadline.read.isNear(t) {
		return nil
	}
	c.deadline.read.set(t)
	return c.net.SetReadDeadline(t)
}

func (c *conn) setWriteDeadline(t time.Time) error {
	if c.deadline.write.isNear(t) {
		return nil
	}
	c.deadline.write.set(t)
	return c.net.SetWriteDeadline(t)
}

// refuse answers a request that no handler sees, and ends the connection.
func (c *conn) refuse(r *Refusal) {
	r.Client = c.client
	if c.server.Refused != nil {
		c.server.Refused(r)
	}
	text := http.StatusText(r.Status)
	// Whether the client hears it or not, it is done with.
	_ = c.setWriteDeadline(time.Now().Add(refusalTime))
	_, _ = fmt.Fprintf(c.net, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\n"+
		"Connection: close\r\nContent-Length: %d\r\n\r\n%s\n", r.Status, text, len(text)+1, text)
	if r.Status != http.StatusRequestTimeout { // there everything it has sent was read
		c.discard()
	}
}

// linger ends a connection on which not everything was read that has come.
func (c *conn) linger(x *stream) {
	if !x.broken && (!x.body.isDone() || c.r < c.w) {
		c.discard()
	}
}

// discard tells the client that nothing more will come and reads what it sends for a
// moment, because closing with something unread resets the connection and may take
// the last response from it.
func (c *conn) discard() {
	half, ok := c.net.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.net.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.Copy(io.Discard, io.LimitReader(c.net, 64*drainLimit)) // until it ends, in whatever way
}

// closeIdle closes the connection unless a request is under way.
func (c *conn) closeIdle() {
	if c.state.CompareAndSwap(stateIdle, stateClosed) {
		_ = c.net.Close() // nothing was said on it that could be lost
	}
}
