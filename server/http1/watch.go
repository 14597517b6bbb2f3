package http1

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// ConnContextKey is the key of the connection (net.Conn) in the contexts of requests.
var ConnContextKey = &struct{ name string }{"connection"}

// connContext is the context of all requests on a connection. It ends with the
// connection. Whether the client has left is looked for only from when somebody asks
// for Done: most requests are over before anybody does.
type connContext struct {
	context.Context
	c *conn
}

// Done implements context.Context.
func (x *connContext) Done() <-chan struct{} {
	x.c.watch.want(x.c)
	return x.Context.Done()
}

// Value implements context.Context. It knows what net/http's contexts know of a
// connection.
func (x *connContext) Value(key any) any {
	switch key {
	case http.LocalAddrContextKey:
		return x.c.local
	case ConnContextKey:
		return x.c.net
	}
	return x.Context.Value(key)
}

// watch reads ahead while a request is being handled, to notice a client that
// leaves. What is unread of the request's body stays in the buffer, where it must have
// room; whoever reads it ends the reading ahead first. Once watch has read a byte of the
// next request it stops: a client that says no more after its requests waits for the
// answers. One that has said all of a body and leaves is not to lose it: that it has left
// is told when the body has been read, or when the response begins.
type watch struct {
	mu      sync.Mutex
	handled bool // a handler is running
	wanted  bool
	reading bool      // the body is being read
	body    *body     // not to be looked at while it is
	limit   time.Time // for reading it
	ending  bool
	running chan struct{} // closed when the reading ahead has ended; nil: it has not begun
}

// begin is called before the handler is.
func (w *watch) begin(b *body) {
	w.mu.Lock()
	w.handled, w.wanted, w.reading, w.body, w.limit = true, false, false, b, time.Time{}
	w.mu.Unlock()
}

// bodyBegins is called before the body is read.
func (w *watch) bodyBegins(c *conn) {
	w.mu.Lock()
	w.reading = true
	if w.running != nil {
		w.stopLocked(c)
		if w.handled { // else whoever called end has woken the reader
			_ = c.setReadDeadline(w.limit) // reading tells what is wrong
		}
	}
	w.mu.Unlock()
}

// bodyPauses is called when a piece of the body has been read, or all.
func (w *watch) bodyPauses(c *conn) {
	w.mu.Lock()
	w.reading = false
	w.startLocked(c)
	w.mu.Unlock()
}

// want is called when somebody waits for the client's leaving.
func (w *watch) want(c *conn) {
	w.mu.Lock()
	w.wanted = true
	w.startLocked(c)
	w.mu.Unlock()
}

// limitBody sets the read deadline for a handler that reads the body. There is none
// while the connection is read ahead, and it is not the handler's once that has
// returned.
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
		if len(ahead) == len(c.in) || len(bytes.Trim(ahead[rest:], "\r\n")) > 0 {
			return
		}
		n, err := c.net.Read(c.in[c.w:])
		c.w += n
		if err == nil || n > 0 { // an error comes again
			continue
		}
		w.mu.Lock()
		ending := w.ending
		w.mu.Unlock()
		switch {
		case ending, err == io.EOF && rest > 0 && all && c.keepsLeaving():
		case !all && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
			c.cancel(fmt.Errorf("%w: %w", pagi.ErrBodyBroken, err))
		default:
			c.cancel(err)
		}
		return
	}
}

// keepsLeaving keeps for WriteHead that the client has left, unless that was called.
func (c *conn) keepsLeaving() bool {
	c.headOut.Lock()
	defer c.headOut.Unlock()
	c.hasLeft = !c.headBegun
	return c.hasLeft
}

// end is called when the handler has returned, and before the connection is handed
// to somebody else.
func (w *watch) end(c *conn) {
	w.mu.Lock()
	w.handled = false
	w.stopLocked(c)
	w.mu.Unlock()
}

// stopLocked ends the reading ahead, which it waits for without mu.
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
