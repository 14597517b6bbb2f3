package engine

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// The reason of a request that RequestTimeout ended; the specification has none
// for an application that stalls.
const reasonRequestTimeout = "x-request-timeout"

// The reason of a request that MaxRequestTime ended.
const reasonRequestTime = "x-request-time"

// phase is how far a response has come. It only moves forward, but for the step
// back from phaseHeld that replacing an unwritten response takes.
//
//	idle ── start ──> held ── first body, fullflush ──> open ── last body ──> complete
//	                                                     └─ last body ──> trailers ──┘
type phase uint8

const (
	phaseIdle     phase = iota // nothing sent
	phaseHeld                  // start taken over, nothing written: can still be replaced
	phaseOpen                  // head written, body under way
	phaseTrailers              // body written, trailers to come
	phaseComplete              // all written
)

// exchange is one request and its response. It is not pooled: an application may keep its
// receive and send longer than it should, and must then not reach another client's request. It fits a size class of the allocator, 1024
// bytes: with a few fields more every request costs 128 more.
type exchange struct {
	h      *Handler
	stream Stream
	r      *http.Request

	scope pagi.Scope
	ctx   context.Context // the application's: an appContext
	end   end

	begin time.Time // set where there are observers

	session *WebSocketSession // of a websocket scope

	// The request body; rmu is held by the running Receive.
	rmu      sync.Mutex
	bodyLeft int64 // bytes to come; -1: not known
	bodyRead int64
	buf      *readBuffer   // nil until the first read
	pending  chan bodyRead // a read that its Receive could not wait for

	// The response; mu is held by the running Send.
	mu      sync.Mutex
	phase   phase
	closed  bool // the application has returned
	armed   bool // the write deadline is fresh
	noBody  bool // HEAD, 204, 304
	trailer bool // trailers were announced
	// bodyDone says that the request body was read. It stands here to fill padding.
	bodyDone atomic.Bool
	status   int32
	head     pagi.Headers   // of the response, until it is written
	room     [8]pagi.Header // where head begins
	length   int64          // declared content-length; -1: none
	sent     int64          // body bytes written
	queue    atomic.Pointer[queue]
	sse      atomic.Pointer[eventStream] // nil: an http scope

	reading atomic.Bool  // a Receive waits for the client
	touched atomic.Int64 // last i/o, for RequestTimeout
	limits  *timeLimits  // nil: there are none
	notes   pagi.LogNotes
	stash   pagi.Stash
}

func newExchange(h *Handler, stream Stream, r *http.Request) *exchange {
	x := &exchange{h: h, stream: stream, r: r, length: -1, bodyLeft: r.ContentLength}
	if r.Trailer != nil { // net/http has what it announces once it has said EOF
		x.bodyLeft = -1
	}
	if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
		x.bodyLeft = 0
		x.bodyDone.Store(true)
	}
	return x
}

// notice ends the request if its client has left. The caller must not hold mu.
func (x *exchange) notice() {
	if x.r.Context().Err() != nil && !x.end.over.Load() {
		x.gone()
	}
}

// gone runs when the request's context has ended: the client left, or the server
// cancelled all requests. In the first case it waits for a running Send, or for a write of
// the queue: where such a write has failed, its error is the more exact reason.
func (x *exchange) gone() {
	reason := x.goneReason("")
	if reason == "" {
		if x.session != nil && x.session.lost() {
			return // the reader of the session reports why it ended
		}
		x.mu.Lock()
		done := x.phase == phaseComplete
		if q := x.queue.Load(); q != nil && !done {
			reason = q.verdict()
		}
		x.mu.Unlock()
		if done || x.reading.Load() {
			if done {
				x.awaitCut()
			}
			return // it left with its response; or the running Receive learns why
		}
		if reason == "" {
			reason = x.stream.Left()
		}
	} else if x.end.control.Connection().ResponseComplete() { // the application works on after its response: it ends now
		x.end.endContext(&pagi.DisconnectError{Reason: reason})
	}
	x.end.disconnect(reason)
}

// goneReason returns the reason the server gave when it cancelled the request's
// context, or else.
func (x *exchange) goneReason(otherwise string) string {
	var d *pagi.DisconnectError
	if errors.As(context.Cause(x.r.Context()), &d) {
		return d.Reason
	}
	return otherwise
}

// answered begins to end a request that the server itself has answered. The caller still holds
// mu, so that no goroutine finds the response complete and the request going on. It returns the
// rest of the end, which the caller runs without mu.
func (x *exchange) answered(reason string) (rest func()) {
	end := x.end.beginDisconnect(reason)
	return func() {
		if end != nil {
			end()
		}
		x.stream.Over()
	}
}

// awaitQueue waits until what the application sent is written, so that the caller, which
// holds mu, may write to the stream.
func (x *exchange) awaitQueue() error {
	if q := x.queue.Load(); q != nil {
		return q.wait()
	}
	return nil
}
