package nethttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// past is a deadline that wakes a waiting goroutine at once.
var past = time.Unix(1, 0)

// errLeft is returned by every method of a stream whose handler has returned, or is about to.
var errLeft = errors.New("the request's handler has returned")

// stream is an engine.Stream made of an http.ResponseWriter.
//
// The handler's goroutine waits until the response is over. Then it locks writing and reading,
// which waits for running calls, and returns. Later calls fail.
type stream struct {
	engine  *engine.Handler
	w       http.ResponseWriter
	rc      *http.ResponseController
	r       *http.Request
	headers pagi.Headers // the headers of the request

	over  chan struct{} // closed when the handler may return
	ended sync.Once     // closes over
	side  atomic.Int32  // bothRun, handlerLeft or runEnded

	// writing is held by a call that uses w for writing.
	writing sync.Mutex
	head    bool // WriteHead was called
	noBody  bool // HEAD, 204, 304
	framed  bool // the client notices if the response is cut off
	duplex  bool // net/http was told to leave the rest of the request's body alone
	closing bool // the client was told that nothing more comes

	// reading is held by a running Read of the body, and by a response that is written
	// whole; see settleBody.
	reading sync.Mutex
	body    body

	mu       sync.Mutex // guards what follows; held for moments only
	left     bool       // the handler is about to return
	aborted  bool
	reads    bool      // a Read of the body is running
	holding  bool      // the response holds reading
	overdue  time.Time // when the write deadline of an HTTP/2 stream passes; zero: there is none
	deadline bool      // the stream has set a write deadline
}

func newStream(h *engine.Handler, w http.ResponseWriter, r *http.Request) *stream {
	s := &stream{engine: h, w: w, rc: http.NewResponseController(w), r: r, over: make(chan struct{}), framed: true}
	s.headers = requestHeaders(r)
	s.body = body{s: s, from: r.Body, left: r.ContentLength}
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		s.body.done.Store(true)
	}
	return s
}

// request returns the request for the engine. Its body may be read from another goroutine than the
// handler's.
func (s *stream) request() *http.Request {
	r := s.r.WithContext(s.r.Context())
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &s.body
	}
	return r
}

// Unwrap returns the http.ResponseWriter.
func (s *stream) Unwrap() http.ResponseWriter { return s.w }

// RequestHeaders implements engine.Stream.
func (s *stream) RequestHeaders() pagi.Headers { return s.headers }

// HeaderLines implements engine.Stream. net/http has removed the host header.
func (s *stream) HeaderLines() int {
	n := 1
	for _, values := range s.r.Header {
		n += len(values)
	}
	return n
}

// RequestTrailers implements engine.Stream. They are sorted by name.
func (s *stream) RequestTrailers() (sent pagi.Headers) {
	for _, name := range slices.Sorted(maps.Keys(s.r.Trailer)) {
		for _, value := range s.r.Trailer[name] {
			sent.Add(name, value)
		}
	}
	return sent
}

// Addrs implements engine.Stream.
func (s *stream) Addrs() (client, server pagi.Addr) {
	if local, ok := s.r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		server = engine.AddrOf(local)
	}
	return engine.ParseAddr(s.r.RemoteAddr), server
}

// write calls f, which uses w for writing, unless the handler is about to return.
func (s *stream) write(f func() error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.isLeft() {
		return errLeft
	}
	err := f()
	if err != nil {
		s.letRead()
	}
	return err
}

func (s *stream) isLeft() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left
}

// WriteInformational implements engine.Stream.
func (s *stream) WriteInformational(status int, headers pagi.Headers) error {
	if !s.r.ProtoAtLeast(1, 1) { // RFC 9110 section 15.2
		return nil
	}
	return s.write(func() error {
		to := s.w.Header()
		preset := to.Clone()
		fillHeader(to, s.sendable(headers))
		if s.r.ProtoMajor > 1 { // it is about the last response, and not allowed in this one
			to.Del("Connection")
		}
		if s.r.ProtoMajor == 2 {
			// With this header net/http makes a copy of the headers, and leaves it out. Without the
			// copy net/http could read the map after WriteHeader has returned, while clear writes
			// to it.
			to.Set("Content-Length", "0")
		}
		s.w.WriteHeader(status)
		clear(to)
		maps.Copy(to, preset)
		s.forgetDeadline()
		return nil
	})
}

// WriteHead implements engine.Stream.
func (s *stream) WriteHead(status int, headers pagi.Headers, whole bool) {
	_ = s.write(func() error { // what follows fails, too
		s.head = true
		s.noBody = s.r.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
		s.framed = s.r.ProtoAtLeast(1, 1) || s.noBody || headers.Has("content-length")
		if s.r.ProtoMajor == 1 && !s.body.done.Load() {
			s.settleBody(whole)
		}
		to := s.w.Header()
		fillHeader(to, s.sendable(headers))
		if s.r.ProtoMajor > 2 { // net/http knows what it means in HTTP/2, where the host may have set it
			to.Del("Connection")
		}
		if _, typed := to["Content-Type"]; !typed {
			to["Content-Type"] = nil // keeps net/http from guessing one
		}
		s.w.WriteHeader(status)
		return nil
	})
}

// sendable returns headers without those that this version of HTTP does not allow. Headers about a
// connection are malformed in HTTP/2 and HTTP/3 (RFC 9113 section 8.2.2). HTTP/1.0 keeps no
// connection open after an event stream.
func (s *stream) sendable(headers pagi.Headers) pagi.Headers {
	drop := func(h pagi.Header) bool {
		switch {
		case s.r.ProtoMajor > 1:
			return h.Name == "connection" || h.Name == "keep-alive" || h.Name == "proxy-connection" || h.Name == "upgrade"
		case s.r.ProtoMinor == 0:
			return h.Name == "connection" && h.Value == "keep-alive"
		}
		return false
	}
	if !slices.ContainsFunc(headers, drop) {
		return headers
	}
	return slices.DeleteFunc(headers.Clone(), drop)
}

// settleBody decides what becomes of a request body that is not read to its end. By default
// net/http reads up to 256 KiB of it before it writes the head. That keeps the connection
// usable, so settleBody allows it for a whole response. A response that streams must not wait
// for it, nor one that is sent while a Receive reads: for these it sets full duplex.
func (s *stream) settleBody(whole bool) {
	if whole && s.reading.TryLock() {
		s.mu.Lock()
		s.holding = true
		s.mu.Unlock()
		if d := s.engine.BodyTimeout; d > 0 {
			_ = s.SetReadDeadline(time.Now().Add(d)) // unsupported: the host's stands
		}
		return
	}
	// A ResponseWriter without full duplex reads the body first.
	_ = s.rc.EnableFullDuplex()
	s.duplex = true
}

// letRead allows the body to be read again, which settleBody may have forbidden.
func (s *stream) letRead() {
	s.mu.Lock()
	holding := s.holding
	s.holding = false
	s.mu.Unlock()
	if holding {
		s.reading.Unlock()
	}
}

// Write implements io.Writer.
func (s *stream) Write(p []byte) (n int, err error) {
	err = s.write(func() error {
		n, err = s.w.Write(p)
		return err
	})
	return n, err
}

// ReadFrom implements io.ReaderFrom.
func (s *stream) ReadFrom(r io.Reader) (n int64, err error) {
	err = s.write(func() error {
		n, err = s.w.(io.ReaderFrom).ReadFrom(r)
		return err
	})
	return n, err
}

// Sendfile implements engine.Stream: ReadFrom ends in the kernel on a TCP connection of
// HTTP/1 without TLS.
func (s *stream) Sendfile() bool {
	if _, ok := s.w.(io.ReaderFrom); !ok || s.r.ProtoMajor != 1 || s.r.TLS != nil {
		return false
	}
	local, _ := s.r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return local != nil && local.Network() == "tcp"
}

// FlushError implements engine.Stream.
func (s *stream) FlushError() error { return s.write(s.flush) }

func (s *stream) flush() error {
	err := s.rc.Flush()
	switch {
	case errors.Is(err, http.ErrNotSupported):
	case err != nil && s.head && s.noBody: // it ended with its head: HTTP/2 may say that the stream is closed
	case err != nil:
		return err
	}
	s.forgetDeadline()
	s.letRead() // net/http has decided about the body when the head is out
	return nil
}

// EndBody implements engine.Stream. net/http ends the response when the handler returns.
func (s *stream) EndBody() error {
	return s.write(s.flush)
}

// TakeConn hijacks the connection of HTTP/1. ahead is the data that the server has read from it and
// not used.
func (s *stream) TakeConn() (conn net.Conn, ahead []byte, err error) {
	err = s.write(func() error {
		taken, buffered, err := s.rc.Hijack()
		if err != nil {
			return err
		}
		ahead, err = buffered.Reader.Peek(buffered.Reader.Buffered())
		conn = taken
		return errors.Join(err, conn.SetDeadline(time.Time{}))
	})
	return conn, ahead, err
}

// WriteTrailers implements engine.Stream. The trailers are sent when the handler returns.
func (s *stream) WriteTrailers(headers pagi.Headers) error {
	return s.write(func() error {
		to := s.w.Header()
		for _, t := range headers {
			to.Add(http.TrailerPrefix+headername.Canonical(t.Name), t.Value)
		}
		// Nothing reports an error when they leave. So this is where a client that has left
		// is noticed.
		if ctx := s.r.Context(); ctx.Err() != nil && !s.noBody {
			return fmt.Errorf("%w: %w", &pagi.DisconnectError{Reason: pagi.ReasonClientClosed}, context.Cause(ctx))
		}
		return nil
	})
}

// CloseWrite implements engine.Stream: the connection ends with the handler.
func (s *stream) CloseWrite() error {
	s.closing = true
	return nil
}

// LimitWrite implements engine.Stream.
func (s *stream) LimitWrite(d time.Duration) {
	if d <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := time.Now().Add(d)
	switch {
	case s.left:
		return
	case s.aborted:
		limit = past
	case s.r.ProtoMajor >= 2:
		s.overdue = limit
	}
	s.deadline = true
	// With a ResponseWriter without deadlines, the host server's own deadline applies.
	_ = s.rc.SetWriteDeadline(limit)
}

// forgetDeadline removes the write deadline of an HTTP/2 or HTTP/3 stream, which would otherwise
// end the stream between two writes. The deadline of a connection matters only during a write.
func (s *stream) forgetDeadline() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.deadline || s.aborted || s.r.ProtoMajor < 2 {
		return
	}
	if !s.isOverdue() {
		s.overdue = time.Time{}
	}
	s.deadline = false
	_ = s.rc.SetWriteDeadline(time.Time{})
}

// isOverdue reports whether a write deadline has passed, which ends an HTTP/2 stream even if the
// write has just succeeded. mu is held.
func (s *stream) isOverdue() bool { return !s.overdue.IsZero() && !time.Now().Before(s.overdue) }

// SetReadDeadline implements engine.Stream.
func (s *stream) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left {
		return errLeft
	}
	return s.rc.SetReadDeadline(t)
}

// WakeRead implements engine.Stream.
func (s *stream) WakeRead() {
	s.letRead()
	_ = s.SetReadDeadline(past) // where unsupported, the body's end wakes it
}

// Left implements engine.Stream.
func (s *stream) Left() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isOverdue() {
		return pagi.ReasonWriteTimeout
	}
	return pagi.ReasonClientClosed
}

// Over implements engine.Stream: it lets the handler return.
func (s *stream) Over() { s.end(false) }

// Abort implements engine.Stream: it makes the handler cut the connection.
func (s *stream) Abort() { s.end(true) }

// end lets the handler return, which cuts the connection if cut is set. The first call
// counts.
func (s *stream) end(cut bool) {
	s.ended.Do(func() {
		if cut {
			s.mu.Lock()
			s.aborted = true
			_ = s.rc.SetWriteDeadline(past) // a write that is running must end
			s.mu.Unlock()
		}
		close(s.over)
	})
}

// leave takes the request's body and the ResponseWriter away from the application, and
// reports whether the connection must be cut. The handler calls it when it is about to
// return.
func (s *stream) leave() (cut bool) {
	s.mu.Lock()
	s.left = true
	cut = s.aborted
	if s.reads {
		_ = s.rc.SetReadDeadline(past)
	}
	s.mu.Unlock()
	s.writing.Lock()
	defer s.writing.Unlock()
	s.letRead()
	s.reading.Lock()
	defer s.reading.Unlock()
	if !cut && s.r.ProtoMajor == 1 && (s.duplex && !s.body.done.Load() || s.closing) {
		closeAfterReply(s.w)
	}
	return cut
}

// cut ends a response so that the client notices that it is not complete. If only the connection's
// end marks the end of the response, cut resets the connection.
func (s *stream) cut() {
	if s.head && !s.framed {
		if conn, _, err := s.rc.Hijack(); err == nil {
			if tcp, ok := conn.(interface{ SetLinger(int) error }); ok {
				_ = tcp.SetLinger(0) // without it the close is an orderly one, no worse than before
			}
			_ = conn.Close()
			return
		}
	}
	panic(http.ErrAbortHandler)
}

// closeAfterReply makes net/http close the connection after a response whose head was already sent.
// It is used when net/http was told to leave the unread rest of the request body alone.
// http.MaxBytesReader has this effect when its limit is exceeded, and there is no other way to get
// it.
func closeAfterReply(w http.ResponseWriter) {
	var b [1]byte
	_, _ = http.MaxBytesReader(w, io.NopCloser(strings.NewReader("..")), 0).Read(b[:])
}

// body is the body of a request, until the handler returns.
type body struct {
	s    *stream
	from io.ReadCloser
	left int64       // bytes to come; less than 0: not known
	done atomic.Bool // it was read to its end
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	s := b.s
	s.reading.Lock()
	defer s.reading.Unlock()
	if !s.setReads(true) {
		return 0, errLeft
	}
	n, err := b.from.Read(p)
	s.setReads(false)
	if b.left > 0 {
		b.left -= int64(n)
	}
	if err == io.EOF || b.left == 0 {
		b.done.Store(true)
	}
	return n, b.explained(err)
}

// setReads notes that a Read begins or ends. It reports whether a Read may begin.
func (s *stream) setReads(running bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads = running && !s.left
	return !s.left
}

// explained turns an error of the body into one of engine.Stream. In HTTP/2 and HTTP/3 the body of
// a leaving client ends with errors of the implementation's own.
func (b *body) explained(err error) error {
	var tooLarge *http.MaxBytesError
	if err == nil || err == io.EOF || b.s.r.ProtoMajor < 2 || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &tooLarge) {
		return err
	}
	return fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
}

// Close implements io.Closer. It ends a running Read. A WebSocket over HTTP/2 is dropped in this
// way.
func (b *body) Close() error {
	if b.s.isLeft() {
		return errLeft
	}
	return b.from.Close()
}
