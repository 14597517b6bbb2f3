package engine

import (
	"time"

	"github.com/pagi-go/pagi-bridge/internal/tenure"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// The option of the command line that the log names where a limit ended a stream.
const optionSSEIdleTimeout = "--sse-idle-timeout"

// streamTimers are what an open stream has running.
type streamTimers struct {
	interval  time.Duration // of the keepalive; 0: none
	comment   []byte        // it sends, as it stands on the wire
	keepalive *time.Timer
	idle      *time.Timer
	touched   time.Time     // when the last piece was sent, where there is an idle limit
	quit      chan struct{} // closed to end the wait for the server's stop; nil: there is none
}

// begin starts what ends a stream from the server's side, and a keepalive that was asked for
// before the stream was open.
func (s *eventStream) begin() {
	h := s.x.h
	if t := &s.timers; t.interval > 0 {
		t.keepalive = time.AfterFunc(t.interval, s.beat)
	}
	if h.SSEIdleTimeout > 0 {
		s.touch()
		s.timers.idle = time.AfterFunc(h.SSEIdleTimeout, s.checkIdle)
	}
	if h.Stopping != nil || h.Replaced != nil {
		s.timers.quit = make(chan struct{})
		go s.awaitStop(s.timers.quit)
	}
}

func (s *eventStream) awaitStop(quit <-chan struct{}) {
	h := s.x.h
	var ended <-chan struct{} // nil until the application is replaced and the stream stays
	for replaced := h.Replaced.Begun(); ; {
		select {
		case <-h.Stopping:
		case <-ended:
		case <-replaced:
			if t := tenure.Of(s.x.scope.Stash); h.Replaced.Stay(t) {
				defer h.Replaced.Leave()
				ended, replaced = t.Ended(), nil
				continue
			}
		case <-quit:
			return
		}
		s.shut(pagi.ReasonServerShutdown)
		return
	}
}

// stop ends all that begin and keepAlive started.
func (s *eventStream) stop() {
	t := &s.timers
	t.interval = 0
	if t.keepalive != nil {
		t.keepalive.Stop()
	}
	if t.idle != nil {
		t.idle.Stop()
	}
	if t.quit != nil {
		close(t.quit)
		t.quit = nil
	}
}

func (s *eventStream) touch() {
	if s.x.h.SSEIdleTimeout > 0 {
		s.timers.touched = time.Now()
	}
}

// checkIdle ends a stream on which nothing was sent for too long. The timer is not
// reset by every event: when it fires it looks how long ago the last one was.
func (s *eventStream) checkIdle() {
	x, limit := s.x, s.x.h.SSEIdleTimeout
	x.mu.Lock()
	if s.state != streamOpen {
		x.mu.Unlock()
		return
	}
	left := limit - time.Since(s.timers.touched)
	if q := x.queue.Load(); q != nil && q.isWriting() {
		left = limit // not idle: the client is slow, which has a limit of its own
	}
	if left > 0 {
		s.timers.idle.Reset(left)
		x.mu.Unlock()
		return
	}
	x.mu.Unlock()
	x.h.logger().Info("event stream is idle", "option", optionSSEIdleTimeout, "limit", limit.String(),
		"path", x.r.URL.Path, "client", x.client())
	s.shut(pagi.ReasonIdleTimeout)
}

// keepAlive starts, changes or stops the sending of comments.
func (s *eventStream) keepAlive(e *pagi.SSEKeepalive) {
	t := &s.timers
	t.interval, t.comment = e.Interval, AppendSSEComment(nil, e.Comment)
	switch {
	case s.state == streamWaiting: // begin starts it
	case e.Interval == 0 && t.keepalive != nil:
		t.keepalive.Stop()
	case e.Interval == 0:
	case t.keepalive == nil:
		t.keepalive = time.AfterFunc(e.Interval, s.beat)
	default:
		t.keepalive.Reset(e.Interval)
	}
}

// beat sends a comment, unless earlier events still wait for a slow client.
func (s *eventStream) beat() {
	x, t := s.x, &s.timers
	x.mu.Lock()
	if x.closed || s.state != streamOpen || t.interval == 0 || x.end.isLost() {
		x.mu.Unlock()
		return
	}
	var rest func()
	q := x.queue.Load()
	if q == nil || !q.isWriting() {
		if lost := asLost(s.write(t.comment)); lost != nil {
			rest = x.end.beginDisconnect(x.goneReason(lost.reason))
		}
	}
	t.keepalive.Reset(t.interval)
	x.mu.Unlock()
	switch {
	case rest != nil:
		rest()
	case q != nil:
		q.meter.CallDue()
	}
}
