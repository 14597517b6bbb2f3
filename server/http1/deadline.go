package http1

import (
	"sync"
	"time"
)

// past is a deadline that wakes every read or write that waits.
var past = time.Unix(1, 0)

// deadline is the deadline of a connection's reads, or of its writes. It remembers the deadline in
// force, to avoid setting about the same one again. The one in force may be early by a sixty-fourth
// of the time for which it was set, and of the time that is asked for now.
type deadline struct {
	mu    sync.Mutex // a read, a write and a timer may set it at the same time
	at    time.Time
	slack time.Duration
}

// set sets the deadline t, which is d from now, by calling put. The zero t means no deadline.
func (l *deadline) set(t time.Time, d time.Duration, put func(time.Time) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isNear(t, d) {
		return nil
	}
	l.at, l.slack = t, d/64
	return put(t)
}

// isNear reports whether the deadline in force is near enough to t.
func (l *deadline) isNear(t time.Time, d time.Duration) bool {
	if l.at.IsZero() || t.IsZero() {
		return l.at.IsZero() && t.IsZero()
	}
	ahead := t.Sub(l.at)
	return ahead >= 0 && ahead <= min(l.slack, d/64)
}

// limitRead sets the read deadline to d from now; 0 or less removes it.
func (c *conn) limitRead(d time.Duration) {
	// It cannot be set only where the connection is closed. The next read then fails.
	_ = c.deadline.read.set(fromNow(d), d, c.net.SetReadDeadline)
}

// limitWrite sets the write deadline to d from now; 0 or less removes it.
func (c *conn) limitWrite(d time.Duration) error {
	return c.deadline.write.set(fromNow(d), d, c.net.SetWriteDeadline)
}

func (c *conn) setReadDeadline(t time.Time) error {
	return c.deadline.read.set(t, until(t), c.net.SetReadDeadline)
}

func (c *conn) setWriteDeadline(t time.Time) error {
	return c.deadline.write.set(t, until(t), c.net.SetWriteDeadline)
}

func fromNow(d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}

func until(t time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return time.Until(t)
}
