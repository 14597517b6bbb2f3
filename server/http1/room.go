package http1

import (
	"sync"

	"github.com/pagi-go/pagi-bridge/internal/sysio"
)

// buffers holds buffers that no connection needs at the moment. A connection that waits, for its next request or under an
// event stream, has none: with many connections most of them wait.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

func takeBuffer() []byte { return buffers.Get().(*[bufferSize]byte)[:] }

// freeBuffer takes back a buffer of takeBuffer. It leaves one that has grown to the garbage collector.
func freeBuffer(b []byte) {
	if cap(b) == bufferSize {
		buffers.Put((*[bufferSize]byte)(b[:bufferSize]))
	}
}

// lender is a connection that needs room for a read only when something has come.
type lender interface {
	ReadInto(room sysio.Room) (int, error)
}

// room is a connection whose read buffer is empty, as the room for what comes next.
type room conn

// Take implements sysio.Room.
func (r *room) Take() []byte {
	if r.in == nil {
		r.in = takeBuffer()
	}
	return r.in
}

// Drop implements sysio.Room.
func (r *room) Drop() {
	freeBuffer(r.in)
	r.in = nil
}

// more waits for bytes and reads them into the buffer, which is not full. Where the buffer is empty and the connection
// permits it, there is no buffer until bytes have come.
func (c *conn) more() error {
	from, ok := c.net.(lender)
	if !ok || c.w > 0 || c.broken != nil {
		_, err := c.fill()
		return err
	}
	n, err := from.ReadInto((*room)(c))
	c.r, c.w = 0, n
	if n == 0 {
		(*room)(c).Drop()
		return err
	}
	return nil // an error comes again
}
