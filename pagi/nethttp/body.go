package nethttp

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

// setBody gives r its body. Without a content-length it waits for the first event to learn
// whether there is a body. For GET, HEAD, OPTIONS and TRACE it assumes none: net/http would take
// a body of unknown length for one that exists.
func setBody(r *http.Request, length int64, receive pagi.Receive) error {
	r.Body = http.NoBody
	if length == 0 {
		return nil
	}
	if length < 0 {
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
			return nil
		}
		first, err := receive(r.Context())
		if err != nil {
			return err
		}
		if e, ok := first.(pagi.HTTPRequest); ok && !e.More && len(e.Body) == 0 {
			setTrailers(r, e.Trailers)
			return nil
		}
		receive = after(first, receive)
	}
	r.ContentLength = length
	r.Body = &handlerBody{r: r, body: request.BodyReader(r.Context(), receive)}
	return nil
}

// after returns a Receive that returns first, and then the events of receive.
func after(first pagi.Event, receive pagi.Receive) pagi.Receive {
	return func(ctx context.Context) (pagi.Event, error) {
		if ev := first; ev != nil {
			first = nil
			return ev, nil
		}
		return receive(ctx)
	}
}

// handlerBody is the body of a handler's request. It gives the request its trailers once it was
// read to its end.
type handlerBody struct {
	r     *http.Request
	body  *request.Body
	ended atomic.Bool // the handler has returned
}

// end is called when the handler has returned. A running Read may still return the bytes that it
// has received, which belong to its own request.
func (b *handlerBody) end() { b.ended.Store(true) }

// Read implements io.Reader.
func (b *handlerBody) Read(p []byte) (int, error) {
	if b.ended.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.body.Read(p)
	if err == io.EOF {
		b.settle()
	}
	return n, err
}

// WriteTo implements io.WriterTo.
func (b *handlerBody) WriteTo(w io.Writer) (int64, error) {
	if b.ended.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.body.WriteTo(handlerWriter{w, b})
	if err == nil {
		b.settle()
	}
	return n, err
}

// handlerWriter is the destination of WriteTo. It fails once the handler has returned.
type handlerWriter struct {
	io.Writer
	body *handlerBody
}

// Write implements io.Writer.
func (w handlerWriter) Write(p []byte) (int, error) {
	if w.body.ended.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	return w.Writer.Write(p)
}

// Close implements io.Closer.
func (b *handlerBody) Close() error { return nil }

// settle gives the request its trailers.
func (b *handlerBody) settle() {
	if !b.ended.Load() {
		setTrailers(b.r, b.body.Trailers())
	}
}

// setTrailers gives a request its trailers, unless it has them already.
func setTrailers(r *http.Request, trailers pagi.Headers) {
	if len(trailers) == 0 {
		return
	}
	if r.Trailer == nil {
		r.Trailer = http.Header{}
	}
	for _, t := range trailers {
		r.Trailer[headername.Canonical(t.Name)] = nil
	}
	fillHeader(r.Trailer, trailers)
}

// announce fills a request's Trailer from its header Trailer, as net/http does: with the names,
// without values.
func announce(r *http.Request) {
	for _, list := range r.Header["Trailer"] {
		for name := range strings.SplitSeq(list, ",") {
			if name = headername.Lower(strings.TrimSpace(name)); (pagi.Headers{{Name: name}}).Validate("") != nil || !engine.IsTrailer(name) {
				continue
			}
			if r.Trailer == nil {
				r.Trailer = http.Header{}
			}
			r.Trailer[headername.Canonical(name)] = nil
		}
	}
	delete(r.Header, "Trailer")
}
