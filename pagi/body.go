package pagi

import (
	"context"
	"errors"
	"io"
)

// ErrDisconnected is what reading a request body ends with when the client went
// away before it was complete.
var ErrDisconnected = errors.New("client disconnected before the request body was complete")

// BodyReader reads a request body out of http.request or sse.request events. The
// reader returns ErrDisconnected when the client goes away in the middle.
func BodyReader(ctx context.Context, receive Receive) io.Reader {
	return &bodyReader{ctx: ctx, receive: receive}
}

type bodyReader struct {
	ctx     context.Context
	receive Receive
	rest    []byte
	err     error
	after   Headers // the trailers, with io.EOF
}

func (b *bodyReader) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		b.next()
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// WriteTo spares io.Copy its buffer: the events' own bytes are written.
func (b *bodyReader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		if len(b.rest) > 0 {
			n, err := w.Write(b.rest)
			total += int64(n)
			b.rest = b.rest[n:]
			if err == nil && len(b.rest) > 0 {
				err = io.ErrShortWrite
			}
			if err != nil {
				return total, err
			}
		}
		switch {
		case b.err == io.EOF:
			return total, nil
		case b.err != nil:
			return total, b.err
		}
		b.next()
	}
}

func (b *bodyReader) next() {
	ev, err := b.receive(b.ctx)
	more := false
	switch e := ev.(type) {
	case HTTPRequest:
		b.rest, more, b.after = e.Body, e.More, e.Trailers
	case SSERequest:
		b.rest, more, b.after = e.Body, e.More, e.Trailers
	default:
		if err == nil {
			err = ErrDisconnected
		}
	}
	switch {
	case err != nil:
		b.err = err
	case !more:
		b.err = io.EOF
	}
}
