//go:build unix

package cgi

import (
	"errors"
	"io"
	"time"
)

// endTime is how long a response that is complete waits for its script's end before
// it is sent. One that works on has closed its output long before.
const endTime = 2 * time.Millisecond

// linger reads on for a moment before the beginning of a response, rest, is sent: to
// the end of the output, which ended reports, or until the script has run for
// attendAfter. Most scripts have ended by then. Their response is sent in one piece,
// with a length, and nobody is woken twice for it. What is read is appended to rest,
// which is part of a larger buffer. The error is that the script wrote more than it may.
func (r *run) linger(rest []byte) (all []byte, ended bool, err error) {
	r.mu.Lock()
	r.lingering = !r.attended && !isClosed(r.killed)
	lingering := r.lingering
	r.mu.Unlock()
	if !lingering {
		return rest, false, nil
	}
	for err == nil && len(rest) < cap(rest) {
		var n int
		n, err = r.take(rest[len(rest):cap(rest)])
		rest = rest[:len(rest)+n]
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lingering = false
	if r.attended {
		r.resetOutDeadline()
	}
	if tooMuch := (*limitError)(nil); errors.As(err, &tooMuch) {
		return nil, false, err
	}
	return rest, errors.Is(err, io.EOF), nil // another error comes again
}

// stopLingering is called with mu held.
func (r *run) stopLingering() {
	if r.lingering {
		r.setOutDeadline(time.Unix(1, 0))
	}
}

// resetOutDeadline gives a Read the time it has by the script's state. It is called
// with mu held.
func (r *run) resetOutDeadline() {
	switch {
	case isClosed(r.killed):
		r.setOutDeadline(time.Unix(1, 0))
	case isClosed(r.job.Done()):
		r.setOutDeadline(time.Now().Add(r.app.KillAfter))
	default:
		r.setOutDeadline(time.Time{})
	}
}
