package upstream

import (
	"bufio"
	"errors"
	"io"
	"net/http/httputil"
	"os"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// The ways in which the body of a response ends.
type bodyKind uint8

const (
	noBody      bodyKind = iota
	lengthBody           // by its length
	chunkedBody          // by a chunk of length 0
	endlessBody          // by the end of the connection
)

// Response is the response of a backend, for one goroutine at a time.
type Response struct {
	Status int
	// Headers are all that the backend has sent, also those for the connection, with names in lower
	// case and in their order.
	Headers pagi.Headers
	// Length is that of the header Content-Length; -1: there is none, or it does not count.
	Length int64
	// Trailers are there once Read has returned io.EOF.
	Trailers pagi.Headers

	direct *Direct
	conn   *directConn
	body   bodyKind
	left   int64 // of the body
	keep   bool  // the connection may be used again
	ended  bool
	chunks *chunks
	room   [12]pagi.Header // where Headers begins
}

// chunks reads a chunked body.
type chunks struct {
	in   *bufio.Reader
	body io.Reader
	over bool // the last chunk has come
}

var chunkReaders = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, readRoom) }}

// HasTrailers reports whether trailers may follow the body.
func (r *Response) HasTrailers() bool { return r.body == chunkedBody }

// Whole returns the body if all of it has come with the head. It is valid until Close.
func (r *Response) Whole() ([]byte, bool) {
	c := r.conn
	if r.body == noBody {
		return nil, true
	}
	if r.body != lengthBody || int64(c.w-c.r) < r.left {
		return nil, false
	}
	p := c.in[c.r : c.r+int(r.left)]
	c.r += len(p)
	r.left = 0
	return p, true
}

// Ready waits at most limit for the next piece of the body, or the end, and reports whether it has
// come. It takes nothing away.
func (r *Response) Ready(limit time.Duration) bool {
	c := r.conn
	if r.ended || c.r < c.w || r.chunks != nil && r.chunks.in.Buffered() > 0 {
		return true
	}
	if limit <= 0 {
		return false
	}
	c.guard.limitRead(time.Now().Add(limit))
	err := c.fill()
	c.guard.limitRead(time.Time{})
	return !errors.Is(err, os.ErrDeadlineExceeded) // another error comes again
}

// Await is how long Reads may wait from now on, in all; 0 or less means without a limit.
func (r *Response) Await(limit time.Duration) { r.conn.guard.await(limit, forBody) }

// Rest ends the wait that Await has begun.
func (r *Response) Rest() { r.conn.guard.rest() }

// Read implements io.Reader. The last piece may come with io.EOF.
func (r *Response) Read(p []byte) (n int, err error) {
	if r.ended {
		return 0, io.EOF
	}
	switch r.body {
	case noBody:
		err = io.EOF
	case lengthBody:
		if r.left > 0 {
			n, err = r.conn.Read(p[:min(int64(len(p)), r.left)])
		}
		r.left -= int64(n)
		switch {
		case r.left == 0:
			err = io.EOF
		case err == io.EOF:
			err = io.ErrUnexpectedEOF
		}
	case chunkedBody:
		n, err = r.readChunks(p)
	case endlessBody:
		n, err = r.conn.Read(p)
	}
	if err == io.EOF {
		r.end(true)
	} else if err != nil {
		err = r.conn.guard.why(err)
		r.end(false)
	}
	return n, err
}

func (r *Response) readChunks(p []byte) (n int, err error) {
	if r.chunks == nil {
		in := chunkReaders.Get().(*bufio.Reader)
		in.Reset(r.conn)
		r.chunks = &chunks{in: in, body: httputil.NewChunkedReader(in)}
	}
	x := r.chunks
	if !x.over {
		n, err = x.body.Read(p)
		if err != io.EOF {
			return n, err
		}
		x.over = true
		if n > 0 && x.in.Buffered() == 0 { // what has come must not wait for the trailers
			return n, nil
		}
	}
	var trailers []byte
	for begun := false; ; {
		line, err := x.in.ReadSlice('\n')
		if trailers = append(trailers, line...); len(trailers) > maxHead {
			return n, errors.New("the trailers of the response are too long")
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			begun = true
			continue
		case err == io.EOF:
			return n, io.ErrUnexpectedEOF
		case err != nil:
			return n, err
		}
		if empty := string(line); !begun && (empty == "\n" || empty == "\r\n") {
			break
		}
		begun = false
	}
	if r.Trailers, err = parseFields(string(trailers), nil); err != nil {
		return n, err
	}
	return n, io.EOF
}

// Close lets the connection go. It is used again if all of the body was read.
func (r *Response) Close() { r.end(r.left == 0 && r.body != chunkedBody && r.body != endlessBody) }

func (r *Response) end(complete bool) {
	if r.ended {
		return
	}
	r.ended = true
	c := r.conn
	clean := c.r == c.w
	if r.chunks != nil {
		clean = clean && r.chunks.in.Buffered() == 0
		r.chunks.in.Reset(nil)
		chunkReaders.Put(r.chunks.in)
		r.chunks = nil
	}
	if c.app != nil && complete {
		c.app.finish()
	}
	if cause := c.guard.end(); cause == nil && complete && r.keep && clean {
		r.direct.put(c)
		return
	}
	c.close()
}
