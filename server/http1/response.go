package http1

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// stream is one request and its response: the handler's http.ResponseWriter, and an engine.Stream.
// Like a ResponseWriter of net/http it may be used by one goroutine at a time. Another goroutine
// may meanwhile read the request's body and set deadlines.
type stream struct {
	c       *conn
	req     http.Request
	url     url.URL
	headers pagi.Headers // of the request
	room    [8]pagi.Header
	body    body
	asked   bool // the client wants the connection to end with this response
	last    bool // it does
	keep    bool // it does not, and an HTTP/1.0 client must be told

	status  int // 0: no head was written
	header  http.Header
	noBody  bool  // HEAD, 204, 304
	chunked bool  // the body leaves in chunks
	left    int64 // how much body is to come; -1: not known
	ended   bool  // the response is complete
	broken  bool  // the connection is
}

// RequestHeaders implements engine.Stream.
func (x *stream) RequestHeaders() pagi.Headers { return x.headers }

// HeaderLines implements engine.Stream.
func (x *stream) HeaderLines() int { return len(x.headers) }

// RequestTrailers implements engine.Stream.
func (x *stream) RequestTrailers() pagi.Headers { return x.body.after }

// Addrs implements engine.Stream.
func (x *stream) Addrs() (client, server pagi.Addr) { return x.c.from, x.c.to }

// Header implements http.ResponseWriter.
func (x *stream) Header() http.Header {
	if x.header == nil {
		x.header = http.Header{}
	}
	return x.header
}

// WriteHeader implements http.ResponseWriter.
func (x *stream) WriteHeader(status int) {
	var headers pagi.Headers
	for _, name := range slices.Sorted(maps.Keys(x.header)) {
		for _, value := range x.header[name] {
			headers.Add(name, value)
		}
	}
	x.WriteHead(status, headers, false)
}

// WriteHead implements engine.Stream. The head leaves with the first bytes of
// the body, or with Flush.
func (x *stream) WriteHead(status int, headers pagi.Headers, _ bool) {
	if x.status != 0 {
		return
	}
	c := x.c
	c.headOut.Lock()
	c.headBegun = true
	expected, hasLeft := x.body.expected, c.hasLeft
	c.headOut.Unlock()
	if hasLeft {
		c.cancel(io.EOF)
	}
	x.status = status
	x.noBody = x.req.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified

	out := x.statusLine(c.buffer(), status)
	dated, declared, endless := false, false, false
	for i := range headers {
		h := &headers[i]
		switch h.Name {
		case "connection": // close, or keep-alive from an event stream that ends with its connection
			x.last, x.keep = true, h.Value == "keep-alive" && x.req.ProtoMinor > 0
			continue
		case "date":
			dated = true
		case "content-length":
			if n, err := strconv.ParseInt(h.Value, 10, 64); err == nil && n >= 0 {
				declared, x.left = true, n
			}
		}
		out = appendHeader(out, h)
	}
	if !dated {
		out = appendDate(out)
	}
	switch {
	case x.noBody:
		x.left = 0
	case declared:
	case x.req.ProtoMinor > 0:
		x.chunked = true
		out = append(out, "Transfer-Encoding: chunked\r\n"...)
	default: // the end of the connection ends it, RFC 9112 section 6.3
		x.last, x.keep, endless = true, false, true
	}
	// The rest of a long request body would have to be read first.
	if !x.body.isDone() && (expected || x.body.long.Load()) || c.isLast() {
		x.last, x.keep = true, false
	}
	switch {
	case x.keep:
		out = append(out, "Connection: keep-alive\r\n"...)
	case x.last && (x.req.ProtoMinor > 0 || endless): // an HTTP/1.0 client expects the end anyway
		out = append(out, "Connection: close\r\n"...)
	}
	c.out = append(out, "\r\n"...)
}

// WriteInformational implements engine.Stream: a response before the response
// (RFC 9110 section 15.2).
func (x *stream) WriteInformational(status int, headers pagi.Headers) error {
	if x.req.ProtoMinor == 0 {
		return nil
	}
	out := x.statusLine(x.c.buffer(), status)
	for i := range headers {
		out = appendHeader(out, &headers[i])
	}
	x.c.out = append(out, "\r\n"...)
	return x.FlushError()
}

// Write implements http.ResponseWriter.
func (x *stream) Write(p []byte) (int, error) {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	switch {
	case x.ended:
		return 0, http.ErrBodyNotAllowed
	case x.noBody:
		return len(p), nil
	case x.left >= 0 && int64(len(p)) > x.left:
		return 0, http.ErrContentLength
	case len(p) == 0:
		return 0, nil
	}
	if x.left >= 0 {
		x.left -= int64(len(p))
	}
	c := x.c
	end := ""
	if x.chunked {
		end = "\r\n"
		c.out = append(strconv.AppendInt(c.buffer(), int64(len(p)), 16), end...)
	}
	if err := x.send(p, end); err != nil {
		return 0, err
	}
	return len(p), nil
}

// send appends p and end to the bytes that wait to be written. It writes all of them where they are
// many.
func (x *stream) send(p []byte, end string) error {
	c := x.c
	if out := c.buffer(); len(out)+len(p)+len(end) <= cap(out) {
		c.out = append(append(out, p...), end...)
		return nil
	}
	if tcp, ok := c.net.(interface{ WriteBuffers(*net.Buffers) error }); ok {
		pieces := net.Buffers{c.out, p, []byte(end)}
		err := tcp.WriteBuffers(&pieces)
		c.sent()
		return x.note(err)
	}
	if err := x.FlushError(); err != nil {
		return err
	}
	if _, err := c.net.Write(p); err != nil {
		return x.note(err)
	}
	c.out = append(c.buffer(), end...)
	return nil
}

// note remembers that the connection cannot be used any more.
func (x *stream) note(err error) error {
	if err != nil {
		x.broken = true
	}
	return err
}

// FlushError writes the bytes that wait to be written.
func (x *stream) FlushError() error {
	c := x.c
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.net.Write(c.out)
	c.sent()
	return x.note(err)
}

// flushAhead is a FlushError that another write follows at once.
func (x *stream) flushAhead() error {
	ahead, ok := x.c.net.(interface{ WriteAhead([]byte) (int, error) })
	if !ok {
		return x.FlushError()
	}
	_, err := ahead.WriteAhead(x.c.out)
	x.c.sent()
	return x.note(err)
}

// Flush implements http.Flusher.
func (x *stream) Flush() { _ = x.FlushError() } // broken tells

// EndBody implements engine.Stream.
func (x *stream) EndBody() error {
	if x.chunked {
		x.c.out = append(x.c.buffer(), "0\r\n\r\n"...)
	}
	x.ended = true
	return x.FlushError()
}

// CloseWrite implements engine.Stream.
func (x *stream) CloseWrite() error {
	x.last = true
	if half, ok := x.c.net.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// WriteTrailers implements engine.Stream.
func (x *stream) WriteTrailers(headers pagi.Headers) error {
	if x.chunked {
		out := append(x.c.buffer(), "0\r\n"...)
		for i := range headers {
			out = appendHeader(out, &headers[i])
		}
		x.c.out = append(out, "\r\n"...)
	}
	x.ended = true
	return x.FlushError()
}

// Abort implements engine.Stream.
func (x *stream) Abort() { _ = x.c.net.Close() } // a read or write that runs then fails

// WakeRead implements engine.Stream.
func (x *stream) WakeRead() { _ = x.SetReadDeadline(past) }

// Left implements engine.Stream.
func (x *stream) Left() string {
	if errors.Is(context.Cause(&x.c.ctx), errBodyBroken) {
		return pagi.ReasonReadError
	}
	return pagi.ReasonClientClosed
}

// Over implements engine.Stream. Here the response is complete without the handler's return.
func (x *stream) Over() {}

// Sendfile implements engine.Stream.
func (x *stream) Sendfile() bool {
	_, ok := x.c.net.(io.ReaderFrom)
	return ok && x.c.tls == nil && !x.chunked
}

// ReadFrom implements io.ReaderFrom, by sendfile where the system can. r should have its bytes at
// hand: the head may wait for them, so that both leave in one packet.
func (x *stream) ReadFrom(r io.Reader) (int64, error) {
	to, ok := x.c.net.(io.ReaderFrom)
	if !ok || x.chunked || x.noBody {
		return io.Copy(struct{ io.Writer }{x}, r)
	}
	if err := x.flushAhead(); err != nil {
		return 0, err
	}
	n, err := to.ReadFrom(r)
	if x.left >= 0 {
		x.left -= n
	}
	if n > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err // some bytes have left, so the caller may go on
	}
	return n, x.note(err)
}

// LimitWrite implements engine.Stream.
func (x *stream) LimitWrite(d time.Duration) { _ = x.c.limitWrite(d) } // where it fails, so does the write

// http.ResponseController calls SetReadDeadline, SetWriteDeadline and EnableFullDuplex. The read
// deadline is that of the body.
func (x *stream) SetReadDeadline(t time.Time) error  { return x.c.watch.limitBody(x.c, t) }
func (x *stream) SetWriteDeadline(t time.Time) error { return x.c.setWriteDeadline(t) }

// EnableFullDuplex does nothing: this server never reads the body by itself before a response.
func (x *stream) EnableFullDuplex() error { return nil }

// Hijack implements http.Hijacker.
func (x *stream) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, ahead, err := x.TakeConn()
	if err != nil {
		return nil, nil, err
	}
	r := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(ahead), conn), bufferSize)
	if _, err := r.Peek(min(len(ahead), bufferSize)); err != nil { // from memory: cannot fail
		return nil, nil, errors.Join(err, errors.New("http1: what was read ahead is lost"))
	}
	return conn, bufio.NewReadWriter(r, bufio.NewWriter(conn)), nil
}

// TakeConn is Hijack without a bufio.ReadWriter. ahead holds the bytes that were read and not used.
// The connection lets its own buffers go.
func (x *stream) TakeConn() (conn net.Conn, ahead []byte, err error) {
	c := x.c
	if c.hijacked {
		return nil, nil, http.ErrHijacked
	}
	if x.status != 0 {
		if err := x.FlushError(); err != nil {
			return nil, nil, err
		}
	}
	c.watch.end(c)              // from here on nothing reads ahead or sets a read deadline
	_ = c.setReadDeadline(past) // a closed connection has already woken the reader of the body
	x.body.take()
	if err := c.net.SetDeadline(time.Time{}); err != nil {
		return nil, nil, err
	}
	c.hijacked = true
	ahead = slices.Clone(c.in[c.r:c.w])
	c.in, c.out, c.r, c.w = nil, nil, 0, 0
	return c.net, ahead, nil
}

// reset makes the end of an unfinished response a reset where the connection's end is what
// ends a response, so that the client can tell.
func (x *stream) reset() {
	if x.status == 0 || x.noBody || x.left >= 0 || x.req.ProtoMinor > 0 {
		return
	}
	if tcp, ok := x.c.net.(interface{ SetLinger(int) error }); ok {
		_ = tcp.SetLinger(0) // without it the close is an orderly one, no worse than before
	}
}

// finish completes the response after the handler has returned, and reports whether
// the connection can be used for another request.
func (x *stream) finish() bool {
	if x.status == 0 {
		x.WriteHead(http.StatusOK, pagi.Headers{{Name: "content-length", Value: "0"}}, true)
	}
	if !x.ended && !x.broken {
		_ = x.EndBody() // broken tells
	}
	return !x.broken && x.left <= 0 && !x.last && x.body.drain()
}

// sent lets the write buffer go, whose bytes have been written.
func (c *conn) sent() {
	freeBuffer(c.out)
	c.out = nil
}

// buffer returns the bytes that wait to be written, for the caller to append to.
func (c *conn) buffer() []byte {
	if c.out == nil {
		c.out = takeBuffer()[:0]
	}
	return c.out
}

// statusLine appends "HTTP/1.1 200 OK", with the version of the request.
func (x *stream) statusLine(out []byte, status int) []byte {
	if x.req.ProtoMinor == 0 {
		out = append(out, "HTTP/1.0 "...)
	} else {
		out = append(out, "HTTP/1.1 "...)
	}
	if status == http.StatusOK {
		return append(out, "200 OK\r\n"...)
	}
	out = strconv.AppendInt(out, int64(status), 10)
	out = append(out, ' ')
	text := http.StatusText(status)
	if text == "" {
		text = "status code " + strconv.Itoa(status)
	}
	return append(append(out, text...), "\r\n"...)
}

func appendHeader(out []byte, h *pagi.Header) []byte {
	out = headername.AppendCanonical(out, h.Name)
	out = append(out, ": "...)
	out = append(out, h.Value...)
	return append(out, "\r\n"...)
}

// date is the Date header for one second.
type date struct {
	second int64
	line   []byte
}

var today atomic.Pointer[date]

// appendDate appends the Date header (RFC 9110 section 6.6.1).
func appendDate(out []byte) []byte {
	now := time.Now()
	d := today.Load()
	if d == nil || d.second != now.Unix() {
		d = &date{now.Unix(), append(now.UTC().AppendFormat([]byte("Date: "), http.TimeFormat), "\r\n"...)}
		today.Store(d)
	}
	return append(out, d.line...)
}
