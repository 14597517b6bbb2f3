// Package request is what an application uses to read a request: one value per scope, with its query,
// headers, cookies, parameters and body.
//
//	r := request.New(ctx, scope, receive)
//	page, err := request.ValueOr(r.Query(), "page", 1)
//
// The files, in the order of reading: request.go has the value, predicates.go short questions,
// values.go lists of names and values, query.go query, path parameters and cookies, decode.go types
// for them, credentials.go and url.go what their names say, accept.go the choice of types and
// languages, contenttype.go the type of the body. Of the body, whole.go reads it into memory,
// json.go decodes JSON, multipart.go forms with files, multipartstream.go, partheader.go and
// partscanner.go parts one by one, bodystream.go reads it piece by piece, limits.go says how much
// is read, and body.go is its io.Reader.
//
// A body is read once. What was read whole is shared by all Requests of an exchange, and handed on by
// Request.Receive. A body that was read otherwise is refused with an error that says so.
//
// The package may import package pagi and must know nothing of servers, Perl or middleware.
package request

import (
	"context"
	"errors"
	"io"

	"github.com/pagi-go/pagi-bridge/internal/bodyread"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// ErrBodyRead is what reading a request body ends with when all of it has been received before, by
// code that did not pass it on.
var ErrBodyRead = bodyread.ErrRead

// ErrDisconnected is what reading a request body ends with when the client went
// away before it was complete.
var ErrDisconnected = errors.New("client disconnected before the request body was complete")

// BodyReader reads a request body out of http.request or sse.request events. Reading ends
// with ErrDisconnected when the client goes away before the body is complete.
func BodyReader(ctx context.Context, receive pagi.Receive) *Body {
	return &Body{ctx: ctx, receive: receive}
}

// Body is a request body as an io.Reader and io.WriterTo. One goroutine may use it.
type Body struct {
	ctx      context.Context
	receive  pagi.Receive
	rest     []byte
	err      error
	trailers pagi.Headers
}

// Read implements io.Reader.
func (b *Body) Read(p []byte) (int, error) {
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

// piece returns the next piece of the body, which may be empty, or the error: io.EOF at the end.
func (b *Body) piece() ([]byte, error) {
	if len(b.rest) == 0 {
		if b.err != nil {
			return nil, b.err
		}
		b.next()
	}
	piece := b.rest
	b.rest = nil
	if len(piece) == 0 && b.err != nil {
		return nil, b.err
	}
	return piece, nil
}

// WriteTo spares io.Copy its buffer: the events' own bytes are written.
func (b *Body) WriteTo(w io.Writer) (int64, error) {
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

// Trailers returns the trailers of the request once the body has been read to its end;
// see pagi.HTTPRequest.
func (b *Body) Trailers() pagi.Headers {
	if b.err != io.EOF {
		return nil
	}
	return b.trailers
}

func (b *Body) next() {
	ev, err := b.receive(bodyread.Want(b.ctx))
	more := false
	switch e := ev.(type) {
	case pagi.HTTPRequest:
		b.rest, more, b.trailers = e.Body, e.More, e.Trailers
	case pagi.SSERequest:
		b.rest, more, b.trailers = e.Body, e.More, e.Trailers
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
