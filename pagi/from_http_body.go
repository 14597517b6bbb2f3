package pagi

import (
	"errors"
	"io"
	"net/http"
	"strings"
)

// setBody gives r its body. Where no content-length tells, the first event does,
// but for the methods that have a body next to never: net/http's handlers and
// clients take a body of unknown length for one that is there.
func setBody(r *http.Request, length int64, receive Receive) error {
	r.Body = http.NoBody
	if length == 0 {
		return nil
	}
	body := &handlerBody{r: r, bodyReader: bodyReader{ctx: r.Context(), receive: receive}}
	if length < 0 {
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
			return nil
		}
		body.next()
		switch {
		case body.err == io.EOF && len(body.rest) == 0:
			body.settle()
			return nil
		case body.err != nil && body.err != io.EOF && !errors.Is(body.err, ErrDisconnected):
			return body.err
		}
	}
	r.ContentLength = length
	r.Body = body
	return nil
}

// handlerBody is the body of a handler's request, which has the trailers once the body has
// been read to its end.
type handlerBody struct {
	bodyReader
	r *http.Request
}

// Read implements io.Reader.
func (b *handlerBody) Read(p []byte) (int, error) {
	n, err := b.bodyReader.Read(p)
	if err == io.EOF {
		b.settle()
	}
	return n, err
}

// WriteTo implements io.WriterTo.
func (b *handlerBody) WriteTo(w io.Writer) (int64, error) {
	n, err := b.bodyReader.WriteTo(w)
	if err == nil {
		b.settle()
	}
	return n, err
}

// Close implements io.Closer.
func (b *handlerBody) Close() error { return nil }

// settle gives the request its trailers.
func (b *handlerBody) settle() {
	if len(b.after) == 0 {
		return
	}
	if b.r.Trailer == nil {
		b.r.Trailer = http.Header{}
	}
	fillHeader(b.r.Trailer, b.after)
	b.after = nil
}

// announce makes a request's Trailer of its header of that name, as net/http does: the
// names, without values.
func announce(r *http.Request) {
	for _, list := range r.Header["Trailer"] {
		for name := range strings.SplitSeq(list, ",") {
			if name = lower(strings.TrimSpace(name)); !isToken(name) || !isTrailer(name) {
				continue
			}
			if r.Trailer == nil {
				r.Trailer = http.Header{}
			}
			r.Trailer[CanonicalName(name)] = nil
		}
	}
	delete(r.Header, "Trailer")
}
