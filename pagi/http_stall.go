package pagi

import (
	"net/http"
	"time"
)

// touch notes that something was read from or written to the client.
func (x *exchange) touch() {
	if x.h.RequestTimeout > 0 {
		x.touched.Store(time.Now().UnixNano())
	}
}

// watchStall starts the timer of RequestTimeout. It is not reset by every read
// and write: when it fires it looks how long ago the last one was.
func (x *exchange) watchStall() {
	x.touch()
	x.endMu.Lock()
	x.stall = time.AfterFunc(x.h.RequestTimeout, x.checkStall)
	x.endMu.Unlock()
}

// rearm makes the timer fire again after d.
func (x *exchange) rearm(d time.Duration) {
	x.endMu.Lock() // it may fire before watchStall has stored it
	x.stall.Reset(d)
	x.endMu.Unlock()
}

func (x *exchange) checkStall() {
	quiet := time.Since(time.Unix(0, x.touched.Load()))
	if left := x.h.RequestTimeout - quiet; left > 0 {
		x.rearm(left)
		return
	}
	if !x.mu.TryLock() { // a Send waits for the client, with a deadline of its own
		x.rearm(x.h.RequestTimeout)
		return
	}
	if q := x.queue.Load(); q != nil && q.isWriting() { // so does this
		x.mu.Unlock()
		x.rearm(x.h.RequestTimeout)
		return
	}
	x.giveUpLocked(reasonRequestTimeout, "--request-timeout", x.h.RequestTimeout)
}

// limitTime starts the timer of MaxRequestTime. stop must be called before the handler
// returns: it waits for what the timer has begun.
func (x *exchange) limitTime() (stop func()) {
	ended := make(chan struct{})
	timer := time.AfterFunc(x.h.MaxRequestTime, func() {
		defer close(ended)
		const option = "--max-request-time"
		if x.mu.TryLock() {
			x.giveUpLocked(reasonRequestTime, option, x.h.MaxRequestTime)
			return
		}
		x.logTimedOut(option, x.h.MaxRequestTime)
		x.disconnect(reasonRequestTime)
		for !x.mu.TryLock() { // a Send waits for the client: it does not any more
			_ = x.rc.SetWriteDeadline(time.Unix(1, 0))
			time.Sleep(time.Millisecond)
		}
		x.mu.Unlock()
	})
	return func() {
		if !timer.Stop() {
			<-ended
		}
	}
}

// giveUpLocked ends a request that has taken too long, and unlocks mu. What belongs to
// the handler is used before that.
func (x *exchange) giveUpLocked(reason, option string, limit time.Duration) {
	status := http.StatusGatewayTimeout
	if x.reading.Load() {
		reason, status = ReasonClientTimeout, http.StatusRequestTimeout
	}
	if x.closed || x.phase == phaseComplete || x.sse != nil && x.sse.state == streamOpen {
		x.mu.Unlock()
		return
	}
	x.logTimedOut(option, limit)
	answered := x.phase <= phaseHeld
	if answered {
		x.answer(status, "", nil, true)
	} else if conn := x.takeOver(); conn != nil {
		conn.Close()
	} else {
		_ = x.rc.SetWriteDeadline(time.Unix(1, 0)) // resets an HTTP/2 stream
	}
	x.mu.Unlock()
	x.disconnect(reason)
	if answered {
		x.tell()
	}
}

func (x *exchange) logTimedOut(option string, limit time.Duration) {
	x.h.logger().Error("request timed out", "option", option, "limit", limit.String(),
		"method", x.r.Method, "path", x.r.URL.Path, "client", x.r.RemoteAddr)
}
