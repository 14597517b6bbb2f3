package pagi

import (
	"sync"
	"sync/atomic"
)

// apart is what an exchange has beside it over net/http. That ends a response when its
// handler returns, which must not wait for an application that works on after its
// response: it runs on a goroutine of its own, and the handler returns when the response
// is complete. What belongs to the handler, the ResponseWriter and the request's body,
// nobody uses from then on: a Send finds the response complete, a Receive the request
// ended.
type apart struct {
	over    chan struct{} // closed when the response is complete, or run has ended
	told    sync.Once     // over
	leaving sync.Once     // leave
	cut     atomic.Bool   // the connection must be cut
	side    atomic.Int32  // which of the two has ended first
}

// The sides of apart.
const (
	bothRun int32 = iota
	handlerEnded
	runEnded
)

// serveApart is run on a goroutine of its own, which Running counts once the handler is
// about to return. It reports whether the connection must be cut.
func (x *exchange) serveApart() (cut bool) {
	defer func() {
		atomic.AddInt32(&x.h.apart, 1)
		if !x.apart.side.CompareAndSwap(bothRun, handlerEnded) {
			atomic.AddInt32(&x.h.apart, -1)
		}
	}()
	go func() {
		cut := true // where run does not return
		defer func() {
			x.apart.cut.Store(cut)
			if x.apart.side.Swap(runEnded) == handlerEnded {
				atomic.AddInt32(&x.h.apart, -1)
			}
			x.tell()
		}()
		err := caught(func() error {
			cut = x.run()
			return nil
		})
		if err != nil { // the application's own panics are run's
			x.logFailure("request failed", err)
		}
	}()
	<-x.apart.over
	if x.apart.cut.Load() {
		return true
	}
	x.leave(false)
	return false
}

// tell lets the handler return.
func (x *exchange) tell() {
	if x.apart != nil {
		x.apart.told.Do(func() { close(x.apart.over) })
	}
}

// Running returns how many applications work on whose handler has returned, or is about
// to; a server that stops waits for them, too.
func (h *HTTPHandler) Running() int { return int(atomic.LoadInt32(&h.apart)) }

// leave gives back what the exchange holds of its server's: neither the request's body
// nor the ResponseWriter is used after it.
func (x *exchange) leave(cut bool) {
	if x.apart == nil {
		x.releaseBody()
		return
	}
	x.apart.leaving.Do(func() {
		read := x.releaseBody()
		switch {
		case cut, x.hijack:
		case !read && x.duplex, x.sse != nil && x.r.ProtoMajor == 1:
			closeAfterReply(x.w)
		}
	})
}
