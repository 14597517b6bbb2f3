package response

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// ErrClosed is the error of writing to a Writer whose response has ended.
var ErrClosed = errors.New("response: the body has ended")

// writeBuffer is how many bytes a Writer collects before it sends them.
const writeBuffer = 16 << 10

// Stream returns a response whose body write writes piece by piece; contentType may be "". If write
// returns an error the response is cut off, so that the client can tell, and Send returns the
// error. When the client leaves, the Writer's methods return a *pagi.DisconnectError, and Send
// returns nil for that error.
func Stream(contentType string, write func(w *Writer) error) *Response {
	r := with("", stream(write))
	if contentType != "" {
		r.Header("content-type", contentType)
	}
	return r
}

// Writer writes the body of a Stream. Writes wait while the client is behind. Small ones are
// collected until there are 16 KiB; Flush sends them at once. It is for the goroutine that runs the
// Stream's function.
type Writer struct {
	ctx      context.Context
	to       *target
	room     []byte
	closed   bool
	closing  []func()
	trailers pagi.Headers
	discards bool // HEAD, 204, 304
}

// stream is a body that a function writes.
type stream func(w *Writer) error

func (write stream) send(ctx context.Context, to *target, status int, headers pagi.Headers) error {
	if status == http.StatusNoContent || status == http.StatusNotModified {
		headers.Del("content-length")
	}
	announced := to.scope.Type == pagi.TypeHTTP && headers.Has("trailer")
	if err := to.start(ctx, status, headers, announced); err != nil {
		return err
	}
	if to.scope.Type == pagi.TypeWebSocket && !to.denies() {
		return nil
	}
	w := &Writer{ctx: ctx, to: to, discards: !to.hasBody(status)}
	defer w.close()
	if !w.discards {
		if err := write(w); err != nil {
			var gone *pagi.DisconnectError
			if errors.As(err, &gone) {
				return nil
			}
			return err
		}
	}
	return w.finish(announced)
}

// Context returns the context of the exchange, which ends when the client leaves.
func (w *Writer) Context() context.Context { return w.ctx }

// Write implements io.Writer.
func (w *Writer) Write(p []byte) (int, error) {
	if err := w.check(); err != nil {
		return 0, err
	}
	if len(w.room)+len(p) < writeBuffer {
		w.room = append(w.room, p...)
		return len(p), nil
	}
	if err := w.empty(); err != nil {
		return 0, err
	}
	if len(p) < writeBuffer {
		w.room = append(w.room, p...)
		return len(p), nil
	}
	if err := w.to.piece(w.ctx, p, true); err != nil {
		return 0, err
	}
	return len(p), w.check()
}

// WriteString implements io.StringWriter.
func (w *Writer) WriteString(s string) (int, error) {
	if len(w.room)+len(s) >= writeBuffer {
		return w.Write([]byte(s))
	}
	if err := w.check(); err != nil {
		return 0, err
	}
	w.room = append(w.room, s...)
	return len(s), nil
}

// Flush sends what was written so far, and has the server write out what it holds where it can.
func (w *Writer) Flush() error {
	if err := w.check(); err != nil {
		return err
	}
	if err := w.empty(); err != nil {
		return err
	}
	if w.to.scope.Type == pagi.TypeHTTP && w.to.scope.HasExtension(pagi.ExtFullFlush) {
		return w.to.send(w.ctx, pagi.HTTPFullFlush{})
	}
	return nil
}

// Trailer adds a trailer field (RFC 9110 section 6.5). The response must have announced it by a
// header "trailer" when it was built.
func (w *Writer) Trailer(name, value string) error {
	h := pagi.Headers{{Name: name, Value: value}}
	if err := h.Validate("response"); err != nil {
		return err
	}
	w.trailers.Add(name, value)
	return nil
}

// OnClose registers a function that runs once, when the response has ended, in whatever way.
// Functions run in the order of registration.
func (w *Writer) OnClose(f func()) { w.closing = append(w.closing, f) }

// check says why nothing more can be written.
func (w *Writer) check() error {
	if w.closed {
		return ErrClosed
	}
	if c := w.to.scope.Connection; c != nil && !c.IsConnected() {
		return fmt.Errorf("response: %w", &pagi.DisconnectError{Reason: c.DisconnectReason()})
	}
	if w.ctx.Err() != nil {
		return fmt.Errorf("response: %w", context.Cause(w.ctx))
	}
	return nil
}

// empty sends the collected bytes.
func (w *Writer) empty() error {
	if len(w.room) == 0 {
		return nil
	}
	err := w.to.piece(w.ctx, w.room, true)
	w.room = w.room[:0] // the bytes are the sender's again when Send has returned
	if err != nil {
		return err
	}
	return w.check()
}

// finish ends the response.
func (w *Writer) finish(announced bool) error {
	w.closed = true
	if err := w.to.piece(w.ctx, w.room, false); err != nil || !announced {
		return err
	}
	return w.to.send(w.ctx, pagi.HTTPResponseTrailers{Headers: w.trailers})
}

func (w *Writer) close() {
	w.closed = true
	for _, f := range w.closing {
		f()
	}
}
