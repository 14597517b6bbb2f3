package engine

import (
	"errors"
	"os"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
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
		n, err := x.stream.Write(piece)
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
	var gone *pagi.DisconnectError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &connectionLost{pagi.ReasonWriteTimeout, err}
	case errors.As(err, &gone): // the stream knows
		return &connectionLost{gone.Reason, err}
	}
	return &connectionLost{pagi.ReasonWriteError, err}
}

// setWriteDeadline gives the next write its time, unless it has it already.
func (x *exchange) setWriteDeadline() {
	if x.armed {
		return
	}
	d := x.h.writeLimit()
	x.armed = d > 0
	x.stream.LimitWrite(max(0, d))
}

// flush sends what the stream has buffered.
func (x *exchange) flush() error {
	err := x.stream.FlushError()
	if err != nil {
		return writeLost(err)
	}
	x.armed = false
	return nil
}

// writeLimit is how long one write may take.
func (h *Handler) writeLimit() time.Duration {
	if h.RequestTimeout > 0 && (h.WriteTimeout <= 0 || h.RequestTimeout < h.WriteTimeout) {
		return h.RequestTimeout
	}
	return h.WriteTimeout
}
