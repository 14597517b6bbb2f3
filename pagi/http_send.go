package pagi

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// send is the application's Send. Unlike the contract's minimum it may be called
// by several goroutines.
func (x *exchange) send(ctx context.Context, ev Event) error {
	if x.disconnected() {
		return nil // without waiting for another Send, which may go on
	}
	x.notice()
	x.mu.Lock()
	if x.closed || x.disconnected() {
		x.mu.Unlock()
		return nil
	}
	var err error
	if x.sse != nil {
		err = x.sse.sendLocked(ctx, ev)
	} else {
		err = x.sendLocked(ctx, ev)
	}
	x.letRead()
	lost := asLost(err)
	if lost != nil {
		x.lost = x.goneReason(lost.reason) // for gone, which may come next
	}
	complete := x.phase == phaseComplete
	x.mu.Unlock()
	// Callbacks run from here on and may send, so mu must be free.
	if q := x.queue.Load(); q != nil {
		q.settle(ctx.Done())
	}
	if lost != nil {
		return x.sendLost(lost)
	}
	if err != nil {
		return err
	}
	if complete && !x.ended.Load() {
		x.complete()
		if x.sse != nil {
			x.sse.completed()
		}
	}
	return nil
}

// sendLost ends the request after a write that failed. The application hears of
// it by the disconnect, not by an error of Send, unless the fault is its own.
func (x *exchange) sendLost(lost *connectionLost) error {
	x.disconnect(x.goneReason(lost.reason))
	if lost.reason == ReasonServerError {
		return lost.err
	}
	return nil
}

func (x *exchange) sendLocked(ctx context.Context, ev Event) error {
	if err := validateHTTP(ev); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return x.sendEnded(ctx)
	}
	switch e := ev.(type) {
	case HTTPResponseStart:
		return x.sendStart(&e)
	case HTTPResponseBody:
		return x.sendBody(&e)
	case HTTPResponseTrailers:
		return x.sendTrailers(&e)
	case HTTPResponseInformational:
		return x.sendInformational(&e)
	case HTTPFullFlush:
		return x.sendFullFlush()
	}
	return unknownEvent(TypeHTTP, ev)
}

// sendEnded is what a Send does whose context has ended.
func (x *exchange) sendEnded(ctx context.Context) error {
	if x.ended.Load() && x.phase != phaseComplete {
		return nil
	}
	return context.Cause(ctx)
}

// sendStart takes the response's head over. It is written with the first body
// event, so that until then an error response can take its place.
func (x *exchange) sendStart(e *HTTPResponseStart) error {
	if x.phase != phaseIdle {
		return &EventError{e.EventType(), "", "the response was started already"}
	}
	if err := x.setHeader(e.EventType(), e.Headers); err != nil {
		x.resetHeader()
		return err
	}
	x.status = int32(e.Status)
	x.trailer = e.Trailers
	x.noBody = x.r.Method == http.MethodHead || e.Status == http.StatusNoContent || e.Status == http.StatusNotModified
	x.phase = phaseHeld
	x.control().Start()
	return nil
}

// setHeader takes headers over and notes the content-length. transfer-encoding and
// connection are the server's own; of the latter only the wish to close is heard, on
// HTTP/1. Other headers about a connection of HTTP/1 are malformed on later ones (RFC 9113
// section 8.2.2).
func (x *exchange) setHeader(eventType string, headers Headers) error {
	x.head = x.room[:0]
	if len(headers) >= len(x.room) {
		x.head = make(Headers, 0, len(headers)+1)
	}
	for i := range headers {
		name, value := headers[i].Name, headers[i].Value
		switch {
		case EqualFold(name, "transfer-encoding"):
			continue
		case EqualFold(name, "connection"):
			if x.r.ProtoMajor > 1 || !(Headers{headers[i]}).HasToken(name, "close") {
				continue
			}
			value = "close"
		case x.r.ProtoMajor > 1 && (EqualFold(name, "keep-alive") || EqualFold(name, "proxy-connection") || EqualFold(name, "upgrade")):
			continue
		case EqualFold(name, "content-length"):
			n, err := strconv.ParseUint(value, 10, 63)
			if err != nil {
				return &EventError{eventType, "headers", fmt.Sprintf("contains a content-length that is no number: %q", value)}
			}
			if x.length >= 0 && x.length != int64(n) {
				return &EventError{eventType, "headers", "contains two different content-lengths"}
			}
			if x.length >= 0 {
				continue
			}
			x.length = int64(n)
		}
		x.head = append(x.head, Header{lower(name), value})
	}
	return nil
}

// resetHeader takes back what setHeader did.
func (x *exchange) resetHeader() {
	x.head = nil
	x.length, x.trailer, x.noBody = -1, false, false
}

func (x *exchange) sendBody(e *HTTPResponseBody) error {
	if err := x.bodyAllowed(e); err != nil {
		return err
	}
	if e.File != "" || e.FH != nil {
		return x.sendFile(e)
	}
	last := !e.More
	if err := x.checkLength(int64(len(e.Body)), last); err != nil {
		return err
	}
	q := x.queue.Load()
	if q != nil && last {
		if err := q.wait(); err != nil {
			return err
		}
	}
	if x.phase == phaseHeld {
		if last && (len(e.Body) > 0 || !x.noBody) {
			x.offerLength(int64(len(e.Body)))
		}
		x.openResponse(last)
	}
	if q != nil && !last {
		x.enqueue(q, e.Body)
		return nil
	}
	if err := x.write(e.Body); err != nil {
		return err
	}
	if last {
		return x.finishBody()
	}
	return x.flush()
}

// enqueue is write and flush where there is a queue.
func (x *exchange) enqueue(q *queue, p []byte) {
	if x.noBody {
		p = nil
	}
	x.sent += int64(len(p))
	q.put(p)
}

func (x *exchange) bodyAllowed(e *HTTPResponseBody) error {
	switch x.phase {
	case phaseIdle:
		return &EventError{e.EventType(), "", "http.response.start must come first"}
	case phaseTrailers:
		return &EventError{e.EventType(), "", "the body has ended, only http.response.trailers may follow"}
	case phaseComplete:
		return &EventError{e.EventType(), "", "the response is complete"}
	}
	return nil
}

// offerLength sets content-length to n where the application gave none and the
// response may have one.
func (x *exchange) offerLength(n int64) {
	if x.length >= 0 || x.trailer || x.status == http.StatusNoContent || x.status == http.StatusNotModified {
		return
	}
	x.length = n
	x.head = append(x.head, Header{"content-length", strconv.FormatInt(n, 10)})
}

// openResponse hands the head to the ResponseWriter, which writes it with the first
// bytes of the body.
func (x *exchange) openResponse(last bool) {
	if x.trailer || x.status == http.StatusNoContent {
		// Trailers need chunks (RFC 9112 section 7.1.2), 204 may have none (RFC 9110
		// section 8.6).
		x.head.Del("content-length")
	}
	if x.stream == nil && x.r.ProtoMajor == 1 && !x.bodyDone.Load() {
		x.settleBody(last)
	}
	x.phase = phaseOpen
	x.setWriteDeadline()
	x.writeHead(int(x.status), x.head)
}

// settleBody decides what becomes of a request body that is not read to its end, over
// net/http; a ResponseStream reads nothing by itself before the response has ended.
// Left alone, net/http reads up to 256 KiB of it before it writes the head, which
// is right for a response that is complete, and keeps the connection usable. A
// response that streams must not wait for that, and one that is sent while a
// Receive reads must not either.
func (x *exchange) settleBody(last bool) {
	if last && x.rmu.TryLock() {
		x.holdsRead = true
		if d := x.h.BodyTimeout; d > 0 {
			_ = x.rc.SetReadDeadline(time.Now().Add(d)) // unsupported: the host's stands
		}
		return
	}
	// A ResponseWriter that cannot do it reads first.
	_ = x.rc.EnableFullDuplex()
	x.duplex = true
}

// letRead allows Receive again what settleBody forbade.
func (x *exchange) letRead() {
	if x.holdsRead {
		x.holdsRead = false
		x.rmu.Unlock()
	}
}

// checkLength holds n more bytes of body, the last ones or not, against the
// declared content-length. When the response has not been written yet the error
// leaves room for another one; else it ends the request, because the framing
// cannot be made right any more.
func (x *exchange) checkLength(n int64, last bool) error {
	if x.noBody || x.length < 0 || x.trailer {
		return nil
	}
	var problem string
	switch total := x.sent + n; {
	case total > x.length:
		problem = fmt.Sprintf("makes the response longer than its content-length of %d", x.length)
	case last && total < x.length:
		problem = fmt.Sprintf("ends the response after %d bytes, its content-length is %d", total, x.length)
	default:
		return nil
	}
	err := &EventError{HTTPResponseBody{}.EventType(), "body", problem}
	if x.phase == phaseHeld {
		return err
	}
	return &connectionLost{ReasonServerError, err}
}

// finishBody ends the body: with the response, or with the wait for trailers.
func (x *exchange) finishBody() error {
	err := x.endBody()
	if err != nil {
		return err
	}
	x.phase = phaseComplete
	if x.trailer {
		x.phase = phaseTrailers
	}
	return nil
}

// endBody sends what is buffered of a body that is complete.
func (x *exchange) endBody() error {
	if x.stream == nil || x.trailer {
		err := x.flush()
		if x.noBody { // it ended with its head: HTTP/2 may say that the stream is closed
			return nil
		}
		return err
	}
	if err := x.stream.EndBody(); err != nil {
		return writeLost(err)
	}
	x.disarm()
	return nil
}

func (x *exchange) sendFullFlush() error {
	switch x.phase {
	case phaseIdle, phaseComplete:
		return nil
	case phaseHeld:
		x.openResponse(false)
	default:
		if err := x.awaitQueue(); err != nil {
			return err
		}
		x.setWriteDeadline()
	}
	return x.flush()
}
