package ws

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// stream makes a link of an HTTP/2 stream. It lives as long as the handler that was called for it,
// and must not be used after that.
type stream struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	body io.ReadCloser

	mu     sync.Mutex
	closed bool
}

func newStream(w http.ResponseWriter, r *http.Request) *stream {
	return &stream{w: w, rc: http.NewResponseController(w), body: r.Body}
}

func (s *stream) Read(p []byte) (int, error) { return s.body.Read(p) }

// Write writes and flushes.
func (s *stream) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err == nil {
		err = s.rc.Flush()
	}
	return n, err
}

func (s *stream) SetReadDeadline(t time.Time) error  { return s.set(s.rc.SetReadDeadline, t) }
func (s *stream) SetWriteDeadline(t time.Time) error { return s.set(s.rc.SetWriteDeadline, t) }

func (s *stream) set(deadline func(time.Time) error, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return io.ErrClosedPipe
	}
	return deadline(t)
}

// Close wakes a read. It also wakes a write that waits for the client, by resetting the stream.
func (s *stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.body.Close()
}
