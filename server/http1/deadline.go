package http1

import (
	"sync"
	"time"
)

// past is a deadline that wakes whoever waits.
var past = time.Unix(1, 0)

// deadline is that of a connection's reads, or of its writes. It remembers what is in
// force, so that setting about the same again can be spared: what is in force may be
// early by a sixty-fourth of the time it was set for, and of the time now asked for.
type deadline struct {
	mu    sync.Mutex // a read, a write and a timer may set it at the same time
	at    time.Time
	slack time.Duration
}

// set makes the deadline t, which is d from now, by way of put; the zero t: none.
func (l *deadline) set(t time.Time, d time.Duration, put func(time.Time) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isNear(t, d) {
		return nil
	}
	l.at, l.slack = t, d/64
	return put(t)
}

// isNear reports whether what is in force will do.
func (l *deadline) isNear(t time.Time, d time.Duration) bool {
	if l.at.IsZero() || t.IsZero() {
		return l.at.IsZero() && t.IsZero()
	}
	ahead := t.Sub(l.at)
	return ahead >= 0 && ahead <= min(l.slack, d/64)
}

// limitRead sets the read deadline d from now; 0 or less: none.
func (c *conn) limitRead(d time.Duration) {
	// Where it cannot be set the connection is closed, and reading tells.
	_ = c.deadline.read.set(fromNow(d), d, c.net.SetReadDeadline)
}

// limitWrite sets the write deadline d from now; 0 or less: none.
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
