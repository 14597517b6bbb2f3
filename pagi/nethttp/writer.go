package nethttp

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// writerBuffer is how many bytes of a body are held back, so that a short response is sent as one
// event with a content-length. net/http uses the same size.
const writerBuffer = 2048

// eventWriter is the http.ResponseWriter of App. Like net/http's it is not safe for concurrent use,
// with one exception: calls after the handler has returned have no effect.
type eventWriter struct {
	mu    sync.Mutex // held by each method, and while the response is finished
	ctx   context.Context
	scope *pagi.Scope
	send  pagi.Send

	header   http.Header
	status   int         // 0: WriteHeader was not called
	snapshot http.Header // header as of WriteHeader
	trailers []string    // declared by a Trailer header, canonical
	length   int64       // declared content-length; -1: none
	written  int64
	buf      []byte // bytes of the body that are not sent yet; never used for another request
	started  bool   // http.response.start was sent, with trailers announced if possible
	chunked  bool   // trailers were announced
	complete bool   // the last body event was sent
	err      error
}

func newEventWriter(ctx context.Context, scope *pagi.Scope, send pagi.Send) *eventWriter {
	return &eventWriter{
		ctx: ctx, scope: scope, send: send,
		header: http.Header{}, length: -1,
	}
}

// end is called when the handler has returned and its response is finished, or when the handler has
// panicked. Later calls fail, and Header returns a map that belongs to no response.
func (w *eventWriter) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.endLocked()
}

func (w *eventWriter) endLocked() {
	w.err = http.ErrHandlerTimeout
	w.header, w.buf = http.Header{}, nil
}

// Header returns the header map, as http.ResponseWriter demands.
func (w *eventWriter) Header() http.Header {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.header
}

// WriteHeader stores the status. It sends 102 to 199 at once if the server supports interim
// responses.
func (w *eventWriter) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writeHeader(status)
}

func (w *eventWriter) writeHeader(status int) {
	switch {
	case w.status != 0 || w.err != nil:
		return
	case status >= 100 && status <= 199:
		if status >= 102 && w.scope.HasExtension(pagi.ExtInformational) {
			w.keep(w.send(w.ctx, pagi.HTTPResponseInformational{Status: status, Headers: eventHeaders(w.header)}))
		}
		return
	}
	w.status = status
	w.snapshot = w.header.Clone()
	if v := w.snapshot.Get("Content-Length"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			w.snapshot.Del("Content-Length") // net/http drops it, too
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

// keep stores the first error of a Send.
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
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.write(p)
}

func (w *eventWriter) write(p []byte) (int, error) {
	if w.status == 0 {
		w.writeHeader(http.StatusOK)
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
	if len(w.buf)+len(p) <= writerBuffer {
		w.buf = append(w.buf, p...)
		return len(p), nil
	}
	if err := w.sendBuffered(); err != nil {
		return 0, err
	}
	if len(p) < writerBuffer {
		w.buf = append(w.buf, p...)
		return len(p), nil
	}
	w.start(p)
	return len(p), w.keep(w.send(w.ctx, pagi.HTTPResponseBody{Body: p, More: true}))
}

// sendBuffered sends the bytes that are held back, if any.
func (w *eventWriter) sendBuffered() error {
	if len(w.buf) == 0 {
		return w.err
	}
	w.start(w.buf)
	err := w.keep(w.send(w.ctx, pagi.HTTPResponseBody{Body: w.buf, More: true}))
	w.buf = w.buf[:0]
	return err
}

// start sends http.response.start. first are the first bytes of the body, from which it guesses a
// missing content-type.
func (w *eventWriter) start(first []byte) {
	if w.started || w.err != nil {
		return
	}
	w.started = true
	_, typed := w.snapshot["Content-Type"]
	if !typed && len(first) > 0 && w.bodyAllowed() && w.snapshot.Get("Content-Encoding") == "" {
		w.snapshot.Set("Content-Type", http.DetectContentType(first))
	}
	// A response without a length is chunked and may end with undeclared trailers
	// (http.TrailerPrefix).
	w.chunked = len(w.trailers) > 0 || w.length < 0 && !w.complete && w.bodyAllowed()
	w.keep(w.send(w.ctx, pagi.HTTPResponseStart{Status: w.status, Headers: eventHeaders(w.snapshot), Trailers: w.chunked}))
}

// Flush implements http.Flusher.
func (w *eventWriter) Flush() { _ = w.FlushError() } // an error stays for the next Write

// FlushError is what http.ResponseController's Flush calls.
func (w *eventWriter) FlushError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status == 0 {
		w.writeHeader(http.StatusOK)
	}
	if w.complete || len(w.buf) > 0 || w.started {
		return w.sendBuffered()
	}
	w.start(nil)
	if w.err != nil {
		return w.err
	}
	return w.keep(w.send(w.ctx, pagi.HTTPResponseBody{More: true}))
}

// EnableFullDuplex exists for http.ResponseController. PAGI always allows reading while writing.
func (w *eventWriter) EnableFullDuplex() error { return nil }

// ReadFrom implements io.ReaderFrom. It sends an open file that is the whole rest of the response
// as a file event.
func (w *eventWriter) ReadFrom(src io.Reader) (int64, error) {
	n, done, err := w.sendWhole(src)
	if !done {
		return io.Copy(struct{ io.Writer }{w}, src)
	}
	return n, err
}

// sendWhole sends src as a file event if possible; done says that it did.
func (w *eventWriter) sendWhole(src io.Reader) (sent int64, done bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status == 0 {
		w.writeHeader(http.StatusOK)
	}
	f, n := w.wholeFile(src)
	if f == nil {
		return 0, false, nil
	}
	sent, err = w.sendFile(src, f, n)
	return sent, true, err
}

func (w *eventWriter) sendFile(src io.Reader, f *os.File, n int64) (int64, error) {
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
	if err := w.keep(w.send(w.ctx, pagi.HTTPResponseBody{FH: f, Offset: at, Length: n})); err != nil {
		return 0, err
	}
	w.written += n
	if l, ok := src.(*io.LimitedReader); ok {
		l.N -= n
	}
	return n, nil
}

// wholeFile returns the regular file behind src and how many of its bytes to send, if these are
// exactly the rest of the declared content-length.
func (w *eventWriter) wholeFile(src io.Reader) (*os.File, int64) {
	left := int64(-1)
	if l, ok := src.(*io.LimitedReader); ok {
		src, left = l.R, l.N
	}
	f, ok := src.(*os.File)
	if !ok || w.length < 0 || w.err != nil || w.complete || w.scope.Method == http.MethodHead {
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

// finish sends the rest of the response after the handler has returned.
func (w *eventWriter) finish() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.endLocked()
	if w.status == 0 {
		w.writeHeader(http.StatusOK)
	}
	if w.err == nil && !w.complete {
		w.finishBody()
	}
	if w.err == nil && w.chunked {
		w.keep(w.send(w.ctx, pagi.HTTPResponseTrailers{Headers: w.trailerHeaders()}))
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
		w.start(w.buf) // announces trailers
	}
	w.complete = true
	w.start(w.buf)
	if w.err == nil {
		w.keep(w.send(w.ctx, pagi.HTTPResponseBody{Body: w.buf}))
	}
}

// trailerHeaders collects the trailers from the header map.
func (w *eventWriter) trailerHeaders() pagi.Headers {
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
