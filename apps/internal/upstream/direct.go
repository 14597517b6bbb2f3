package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/internal/sysio"
	"github.com/pagi-go/pagi-bridge/pagi"
)

const (
	// readRoom is the first size of the buffer of a connection. A longer head makes it grow.
	readRoom = 4 << 10
	// MaxInterim is how many interim responses a backend may send before the response.
	MaxInterim = 20
)

// ErrInterim is the error of a backend that sends more.
var ErrInterim = fmt.Errorf("the backend has sent more than %d interim responses", MaxInterim)

// Direct sends requests without a body by HTTP/1.1 without TLS, and all requests to applications of
// FastCGI. It writes and reads on the goroutine of its caller, with one system call each for a small
// message. An http.Transport hands a request to two other goroutines.
//
// A connection has one request at a time. It is used again only if the response has ended where its
// head says so, and if nothing has come behind it: what comes without a request would be taken for
// the response to the next one.
type Direct struct {
	dial      func(ctx context.Context) (net.Conn, error)
	maxIdle   int
	isFastCGI bool

	mu    sync.Mutex
	idle  []*directConn // the one that was used last is the last
	sweep *time.Timer   // closes those that were not used for long; nil: there are none
}

// Request is a request for a Direct.
type Request struct {
	// Method is safe: the request may be sent again if a connection that was idle ends without a
	// byte of the response.
	Method string
	Target string // path and query, encoded
	Host   string
	// Headers are the others, with names in lower case. None may frame a body.
	Headers pagi.Headers
	// Limit is how long the response may take, from the moment at which there is a connection. 0 or
	// less is none.
	Limit time.Duration
	// Inform gets interim responses. Its error ends the request.
	Inform func(status int, headers pagi.Headers) error
	// Connected is set when the request has got a connection.
	Connected bool

	// The rest is for backends of FastCGI, which get no target, host and headers.

	// Params are names and values, encoded by package fastcgi.
	Params []byte
	// Body is the request body, which is closed when the backend wants no more; nil: there is none.
	Body io.ReadCloser
	// Complain gets what the backend has written to its standard error. It is called before the end
	// of the response.
	Complain func(text string)
}

// directConn is a connection of a Direct. One request has it, or it is idle.
type directConn struct {
	net.Conn          // what is read: of FastCGI, the standard output
	raw      net.Conn // the connection itself
	app      *fastCGI // nil: it speaks HTTP
	guard    guard
	in       []byte // read buffer
	r, w     int    // what is unread of it
	out      []byte
	got      bool // something has come in answer to the request
	since    time.Time
}

// Ask sends a request and reads the head of the response. The caller closes the response.
func (d *Direct) Ask(ctx context.Context, r *Request) (*Response, error) {
	for c := d.take(); c != nil; c = d.take() {
		res, err := d.exchange(ctx, c, r)
		if err == nil || c.got || ctx.Err() != nil || isTimeout(err) {
			return res, err
		}
	}
	conn, err := d.dial(ctx)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	c := &directConn{raw: sysio.New(conn)}
	c.Conn, c.guard.conn = c.raw, conn
	if d.isFastCGI {
		c.app = newFastCGI(c)
		c.Conn = c.app
	}
	return d.exchange(ctx, c, r)
}

func isTimeout(err error) bool {
	var overdue *OverdueError
	return errors.As(err, &overdue)
}

// exchange sends a request by a connection and reads the head of the response.
func (d *Direct) exchange(ctx context.Context, c *directConn, r *Request) (*Response, error) {
	r.Connected, c.got = true, false
	c.guard.begin(ctx, r.Limit, forResponse)
	ask := c.ask
	if c.app != nil {
		ask = c.app.ask
	}
	res, err := ask(r)
	if err != nil {
		err = c.guard.why(err)
		c.close()
		return nil, err
	}
	c.guard.answer()
	res.direct, res.conn = d, c
	return res, nil
}

func (c *directConn) ask(r *Request) (*Response, error) {
	if err := c.write(r); err != nil {
		return nil, err
	}
	for range MaxInterim + 1 {
		head, err := c.readHead(true)
		if err != nil {
			return nil, err
		}
		res, err := parseHead(head, r.Method)
		if err != nil {
			return nil, err
		}
		if !res.isInterim() {
			return res, nil
		}
		if r.Inform != nil {
			if err := r.Inform(res.Status, res.Headers); err != nil {
				return nil, err
			}
		}
	}
	return nil, ErrInterim
}

// write sends a request in one call.
func (c *directConn) write(r *Request) error {
	out := append(c.out[:0], r.Method...)
	out = append(append(out, ' '), r.Target...)
	out = append(append(out, " HTTP/1.1\r\nHost: "...), r.Host...)
	safe := headername.IsToken(r.Method) && isVisible(r.Target) && isVisible(r.Host)
	for i := range r.Headers {
		h := &r.Headers[i]
		safe = safe && headername.IsToken(h.Name) && isText(h.Value)
		out = headername.AppendCanonical(append(out, "\r\n"...), h.Name)
		out = append(append(out, ": "...), h.Value...)
	}
	out = append(out, "\r\n\r\n"...)
	if c.out = out; !safe {
		return errors.New("the request has characters that cannot be sent in its head")
	}
	_, err := c.Write(out)
	return err
}

// isVisible reports whether s can be a part of a request line, or a host.
func isVisible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return s != ""
}

// isText reports whether s can be the value of a header.
func isText(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// readHead returns a head, its empty line included. lined says that it begins with a status line.
func (c *directConn) readHead(lined bool) (string, error) {
	begun := !lined
	for searched := 0; ; {
		pending := c.in[c.r:c.w]
		if n := endOfHead(pending, searched); n > 0 {
			if n > maxHead {
				return "", errLongHead
			}
			head := string(pending[:n])
			c.r += n
			return head, nil
		}
		if len(pending) >= maxHead {
			return "", errLongHead
		}
		if line, complete := firstLine(pending); !begun && complete { // a server of another protocol may wait for an answer
			if _, _, err := parseStatusLine(string(line)); err != nil {
				return "", err
			}
			begun = true
		}
		searched = max(0, len(pending)-3)
		if err := c.fill(); err != nil {
			if err == io.EOF && c.r < c.w {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
	}
}

// fill reads more into the buffer, which grows where it is full.
func (c *directConn) fill() error {
	switch {
	case c.in == nil:
		c.in = make([]byte, readRoom)
	case c.r == c.w:
		c.r, c.w = 0, 0
	case c.w == len(c.in) && c.r > 0:
		c.w = copy(c.in, c.in[c.r:c.w])
		c.r = 0
	case c.w == len(c.in):
		c.in = append(c.in, make([]byte, len(c.in))...)
	}
	n, err := c.Conn.Read(c.in[c.w:])
	c.w += n
	if n > 0 {
		c.got, err = true, nil // an error comes again
	}
	return err
}

// Read implements io.Reader: what is in the buffer comes first.
func (c *directConn) Read(p []byte) (int, error) {
	if c.r < c.w {
		n := copy(p, c.in[c.r:c.w])
		c.r += n
		return n, nil
	}
	return c.Conn.Read(p)
}

func (c *directConn) close() {
	c.guard.stop()
	if c.app != nil {
		c.app.abort()
	}
	c.raw.Close()
}

// take returns the idle connection that was used last, if it is fit; nil if there is none.
func (d *Direct) take() *directConn {
	for {
		d.mu.Lock()
		last := len(d.idle) - 1
		if last < 0 {
			d.mu.Unlock()
			return nil
		}
		c := d.idle[last]
		d.idle[last] = nil
		d.idle = d.idle[:last]
		d.mu.Unlock()
		if sysio.IsQuiet(c.raw) {
			return c
		}
		c.close()
	}
}

// put keeps a connection for another request.
func (d *Direct) put(c *directConn) {
	if len(c.in) > 4*readRoom {
		c.in = nil // a long head of a response is rare
	}
	if cap(c.out) > 4*readRoom {
		c.out = nil // and so is one of a request
	}
	c.r, c.w = 0, 0
	c.since = time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.idle) >= d.maxIdle {
		c.close()
		return
	}
	d.idle = append(d.idle, c)
	if d.sweep == nil {
		d.sweep = time.AfterFunc(idleConnTime, func() { d.closeIdle(idleConnTime) })
	}
}

// closeIdle closes the connections that were not used for a time.
func (d *Direct) closeIdle(age time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := 0
	for old < len(d.idle) && time.Since(d.idle[old].since) >= age {
		d.idle[old].close()
		old++
	}
	d.idle = append([]*directConn(nil), d.idle[old:]...)
	if d.sweep != nil && len(d.idle) == 0 {
		d.sweep.Stop()
		d.sweep = nil
	} else if d.sweep != nil {
		d.sweep.Reset(idleConnTime)
	}
}
