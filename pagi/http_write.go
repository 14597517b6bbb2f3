package pagi

import (
	"errors"
	"net/http"
	"os"
	"time"
)

// writePiece is how much of a body is written under one write deadline.
const writePiece = 64 << 10

// connectionLost is the error of a write after which nothing more can be sent.
// With reason server_error it is the application's fault, and err is for it.
type connectionLost struct {
	reason string
	err    error
}

func (e *connectionLost) Error() string { return e.reason + ": " + e.err.Error() }

// asLost returns the connectionLost in err, nil where there is none.
func asLost(err error) *connectionLost {
	if err == nil {
		return nil
	}
	var lost *connectionLost
	errors.As(err, &lost)
	return lost
}

// write writes a piece of the body and counts it.
func (x *exchange) write(p []byte) error {
	if x.noBody {
		return nil
	}
	for len(p) > 0 {
		piece := p
		if x.h.writeLimit() > 0 {
			piece = p[:min(len(p), writePiece)]
		}
		x.setWriteDeadline()
		n, err := x.w.Write(piece)
		x.armed = false
		x.sent += int64(n)
		if err != nil {
			return writeLost(err)
		}
		x.touch()
		p = p[n:]
	}
	return nil
}

func writeLost(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &connectionLost{ReasonWriteTimeout, err}
	}
	return &connectionLost{ReasonWriteError, err}
}

// setWriteDeadline gives the next write its time, unless it has it already.
func (x *exchange) setWriteDeadline() {
	if x.armed {
		return
	}
	d := x.h.writeLimit()
	x.armed = d > 0
	if x.stream != nil {
		_ = x.stream.LimitWrite(max(0, d)) // where it fails, so does the write
		return
	}
	if d <= 0 {
		return
	}
	limit := time.Now().Add(d)
	if x.r.ProtoMajor >= 2 {
		x.writeLimit.Store(limit.UnixNano())
	}
	// A ResponseWriter without deadlines leaves the host server's in force.
	_ = x.rc.SetWriteDeadline(limit)
	if x.conn.ended.Load() { // cutOff may have set one just before
		_ = x.rc.SetWriteDeadline(past)
	}
}

// flush sends what the ResponseWriter has buffered.
func (x *exchange) flush() error {
	err := x.rc.Flush()
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return writeLost(err)
	}
	x.disarm()
	return nil
}

// writeLimit is how long one write may take.
func (h *HTTPHandler) writeLimit() time.Duration {
	if h.RequestTimeout > 0 && (h.WriteTimeout <= 0 || h.RequestTimeout < h.WriteTimeout) {
		return h.RequestTimeout
	}
	return h.WriteTimeout
}

// disarm takes an HTTP/2 stream's write deadline back, which would otherwise end
// the stream between two events; a connection's is only looked at by a write.
func (x *exchange) disarm() {
	x.armed = false
	if x.r.ProtoMajor >= 2 && x.h.writeLimit() > 0 {
		if !x.isOverdue() {
			x.writeLimit.Store(0)
		}
		_ = x.rc.SetWriteDeadline(time.Time{})
	}
}

// isOverdue reports whether a write deadline has passed, which ends an HTTP/2 stream
// even when the write has just come to its end.
func (x *exchange) isOverdue() bool {
	limit := x.writeLimit.Load()
	return limit != 0 && time.Now().UnixNano() >= limit
}
