package http1

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// errBodyBroken is in the cause of a request's end whose connection broke in the request's
// body, rather than that the client left.
var errBodyBroken = errors.New("the connection broke in the request's body")

// ConnContextKey is the key of the connection (net.Conn) in the contexts of requests.
var ConnContextKey = &struct{ name string }{"connection"}

// connContext is the context of all requests on a connection. It ends with the connection. The
// connection watches for a client that leaves only after the first call of Done, because most
// requests end without such a call.
type connContext struct {
	context.Context
	c *conn
}

// Done implements context.Context.
func (x *connContext) Done() <-chan struct{} {
	x.c.watch.want(x.c)
	return x.Context.Done()
}

// Value implements context.Context. It has the same values for a connection as the contexts of
// net/http.
func (x *connContext) Value(key any) any {
	switch key {
	case http.LocalAddrContextKey:
		return x.c.local
	case ConnContextKey:
		return x.c.net
	}
	return x.Context.Value(key)
}

// watch reads ahead while a request is being handled, to notice a client that leaves. The unread
// part of the request's body stays in the buffer, where it must have room. A reader of the body
// ends the reading ahead first.
//
// When watch has read a byte of the next request, it stops: a client that ends its side after
// several requests waits for the answers.
//
// A client may send a whole body and leave. That body must not be lost, so watch reports the
// leaving when the body has been read, or when the response begins.
type watch struct {
	mu      sync.Mutex
	handled bool // a handler is running
	wanted  bool
	reading bool      // the body is being read
	body    *body     // only used while reading is false
	limit   time.Time // for reading it
	ending  bool
	running chan struct{} // closed when the reading ahead has ended; nil: none has begun
}

// begin is called before the handler is.
func (w *watch) begin(b *body) {
	w.mu.Lock()
	w.handled, w.wanted, w.reading, w.body, w.limit = true, false, false, b, time.Time{}
	w.mu.Unlock()
}

// forget is called when the connection has no request.
func (w *watch) forget() {
	w.mu.Lock()
	w.body = nil
	w.mu.Unlock()
}

// bodyBegins is called before the body is read.
func (w *watch) bodyBegins(c *conn) {
	w.mu.Lock()
	w.reading = true
	if w.running != nil {
		w.stopLocked(c)
		if w.handled { // else the caller of end has woken the reader
			_ = c.setReadDeadline(w.limit) // the read reports what is wrong
		}
	}
	w.mu.Unlock()
}

// bodyPauses is called when a piece of the body, or all of it, has been read.
func (w *watch) bodyPauses(c *conn) {
	w.mu.Lock()
	w.reading = false
	w.startLocked(c)
	w.mu.Unlock()
}

// want is called when the handler waits for the client to leave.
func (w *watch) want(c *conn) {
	w.mu.Lock()
	w.wanted = true
	w.startLocked(c)
	w.mu.Unlock()
}

// limitBody sets the read deadline for a handler that reads the body. No deadline is in force while
// the connection is read ahead. Once the handler has returned, it cannot set one any more.
func (w *watch) limitBody(c *conn, t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.handled {
		return http.ErrBodyReadAfterClose
	}
	w.limit = t
	if w.running != nil {
		return nil
	}
	return c.setReadDeadline(t)
}

func (w *watch) startLocked(c *conn) {
	if !w.handled || !w.wanted || w.reading || w.ending || w.running != nil || !w.body.hasRoom() {
		return
	}
	c.limitRead(0)
	w.running = make(chan struct{})
	go w.readAhead(c, w.running)
}

func (w *watch) readAhead(c *conn, done chan struct{}) {
	defer close(done)
	for {
		if c.r > 0 {
			c.w = copy(c.in, c.in[c.r:c.w])
			c.r = 0
		}
		ahead := c.in[:c.w]
		rest, all := w.body.rest(ahead)
		if c.in != nil && len(ahead) == len(c.in) || len(bytes.Trim(ahead[rest:], "\r\n")) > 0 {
			return
		}
		err := c.more()
		if err == nil {
			continue
		}
		w.mu.Lock()
		ending := w.ending
		w.mu.Unlock()
		switch {
		case ending:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				c.broken = err // for the reader that has ended the reading ahead
			}
		case err == io.EOF && rest > 0 && all && c.keepsLeaving():
		case !all && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
			c.cancel(fmt.Errorf("%w: %w", errBodyBroken, err))
		default:
			c.cancel(err)
		}
		return
	}
}

// keepsLeaving notes for WriteHead that the client has left, unless WriteHead has been called
// already.
func (c *conn) keepsLeaving() bool {
	c.headOut.Lock()
	defer c.headOut.Unlock()
	c.hasLeft = !c.headBegun
	return c.hasLeft
}

// end is called when the handler has returned, and before the connection is handed over.
func (w *watch) end(c *conn) {
	w.mu.Lock()
	w.handled = false
	w.stopLocked(c)
	w.mu.Unlock()
}

// stopLocked ends the reading ahead. It waits for the end without holding mu.
func (w *watch) stopLocked(c *conn) {
	for w.running != nil {
		running := w.running
		w.ending = true
		_ = c.setReadDeadline(past) // a connection that is closed has woken it already
		w.mu.Unlock()
		<-running
		w.mu.Lock()
		if w.running == running {
			w.ending, w.running = false, nil
		}
	}
}
