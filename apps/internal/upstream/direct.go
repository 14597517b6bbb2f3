package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"syscall"
	"time"
)

// direct sends requests with safe methods and without a body by HTTP/1.1 without TLS. It writes and
// reads on the goroutine of its caller. An http.Transport hands such a request to two other
// goroutines, which costs about half as much processor time again. The messages are written and
// read by net/http.
type direct struct {
	dial    func(ctx context.Context) (net.Conn, error)
	maxIdle int

	mu    sync.Mutex
	idle  []*directConn // the one that was used last is the last
	sweep *time.Timer   // closes those that were not used for long; nil: there are none
}

// directConn is a connection of a direct. One request has it, or it is idle.
type directConn struct {
	net.Conn
	in    *bufio.Reader
	out   *bufio.Writer
	left  int // how many bytes of a head may still come; unlimited: no head is read
	got   bool
	since time.Time // idle
}

// unlimited stands for no limit of the head.
const unlimited = -1

// MaxInterim is how many interim responses a backend may send before the response.
const MaxInterim = 20

// ErrInterim is the error of a backend that sends more.
var ErrInterim = fmt.Errorf("the backend has sent more than %d interim responses", MaxInterim)

var errLongHead = fmt.Errorf("the head of the response exceeds %d bytes", maxHead)

// Read implements net.Conn.
func (c *directConn) Read(p []byte) (int, error) {
	switch {
	case c.left == 0: // each time: readers may try again after an error
		return 0, errLongHead
	case c.left > 0:
		p = p[:min(len(p), c.left)]
	}
	n, err := c.Conn.Read(p)
	c.got = c.got || n > 0
	if c.left != unlimited {
		c.left -= n
	}
	return n, err
}

// isFit reports whether an idle connection is open and nothing has come by it. What comes without a
// request would be taken for the response to the next one.
func (c *directConn) isFit() bool {
	w, is := c.Conn.(*watched)
	if !is || c.in.Buffered() > 0 {
		return false
	}
	raw, is := w.Conn.(syscall.Conn)
	if !is {
		return false
	}
	socket, err := raw.SyscallConn()
	if err != nil {
		return false
	}
	var peeked error
	err = socket.Read(func(fd uintptr) bool {
		var one [1]byte
		_, _, peeked = syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	})
	return err == nil && errors.Is(peeked, syscall.EAGAIN)
}

// takes reports whether a request is one for a direct.
func takes(req *http.Request) bool {
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return req.Body == nil || req.Body == http.NoBody
	}
	return false
}

// roundTrip sends a request. If a connection that was idle ends without a byte of the response, the
// request goes to a new one.
func (d *direct) roundTrip(req *http.Request) (*http.Response, error) {
	for c := d.take(); c != nil; c = d.take() {
		res, err := d.exchange(c, req)
		if err == nil || c.got || req.Context().Err() != nil {
			return res, err
		}
	}
	conn, err := d.dial(req.Context())
	if err != nil {
		return nil, err
	}
	c := &directConn{Conn: conn, left: unlimited}
	c.in, c.out = bufio.NewReader(c), bufio.NewWriter(conn)
	return d.exchange(c, req)
}

// exchange sends a request by a connection and reads the head of the response.
func (d *direct) exchange(c *directConn, req *http.Request) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(req.Context())
	if trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{Conn: c.Conn})
	}
	c.got = false
	// A deadline that is over wakes a read and a write.
	calm := context.AfterFunc(req.Context(), func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	res, err := c.ask(req, trace)
	if err != nil {
		calm()
		c.Close()
		return nil, causeOf(req.Context(), err)
	}
	body := &directBody{direct: d, conn: c, ctx: req.Context(), calm: calm, body: res.Body, close: res.Close}
	if res.Body == http.NoBody {
		body.end(res.StatusCode != http.StatusSwitchingProtocols)
		return res, nil
	}
	res.Body = body
	return res, nil
}

// causeOf returns why ctx has ended, and err if it has not.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (c *directConn) ask(req *http.Request, trace *httptrace.ClientTrace) (*http.Response, error) {
	if err := req.Write(c.out); err != nil {
		return nil, err
	}
	if err := c.out.Flush(); err != nil {
		return nil, err
	}
	for range MaxInterim + 1 {
		c.left = maxHead
		res, err := http.ReadResponse(c.in, req)
		if err != nil && c.left == 0 {
			err = errLongHead
		}
		c.left = unlimited
		if err != nil {
			return nil, err
		}
		if res.StatusCode < 100 || res.StatusCode > 199 || res.StatusCode == http.StatusSwitchingProtocols {
			return res, nil
		}
		if trace != nil && trace.Got1xxResponse != nil {
			if err := trace.Got1xxResponse(res.StatusCode, textproto.MIMEHeader(res.Header)); err != nil {
				return nil, err
			}
		}
	}
	return nil, ErrInterim
}

// take returns the idle connection that was used last, if it is fit; nil if there is none.
func (d *direct) take() *directConn {
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
		if c.isFit() {
			return c
		}
		c.Close()
	}
}

// put keeps a connection for another request.
func (d *direct) put(c *directConn) {
	c.since = time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.idle) >= d.maxIdle {
		c.Close()
		return
	}
	d.idle = append(d.idle, c)
	if d.sweep == nil {
		d.sweep = time.AfterFunc(idleConnTime, func() { d.closeIdle(idleConnTime) })
	}
}

// closeIdle closes the connections that were not used for a time.
func (d *direct) closeIdle(age time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := 0
	for old < len(d.idle) && time.Since(d.idle[old].since) >= age {
		d.idle[old].Close()
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

// directBody is the body of a response. With its end the connection is free.
type directBody struct {
	direct *direct
	conn   *directConn
	ctx    context.Context
	calm   func() bool
	body   io.ReadCloser
	close  bool // the connection is not kept
	ended  bool
}

// Read implements io.Reader.
func (b *directBody) Read(p []byte) (int, error) {
	if b.ended {
		return 0, io.EOF
	}
	n, err := b.body.Read(p)
	if err == io.EOF {
		b.end(true)
	} else if err != nil {
		err = causeOf(b.ctx, err)
		b.end(false)
	}
	return n, err
}

// Close implements io.Closer.
func (b *directBody) Close() error {
	b.end(false)
	return nil
}

func (b *directBody) end(complete bool) {
	if b.ended {
		return
	}
	b.ended = true
	if b.calm() && complete && !b.close && b.conn.in.Buffered() == 0 {
		b.direct.put(b.conn)
		return
	}
	b.conn.Close()
}
