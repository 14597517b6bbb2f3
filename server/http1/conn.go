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

	"github.com/pagi-go/pagi-bridge/internal/sysio"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

const (
	// bufferSize is the initial size of the buffers. Only a larger head makes one grow.
	bufferSize = 4 << 10
	// lingerTime is how long a client may go on sending bytes that nothing reads any more, unless
	// it closes before. If the server closed with bytes unread, the client could lose the answer.
	lingerTime = 500 * time.Millisecond
	// drainLimit is how much of an unread request body the server reads to keep the connection.
	drainLimit = 256 << 10
	// restAfter is how long a connection waits for its next request before it rests. Its read deadline is set anew for
	// each request that comes a sixty-fourth of this after the last one.
	restAfter = 10 * time.Second
)

// States of a connection, for Shutdown.
const (
	stateIdle   int32 = iota // between requests, or before the first one
	stateActive              // a request has begun
	stateClosed              // closed while idle
)

// conn is one connection. Its fields belong to the goroutine that serves it and to the handler that
// it calls, unless a comment says otherwise. While the handler runs, the read buffer belongs to the
// body until that has been read, and then to watch. The write buffer belongs to the response.
type conn struct {
	server *Server
	limits *Limits
	net    net.Conn
	tls    *tls.ConnectionState
	client string // address
	from   pagi.Addr
	local  net.Addr
	to     pagi.Addr

	state  atomic.Int32
	served int // requests for which the handler was called
	head   int // the size of the current one's head
	ctx    connContext
	cancel context.CancelCauseFunc
	blank  *http.Request // has the context; nil while the connection rests

	rests      bool // it waits with as little memory as possible
	restsUntil time.Time

	in       []byte // read buffer; nil while the connection waits with nothing in it
	r, w     int    // what is unread of it
	broken   error  // that of a read, which the next one returns
	out      []byte // write buffer; nil while nothing waits to be written
	deadline struct{ read, write deadline }

	headOut   sync.Mutex // guards the next two; held while the decision about 100 Continue is taken
	headBegun bool       // 100 Continue is not sent any more
	hasLeft   bool       // the client has left; told when the head begins
	hijacked  bool
	watch     watch
}

func newConn(s *Server, c net.Conn, state *tls.ConnectionState) *conn {
	x := &conn{server: s, limits: s.limits(), net: c, tls: state, client: c.RemoteAddr().String(), local: c.LocalAddr()}
	x.to = engine.AddrOf(c.LocalAddr())
	if _, unix := c.RemoteAddr().(*net.UnixAddr); !unix { // a Unix socket's client has none
		x.from = engine.AddrOf(c.RemoteAddr())
	}
	ctx, cancel := context.WithCancelCause(s.Context)
	x.ctx, x.cancel = connContext{ctx, x}, cancel
	return x
}

// serve handles the requests of the connection, one after another, until it ends, or has waited for a while. Then it rests,
// and serve is to be called once more when something can be read.
func (c *conn) serve() (rests bool) {
	defer func() {
		if rests {
			return
		}
		c.cancel(context.Canceled)
		if !c.hijacked {
			_ = c.net.Close() // all responses have been sent
		}
	}()
	for first := !c.rests; ; first = false {
		head := c.awaitHead(first)
		if head == nil {
			return c.rests
		}
		if c.blank == nil {
			c.blank = (&http.Request{}).WithContext(&c.ctx)
		}
		if first && c.speaksHTTP2() && string(head) == prefaceHead {
			c.handOver()
			return false
		}
		x, refusal := c.parse(head)
		c.head = len(head)
		c.advance(c.head)
		if refusal != nil {
			if other := (&beginning{}).refusal(head); other != nil { // an empty line may be among the bytes of another protocol
				refusal = other
			}
			c.turnDown(refusal, head, first)
			return false
		}
		if !c.handle(x) || c.hijacked {
			return false
		}
		if !x.finish() || c.isEnding() {
			c.linger(x)
			return false
		}
		c.state.Store(stateIdle)
		if c.isEnding() { // it may have begun just now: Drain may have seen the request
			c.linger(x)
			return false
		}
	}
}

// turnDown refuses a request. Where the server also speaks HTTP/2, bytes that belong to neither
// version may be a broken preface, which gets no answer (RFC 9113 section 3.4).
func (c *conn) turnDown(r *Refusal, head []byte, first bool) {
	if !first || !c.speaksHTTP2() || namesHTTP(head) || r.Reason == reasonTLS || r.Reason == reasonProxy {
		c.refuse(r, head)
	}
}

// namesHTTP reports whether the first line of a head names a version of HTTP.
func namesHTTP(head []byte) bool {
	line, _, _ := bytes.Cut(head, []byte{'\n'})
	return bytes.Contains(line, []byte(" HTTP/"))
}

// speaksHTTP2 reports whether the client may begin with HTTP/2. Under TLS the handshake decides the
// protocol (RFC 9113 section 3.2).
func (c *conn) speaksHTTP2() bool { return c.server.HTTP2 != nil && c.tls == nil }

// handOver gives the connection to the server for HTTP/2.
func (c *conn) handOver() {
	c.hijacked = true
	if err := c.net.SetDeadline(time.Time{}); err != nil {
		_ = c.net.Close() // it is closed already
		return
	}
	c.server.HTTP2(c.net, c.in[c.r:c.w])
}

// isEnding reports whether the connection must handle no further request.
func (c *conn) isEnding() bool { return c.server.draining.Load() || c.ctx.Context.Err() != nil }

// isLast reports whether the response that begins is the last one of the connection.
func (c *conn) isLast() bool {
	return c.server.ending.Load() || c.limits.MaxRequests > 0 && c.served >= c.limits.MaxRequests
}

// handle calls the handler and reports whether the connection can be used further.
func (c *conn) handle(x *stream) (ok bool) {
	defer func() {
		c.watch.end(c)
		if v := recover(); v != nil {
			ok = false
			x.reset()
			if err, is := v.(error); !is || !errors.Is(err, http.ErrAbortHandler) {
				c.server.log().Error("panic while serving", "client", c.client, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			}
		}
	}()
	c.headBegun, c.hasLeft = false, false
	c.served++
	if !x.body.isDone() {
		c.limitRead(0) // the limits on a body are the handler's
	}
	c.watch.begin(&x.body)
	c.server.Handler.ServeHTTP(x, &x.req)
	return true
}

// awaitHead returns a whole request head, which stays in the buffer. It returns nil when no further
// request comes, or the connection rests from now on.
func (c *conn) awaitHead(first bool) []byte {
	if c.r == c.w {
		c.r, c.w = 0, 0
		if !c.awaitFirstByte(first) {
			return nil
		}
	}
	if !c.state.CompareAndSwap(stateIdle, stateActive) {
		return nil // closed meanwhile
	}
	var begun beginning
	for searched, slow := 0, false; ; {
		for searched == 0 { // RFC 9112 section 2.2: empty lines before a request
			n := emptyLine(c.in[c.r:c.w])
			if n == 0 {
				break
			}
			c.r += n
		}
		pending := c.in[c.r:c.w]
		if limit := c.limits.MaxHead; limit > 0 && len(pending) > limit {
			pending = pending[:limit]
		}
		if n := endOfHead(pending, searched); n > 0 {
			return pending[:n]
		}
		if len(pending) < c.w-c.r || c.limits.MaxHead > 0 && len(pending) == c.limits.MaxHead {
			c.refuse(tooLarge(pending), pending)
			return nil
		}
		if !first || !c.speaksHTTP2() || !bytes.HasPrefix(pending, []byte(prefaceLine)) {
			if refusal := begun.refusal(pending); refusal != nil {
				c.turnDown(refusal, pending, first)
				return nil
			}
		}
		searched = max(0, len(pending)-3)
		if !slow {
			slow = true
			c.limitRead(c.limits.HeadTimeout)
		}
		switch _, err := c.fill(); {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			if c.r < c.w {
				c.refuse(&Refusal{Status: http.StatusRequestTimeout, Reason: "the request's head is too slow"}, c.in[c.r:c.w])
			}
			return nil
		case errors.Is(err, io.EOF) && c.r < c.w:
			c.refuse(&Refusal{Status: http.StatusBadRequest, Reason: "the request's head is incomplete"}, c.in[c.r:c.w])
			return nil
		default:
			return nil
		}
	}
}

// awaitFirstByte waits for the first byte of a head. It reports false when none comes, or the connection rests from now on.
func (c *conn) awaitFirstByte(first bool) bool {
	wait := c.limits.IdleTimeout
	mayRest := false
	switch {
	case first:
		wait = c.limits.HeadTimeout
	case c.rests: // its deadline is set
		c.rests = false
		return c.more() == nil
	case wait <= 0 || wait > c.server.restsAfter(): // an idle connection
		wait, mayRest = c.server.restsAfter(), true
	}
	c.limitRead(wait)
	err := c.more()
	if mayRest && errors.Is(err, os.ErrDeadlineExceeded) {
		c.rest()
	}
	return err == nil
}

// rest gives up what the connection has for requests.
func (c *conn) rest() {
	c.rests = true
	c.blank = nil
	c.watch.forget()
	left := c.limits.IdleTimeout - c.server.restsAfter()
	c.limitRead(max(left, 0)) // 0: no limit
	c.restsUntil = fromNow(left)
}

// park has the connection, which rests, wait in the server's lot. It reports whether it does. Then another goroutine may
// have it at once.
func (c *conn) park() bool {
	below := c.net
	if secure, is := below.(*tls.Conn); is {
		below = secure.NetConn()
	}
	if x, is := below.(interface {
		ParkIn(*sysio.Lot, time.Time, sysio.Parked) bool
	}); is {
		return x.ParkIn(&c.server.lot, c.restsUntil, c)
	}
	return c.server.lot.Park(below, c.restsUntil, c)
}

// Wake implements sysio.Parked.
func (c *conn) Wake() { go c.server.serve(c) }

// emptyLine returns the length of the line end with which p begins, or 0 where p begins with none.
func emptyLine(p []byte) int {
	switch {
	case len(p) > 0 && p[0] == '\n':
		return 1
	case len(p) > 1 && p[0] == '\r' && p[1] == '\n':
		return 2
	}
	return 0
}

// endOfHead returns the length of a head, its empty line included. It returns 0 where the head is
// not complete. It does not look at the bytes before searched again.
func endOfHead(p []byte, searched int) int {
	for at := searched; ; {
		i := bytes.IndexByte(p[at:], '\n')
		if i < 0 {
			return 0
		}
		at += i + 1
		if n := emptyLine(p[at:]); n > 0 {
			return at + n
		}
	}
}

// fill reads more into the buffer, which grows where it is full.
func (c *conn) fill() (int, error) {
	if c.in == nil {
		c.in = takeBuffer()
	}
	if c.r > 0 && c.w == len(c.in) {
		c.w = copy(c.in, c.in[c.r:c.w])
		c.r = 0
	}
	if c.w == len(c.in) {
		c.in = append(c.in, make([]byte, len(c.in))...)
	}
	n, err := c.read(c.in[c.w:])
	c.w += n
	if n > 0 {
		err = nil // it comes again
	}
	return n, err
}

// read reads from the network, or returns the error that the watch has met: a socket tells of a reset
// once, and then only of its end.
func (c *conn) read(p []byte) (int, error) {
	if c.broken != nil {
		return 0, c.broken
	}
	return c.net.Read(p)
}

// advance marks n bytes as read.
func (c *conn) advance(n int) {
	c.r += n
	if c.r == c.w {
		c.r, c.w = 0, 0
		if len(c.in) > 4*bufferSize {
			c.in = nil // a large head is rare
		}
	}
}

// linger ends a connection on which more bytes may come that nothing reads: the rest of a body, or
// a request of a client that does not know yet that the connection ends (RFC 9112 section 9.6).
func (c *conn) linger(x *stream) {
	if !x.broken && (!x.asked || !x.body.isDone() || c.r < c.w) {
		c.discard()
	}
}

// discard tells the client that nothing more will come, and reads for a moment what the client
// still sends. Closing with bytes unread would reset the connection, and the client could lose the
// last response.
func (c *conn) discard() {
	half, ok := c.net.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	c.limitRead(lingerTime)
	_, _ = io.Copy(io.Discard, io.LimitReader(c.net, 64*drainLimit)) // until it ends, in whatever way
}

// closeIdle closes the connection unless a request is under way.
func (c *conn) closeIdle() {
	if c.state.CompareAndSwap(stateIdle, stateClosed) {
		_ = c.net.Close() // no response is under way that could be lost
	}
}
