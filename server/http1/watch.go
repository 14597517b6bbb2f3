package http1

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"time"
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
// leaves. Once it has read a byte of the next request it stops: a client that says no
// more after its requests waits for the answers.
type watch struct {
	mu      sync.Mutex
	handled bool // a handler is running
	ready   bool // and the request's body has been read
	wanted  bool
	ending  bool
	running chan struct{} // closed when the reading ahead has ended; nil: it has not begun
}

// begin is called before the handler is.
func (w *watch) begin(ready bool) {
	w.mu.Lock()
	w.handled, w.ready, w.wanted = true, ready, false
	w.mu.Unlock()
}

// bodyDone is called when the request's body has been read to its end.
func (w *watch) bodyDone(c *conn) {
	w.mu.Lock()
	w.ready = true
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
	if w.running != nil {
		return nil
	}
	return c.setReadDeadline(t)
}

func (w *watch) startLocked(c *conn) {
	if !w.handled || !w.ready || !w.wanted || w.ending || w.running != nil {
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
		if ahead := c.in[:c.w]; len(ahead) == len(c.in) || len(bytes.Trim(ahead, "\r\n")) > 0 {
			return
		}
		n, err := c.net.Read(c.in[c.w:])
		c.w += n
		if err == nil {
			continue
		}
		w.mu.Lock()
		ending := w.ending
		w.mu.Unlock()
		if !ending {
			c.cancel(err)
		}
		return
	}
}

// end is called when the handler has returned, and before the connection is handed
// to somebody else.
func (w *watch) end(c *conn) {
	w.mu.Lock()
	w.handled = false
	running := w.running
	if running == nil {
		w.mu.Unlock()
		return
	}
	w.ending = true
	_ = c.setReadDeadline(past) // a connection that is closed has woken it already
	w.mu.Unlock()
	<-running
	w.mu.Lock()
	w.ending, w.running = false, nil
	w.mu.Unlock()
}
