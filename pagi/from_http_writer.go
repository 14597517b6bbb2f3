package pagi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
)

// writerBuffer is how much of a body is held back, so that a short response
// leaves as one event and gets a content-length. It is net/http's own figure.
const writerBuffer = 2048

var writerBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, writerBuffer)
	return &b
}}

// eventWriter is the http.ResponseWriter of FromHTTP. Like net/http's it is not
// safe for concurrent use.
type eventWriter struct {
	ctx   context.Context
	scope *Scope
	send  Send

	header   http.Header
	status   int         // 0: WriteHeader was not called
	snapshot http.Header // header as of WriteHeader
	trailers []string    // declared by a Trailer header, canonical
	length   int64       // declared content-length; -1: none
	written  int64
	buf      *[]byte
	started  bool // http.response.start was sent, announcing trailers if it could
	chunked  bool // and did announce them
	complete bool // the last body event was sent
	err      error
}

func newEventWriter(ctx context.Context, scope *Scope, send Send) *eventWriter {
	return &eventWriter{
		ctx: ctx, scope: scope, send: send,
		header: http.Header{}, length: -1,
		buf: writerBuffers.Get().(*[]byte),
	}
}

func (w *eventWriter) release() {
	*w.buf = (*w.buf)[:0]
	writerBuffers.Put(w.buf)
	w.buf = new([]byte) // for a handler that writes after its return
	w.err = http.ErrHandlerTimeout
}

// Header returns the header map, as http.ResponseWriter demands.
func (w *eventWriter) Header() http.Header { return w.header }

// WriteHeader notes the status; 102 to 199 are sent at once where the server
// offers it.
func (w *eventWriter) WriteHeader(status int) {
	switch {
	case w.status != 0 || w.err != nil:
		return
	case status >= 100 && status <= 199:
		if status >= 102 && w.scope.HasExtension(ExtInformational) {
			w.keep(w.send(w.ctx, HTTPResponseInformational{Status: status, Headers: eventHeaders(w.header)}))
		}
		return
	}
	w.status = status
	w.snapshot = w.header.Clone()
	if v := w.snapshot.Get("Content-Length"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			w.snapshot.Del("Content-Length") // net/http drops it likewise
		} else {
			w.length = n
		}
	}
	for _, v := range w.snapshot["Trailer"] {
		for name := range strings.SplitSeq(v, ",") {
			w.trailers = append(w.trailers, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
}

// keep remembers the first error of a Send.
func (w *eventWriter) keep(err error) error {
	if w.err == nil {
		w.err = err
	}
	return err
}

// bodyAllowed reports whether the response may have a body.
func (w *eventWriter) bodyAllowed() bool {
	return w.status != http.StatusNoContent && w.status != http.StatusNotModified
}

// Write implements http.ResponseWriter.
func (w *eventWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.err != nil:
		return 0, w.err
	case len(p) == 0:
		return 0, nil
	case !w.bodyAllowed():
		return 0, http.ErrBodyNotAllowed
	case w.length >= 0 && w.written+int64(len(p)) > w.length, w.complete:
		return 0, http.ErrContentLength
	}
	w.written += int64(len(p))
	if len(*w.buf)+len(p) <= cap(*w.buf) {
		*w.buf = append(*w.buf, p...)
		return len(p), nil
	}
	if err := w.sendBuffered(); err != nil {
		return 0, err
	}
	if len(p) < cap(*w.buf) {
		*w.buf = append(*w.buf, p...)
		return len(p), nil
	}
	w.start(p)
	return len(p), w.keep(w.send(w.ctx, HTTPResponseBody{Body: p, More: true}))
}

// sendBuffered sends what is held back, if anything.
func (w *eventWriter) sendBuffered() error {
	if len(*w.buf) == 0 {
		return w.err
	}
	w.start(*w.buf)
	err := w.keep(w.send(w.ctx, HTTPResponseBody{Body: *w.buf, More: true}))
	*w.buf = (*w.buf)[:0]
	return err
}

// start sends http.response.start. first are the body's first bytes, by which a
// missing content-type is guessed.
func (w *eventWriter) start(first []byte) {
	if w.started || w.err != nil {
		return
	}
	w.started = true
	_, typed := w.snapshot["Content-Type"]
	if !typed && len(first) > 0 && w.bodyAllowed() && w.snapshot.Get("Content-Encoding") == "" {
		w.snapshot.Set("Content-Type", http.DetectContentType(first))
	}
	// A response without a length is chunked and may end in trailers that nobody
	// has declared (http.TrailerPrefix).
	w.chunked = len(w.trailers) > 0 || w.length < 0 && !w.complete && w.bodyAllowed()
	w.keep(w.send(w.ctx, HTTPResponseStart{Status: w.status, Headers: eventHeaders(w.snapshot), Trailers: w.chunked}))
}

// Flush implements http.Flusher.
func (w *eventWriter) Flush() { _ = w.FlushError() } // an error stays for the next Write

// FlushError is what http.ResponseController's Flush calls.
func (w *eventWriter) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.complete || len(*w.buf) > 0 || w.started {
		return w.sendBuffered()
	}
	w.start(nil)
	if w.err != nil {
		return w.err
	}
	return w.keep(w.send(w.ctx, HTTPResponseBody{More: true}))
}

// EnableFullDuplex exists for http.ResponseController; reading while writing is
// what PAGI does anyway.
func (w *eventWriter) EnableFullDuplex() error { return nil }

// ReadFrom implements io.ReaderFrom: an open file that is all the response still
// lacks goes as a file event.
func (w *eventWriter) ReadFrom(src io.Reader) (int64, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	f, n := w.wholeFile(src)
	if f == nil {
		return io.Copy(struct{ io.Writer }{w}, src)
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	if err := w.sendBuffered(); err != nil {
		return 0, err
	}
	w.start(nil)
	if w.err != nil {
		return 0, w.err
	}
	w.complete = true
	if err := w.keep(w.send(w.ctx, HTTPResponseBody{FH: f, Offset: at, Length: n})); err != nil {
		return 0, err
	}
	w.written += n
	if l, ok := src.(*io.LimitedReader); ok {
		l.N -= n
	}
	return n, nil
}

// wholeFile returns the regular file behind src and how many bytes of it are
// wanted, if they are exactly what is missing from the declared content-length.
func (w *eventWriter) wholeFile(src io.Reader) (*os.File, int64) {
	left := int64(-1)
	if l, ok := src.(*io.LimitedReader); ok {
		src, left = l.R, l.N
	}
	f, ok := src.(*os.File)
	if !ok || w.length < 0 || w.err != nil || w.complete || w.scope.Method == http.MethodHead || w.scope.Type == TypeSSE {
		return nil, 0
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, 0
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, 0
	}
	n := info.Size() - at
	if left >= 0 {
		n = min(n, left)
	}
	if n <= 0 || w.written+n != w.length {
		return nil, 0
	}
	return f, n
}

// finish sends what the handler left to be sent.
func (w *eventWriter) finish() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.err == nil && !w.complete {
		w.finishBody()
	}
	if w.err == nil && w.chunked {
		w.keep(w.send(w.ctx, HTTPResponseTrailers{Headers: w.trailerHeaders()}))
	}
	if w.err != nil {
		return w.err
	}
	if w.length >= 0 && w.written < w.length && w.bodyAllowed() && w.scope.Method != http.MethodHead {
		return errors.New("handler wrote less than its content-length")
	}
	return nil
}

func (w *eventWriter) finishBody() {
	undeclared := false
	for key := range w.header {
		undeclared = undeclared || strings.HasPrefix(key, http.TrailerPrefix)
	}
	if undeclared && !w.started && w.length < 0 && w.bodyAllowed() {
		w.start(*w.buf) // announces trailers
	}
	w.complete = true
	w.start(*w.buf)
	if w.err == nil {
		w.keep(w.send(w.ctx, HTTPResponseBody{Body: *w.buf}))
	}
}

// trailerHeaders collects the trailers from the header map.
func (w *eventWriter) trailerHeaders() Headers {
	trailers := http.Header{}
	for _, key := range w.trailers {
		if values, ok := w.header[key]; ok {
			trailers[key] = values
		}
	}
	for key, values := range w.header {
		if name, ok := strings.CutPrefix(key, http.TrailerPrefix); ok {
			trailers[http.CanonicalHeaderKey(name)] = values
		}
	}
	return eventHeaders(trailers)
}
