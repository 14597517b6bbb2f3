package pagi

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// The reason of a request that RequestTimeout ended; the specification has none
// for an application that stalls.
const reasonRequestTimeout = "x-request-timeout"

// The reason of one that MaxRequestTime ended.
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

// exchange is one request and its response. It is not pooled: an application may
// hold on to its receive and send longer than it should, and must then reach
// nobody else's request. It has the 1024 bytes of a size class of the allocator: one
// more field costs every request 128.
type exchange struct {
	h  *HTTPHandler
	w  http.ResponseWriter
	rc http.ResponseController
	r  *http.Request
	// stream is w where that is one, else nil.
	stream ResponseStream

	scope Scope
	conn  Connection
	ctx   context.Context // the application's: an appContext

	begin time.Time // set where Done wants it

	session *WebSocketSession // of a websocket scope

	// The request body; rmu is held by the running Receive.
	rmu      sync.Mutex
	bodyLeft int64 // bytes to come; -1: not known
	bodyRead int64
	buf      *readBuffer
	pending  chan bodyRead // a read that its Receive could not wait for

	// The response; mu is held by the running Send.
	mu        sync.Mutex
	phase     phase
	closed    bool // the application has returned
	duplex    bool // net/http was told to leave the rest of the request body alone
	holdsRead bool // rmu is held until the response is written
	armed     bool // the write deadline is fresh
	hijack    bool // the connection was taken from its server and closed
	noBody    bool // HEAD, 204, 304
	trailer   bool // trailers were announced
	// bodyDone says that the request body was read. It is here for want of room elsewhere.
	bodyDone atomic.Bool
	status   int32
	lost     string    // why a write failed
	head     Headers   // of the response, until it is written
	room     [8]Header // where head begins
	length   int64     // declared content-length; -1: none
	sent     int64     // body bytes written
	queue    atomic.Pointer[queue]
	sse      *eventStream // nil: an http scope
	apart    *apart       // nil: the application runs on its handler's goroutine
	// writeLimit is when an HTTP/2 stream's write deadline passes; 0: there is none.
	writeLimit atomic.Int64

	// The end. endMu is held only for looking and setting.
	endMu   sync.Mutex
	inner   atomic.Pointer[innerContext] // what ctx stands for, once somebody needs it
	cause   error                        // why the context has ended
	endedCh chan struct{}
	ended   atomic.Bool
	reading atomic.Bool // a Receive waits for the client

	touched atomic.Int64 // last i/o, for RequestTimeout
	limits  *timeLimits  // nil: there are none
}

func newExchange(h *HTTPHandler, w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{h: h, w: w, r: r, rc: *http.NewResponseController(w), length: -1, bodyLeft: r.ContentLength}
	x.stream, _ = w.(ResponseStream)
	if r.Trailer != nil { // net/http has what it announces once it has said EOF
		x.bodyLeft = -1
	}
	if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
		x.bodyLeft = 0
		x.bodyDone.Store(true)
	}
	return x
}

// notice ends the request if its client has left. Not to be called with mu held.
func (x *exchange) notice() {
	if x.r.Context().Err() != nil && !x.ended.Load() {
		x.gone()
	}
}

// gone runs when the request's context has ended: the client left, or the server
// cancelled all requests. In the first case it waits for a running Send, or a write of
// the queue's, which knows better when it is its write that failed.
func (x *exchange) gone() {
	reason := x.goneReason("")
	if reason == "" {
		if x.session != nil && x.session.isAccepted() {
			return // it knows better why
		}
		x.mu.Lock()
		done := x.phase == phaseComplete
		reason = x.lost
		if q := x.queue.Load(); q != nil && !done && reason == "" {
			reason = q.verdict()
		}
		x.mu.Unlock()
		if done || x.reading.Load() {
			if done {
				x.awaitCut()
			}
			return // it left with its response; or the running Receive learns why
		}
		switch {
		case reason != "":
		case x.isOverdue():
			reason = ReasonWriteTimeout
		case errors.Is(context.Cause(x.r.Context()), ErrBodyBroken):
			reason = ReasonReadError
		default:
			reason = ReasonClientClosed
		}
	} else if x.conn.finished.Load() { // what the application does beyond its response ends, too
		x.endContext(&DisconnectError{reason})
	}
	x.disconnect(reason)
}

// goneReason returns the reason the server gave when it cancelled the request's
// context, or else.
func (x *exchange) goneReason(otherwise string) string {
	var d *DisconnectError
	if errors.As(context.Cause(x.r.Context()), &d) {
		return d.Reason
	}
	return otherwise
}

// disconnect ends the request abnormally, in the order the specification gives:
// connection state and callbacks first, then the event, then the context. Where it has
// ended already, whoever was first does all that, and may be at the callbacks still. It
// must not be called with mu held, since callbacks may send.
func (x *exchange) disconnect(reason string) {
	if rest := x.ending(reason); rest != nil {
		rest()
	}
}

// ending is the first step of disconnect, which may be taken with mu held: from then on
// Sends do nothing. It returns the others; nil: the request has ended already.
func (x *exchange) ending(reason string) (rest func()) {
	callbacks, first := x.control().disconnect(reason)
	if !first {
		return nil
	}
	return func() {
		runOnDisconnect(callbacks, reason)
		x.end()
		x.endContext(&DisconnectError{reason})
	}
}

// answered begins to end a request the server itself has answered, with mu held still: nobody
// finds the response complete and the request going on. It returns what is left to be done.
func (x *exchange) answered(reason string) (rest func()) {
	end := x.ending(reason)
	return func() {
		if end != nil {
			end()
		}
		x.tell()
	}
}

// complete ends the request successfully, if it has not ended. Not to be called with
// mu held.
func (x *exchange) complete() {
	callbacks, first := x.control().complete()
	if !first {
		return
	}
	x.tell() // a callback may take its time
	for _, f := range callbacks {
		guardEnd("on_complete", f)
	}
	x.end()
}

func (x *exchange) control() ConnectionControl { return ConnectionControl{&x.conn} }

// end makes Receive return http.disconnect from now on.
func (x *exchange) end() {
	x.endMu.Lock()
	defer x.endMu.Unlock()
	if x.ended.Swap(true) {
		return
	}
	if x.endedCh != nil {
		close(x.endedCh)
	}
}

// endSignal returns a channel that is closed when the request has ended.
func (x *exchange) endSignal() <-chan struct{} {
	x.endMu.Lock()
	defer x.endMu.Unlock()
	if x.endedCh == nil {
		x.endedCh = make(chan struct{})
		if x.ended.Load() {
			close(x.endedCh)
		}
	}
	return x.endedCh
}

// awaitEnd returns when Receive returns http.disconnect: when the callbacks of the end,
// which is on its way, have run.
func (x *exchange) awaitEnd() {
	if !x.ended.Load() {
		<-x.endSignal()
	}
}

// awaitQueue waits until what the application sent is written, so that who holds mu
// may use the ResponseWriter.
func (x *exchange) awaitQueue() error {
	if q := x.queue.Load(); q != nil {
		return q.wait()
	}
	return nil
}

// disconnected reports whether the request has ended abnormally, or is about to:
// callbacks may still run.
func (x *exchange) disconnected() bool {
	return x.conn.ended.Load() && x.disconnectReason() != ""
}

func (x *exchange) disconnectReason() string {
	return x.conn.knownReason()
}
