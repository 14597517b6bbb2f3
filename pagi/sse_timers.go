package pagi

import (
	"context"
	"errors"
	"time"
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
	uncut     func() bool   // ends awaitCut
}

// begin starts what ends a stream from the server's side.
func (s *eventStream) begin() {
	h := s.x.h
	if h.SSEIdleTimeout > 0 {
		s.touch()
		s.timers.idle = time.AfterFunc(h.SSEIdleTimeout, s.checkIdle)
	}
	if h.Stopping != nil {
		s.timers.quit = make(chan struct{})
		go s.awaitStop(s.timers.quit)
	}
}

func (s *eventStream) awaitStop(quit <-chan struct{}) {
	select {
	case <-s.x.h.Stopping:
		s.shut(ReasonServerShutdown)
	case <-quit:
	}
}

// awaitCut lets the application be cut that works on after its sse.close: its client's
// leaving, after which nothing else is to be learned from the request, is none of its
// business.
func (s *eventStream) awaitCut() {
	if base := s.x.h.Base; base != nil {
		s.timers.uncut = context.AfterFunc(base, func() {
			reason := ReasonServerShutdown
			var d *DisconnectError
			if errors.As(context.Cause(base), &d) {
				reason = d.Reason
			}
			s.x.disconnect(reason)
		})
	}
}

// stop ends all that begin, keepAlive and awaitCut started.
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
	if t.uncut != nil {
		t.uncut()
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
		"path", x.r.URL.Path, "client", x.r.RemoteAddr)
	s.shut(ReasonIdleTimeout)
}

// keepAlive starts, changes or stops the sending of comments.
func (s *eventStream) keepAlive(e *SSEKeepalive) {
	t := &s.timers
	t.interval, t.comment = e.Interval, AppendSSEComment(nil, e.Comment)
	switch {
	case e.Interval == 0 && t.keepalive != nil:
		t.keepalive.Stop()
	case e.Interval == 0:
	case t.keepalive == nil:
		t.keepalive = time.AfterFunc(e.Interval, s.beat)
	default:
		t.keepalive.Reset(e.Interval)
	}
}

// beat sends a comment. Where the client has yet to take what was sent before it is
// spared.
func (s *eventStream) beat() {
	x, t := s.x, &s.timers
	x.mu.Lock()
	if x.closed || s.state != streamOpen || t.interval == 0 || x.disconnected() {
		x.mu.Unlock()
		return
	}
	var lost *connectionLost
	q := x.queue.Load()
	if q == nil || !q.isWriting() {
		lost = asLost(s.write(t.comment))
	}
	t.keepalive.Reset(t.interval)
	x.mu.Unlock()
	switch {
	case lost != nil:
		x.disconnect(x.goneReason(lost.reason))
	case q != nil:
		q.meter.call()
	}
}
