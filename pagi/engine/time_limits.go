package engine

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// timeLimits are the timers of RequestTimeout and MaxRequestTime. A timer that is stopped
// may be running, so they use what belongs to the handler only with mu held and over
// not set.
type timeLimits struct {
	mu    sync.Mutex
	over  bool        // the handler is about to return
	stall *time.Timer // of RequestTimeout; nil: there is none
	whole *time.Timer // of MaxRequestTime; nil: there is none
	// events says that the response is an event stream, which an application has made itself in an
	// http scope. The limits do not end it once it has begun.
	events atomic.Bool
}

// limitTime starts what limits the request's time. end must be called before the handler
// returns.
func (x *exchange) limitTime() *timeLimits {
	l := &timeLimits{}
	x.limits = l
	l.mu.Lock() // a timer may fire before it is stored
	defer l.mu.Unlock()
	if d := x.h.RequestTimeout; d > 0 {
		x.touch()
		l.stall = time.AfterFunc(d, x.checkStall)
	}
	if d := x.h.MaxRequestTime; d > 0 && x.scope.Type == pagi.TypeHTTP {
		l.whole = time.AfterFunc(d, x.checkTime)
	}
	return l
}

// end stops the timers, and waits for one whose function uses the stream.
func (l *timeLimits) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	for _, timer := range []*time.Timer{l.stall, l.whole} {
		if timer != nil {
			timer.Stop()
		}
	}
}

// touch notes that something was read from or written to the client.
func (x *exchange) touch() {
	if x.h.RequestTimeout > 0 {
		x.touched.Store(time.Now().UnixNano())
	}
}

// checkStall is the timer's of RequestTimeout. That is not reset by every read and write:
// when it fires it looks how long ago the last one was.
func (x *exchange) checkStall() {
	const option = "--request-timeout"
	l, limit := x.limits, x.h.RequestTimeout
	l.mu.Lock()
	if l.over {
		l.mu.Unlock()
		return
	}
	quiet, again := time.Since(time.Unix(0, x.touched.Load())), limit
	var rest func()
	switch {
	case quiet < limit:
		again = limit - quiet
	case !x.mu.TryLock():
		// A Send waits for the client, with a deadline of its own; or, when that must
		// have passed, for a handle of the application's.
		if x.sse.Load() == nil && !l.events.Load() && quiet >= 2*limit {
			again, rest = 0, x.cutShort(reasonRequestTimeout, option, limit)
		}
	default:
		if q := x.queue.Load(); q != nil && q.isWriting() { // so does this
			x.mu.Unlock()
			break
		}
		again, rest = 0, x.giveUpLocked(reasonRequestTimeout, option, limit)
	}
	if again > 0 {
		l.stall.Reset(again)
	}
	l.mu.Unlock()
	if rest != nil {
		rest()
	}
}

// checkTime is the timer's of MaxRequestTime.
func (x *exchange) checkTime() {
	const option = "--max-request-time"
	l, limit := x.limits, x.h.MaxRequestTime
	var rest func()
	l.mu.Lock()
	switch {
	case l.over:
	case x.mu.TryLock():
		rest = x.giveUpLocked(reasonRequestTime, option, limit)
	case l.events.Load():
	default:
		rest = x.cutShort(reasonRequestTime, option, limit)
	}
	l.mu.Unlock()
	if rest != nil {
		rest()
	}
}

// giveUpLocked ends a request that has taken too long, and unlocks mu. It returns what is
// left to be done, for which nothing of the handler's is needed; nil: nothing.
func (x *exchange) giveUpLocked(reason, option string, limit time.Duration) (rest func()) {
	defer x.mu.Unlock()
	if x.closed || x.phase == phaseComplete || x.isOpenStream() || x.phase == phaseOpen && x.limits.events.Load() {
		return nil
	}
	status := http.StatusGatewayTimeout
	if x.reading.Load() {
		reason, status = pagi.ReasonClientTimeout, http.StatusRequestTimeout
	}
	q := x.queue.Load()
	switch {
	case lostByWriting(x.end.reason()): // just before: the client was too slow
	case q != nil && q.failure() != "":
		reason = q.failure()
	default:
		x.logTimedOut(option, limit)
	}
	if x.phase <= phaseHeld {
		x.answer(status, "", nil, true)
		return x.answered(reason)
	}
	rest = x.end.beginDisconnect(reason)
	if q != nil {
		q.giveUp() // what it has written is counted when the application has returned
	}
	x.stream.Abort()
	return rest
}

// cutShort ends a request that has taken too long while a Send holds mu. Unlike giveUpLocked it
// cannot answer, only cut the connection.
func (x *exchange) cutShort(reason, option string, limit time.Duration) (rest func()) {
	if rest = x.end.beginDisconnect(reason); rest != nil {
		x.logTimedOut(option, limit)
		x.stream.Abort()
	}
	return rest
}

// lostByWriting reports whether a client was lost because a write failed.
func lostByWriting(reason string) bool {
	return reason == pagi.ReasonWriteTimeout || reason == pagi.ReasonWriteError
}

func (x *exchange) logTimedOut(option string, limit time.Duration) {
	x.h.logger().Error("request timed out", x.notes.Append([]any{"option", option, "limit", limit.String(),
		"method", x.r.Method, "host", x.r.Host, "path", x.r.URL.Path, "client", x.r.RemoteAddr})...)
}
