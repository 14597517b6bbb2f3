package engine

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// send is the application's Send. Unlike the contract's minimum it may be called
// by several goroutines.
func (x *exchange) send(ctx context.Context, ev pagi.Event) error {
	if x.end.isLost() {
		return nil // without waiting for another Send, which may go on
	}
	x.notice()
	x.mu.Lock()
	if x.closed || x.end.isLost() {
		x.mu.Unlock()
		return nil
	}
	var err error
	stream := x.sse.Load()
	if stream != nil {
		err = stream.sendLocked(ctx, ev)
	} else {
		err = x.sendLocked(ctx, ev)
	}
	lost := asLost(err)
	var rest func()
	if lost != nil { // before gone, which waits for mu and knows less
		rest = x.end.beginDisconnect(x.goneReason(lost.reason))
	}
	complete := x.phase == phaseComplete
	x.mu.Unlock()
	// Callbacks run from here on and may send, so mu must be free.
	if rest != nil {
		if x.reading.Load() {
			x.stream.WakeRead() // what has failed may be the application's own: the client says nothing
		}
		rest()
	}
	if q := x.queue.Load(); q != nil {
		q.settle(ctx.Done())
	}
	switch {
	case lost != nil && lost.reason == pagi.ReasonServerError:
		return lost.err // the fault is the application's
	case lost != nil:
		return nil // it hears of the disconnect
	case err != nil:
		return err
	}
	if complete && !x.end.over.Load() {
		x.end.complete(x.stream)
		if stream != nil {
			stream.completed()
		}
	}
	return nil
}

func (x *exchange) sendLocked(ctx context.Context, ev pagi.Event) error {
	if err := pagi.Validate(pagi.TypeHTTP, ev); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return x.sendEnded(ctx)
	}
	if err := pagi.CheckOrder(x.stage(), ev); err != nil {
		return err
	}
	switch e := ev.(type) {
	case pagi.HTTPResponseStart:
		return x.sendStart(&e)
	case pagi.HTTPResponseBody:
		return x.sendBody(&e)
	case pagi.HTTPResponseTrailers:
		return x.sendTrailers(&e)
	case pagi.HTTPResponseInformational:
		return x.sendInformational(&e)
	case pagi.HTTPFullFlush:
		return x.sendFullFlush()
	}
	return nil // Validate knows no others
}

// stage is the phase as the order of events knows it.
func (x *exchange) stage() pagi.Stage {
	switch {
	case x.phase == phaseIdle:
		return pagi.StageBegin
	case x.phase == phaseTrailers:
		return pagi.StageEnded
	case x.phase == phaseComplete:
		return pagi.StageComplete
	case x.trailer:
		return pagi.StageAnnounced
	}
	return pagi.StageOpen
}

// sendEnded is what a Send does whose context has ended.
func (x *exchange) sendEnded(ctx context.Context) error {
	if x.end.over.Load() && x.phase != phaseComplete {
		return nil
	}
	return context.Cause(ctx)
}

// sendStart takes the response's head over. It is written with the first body
// event, so that until then an error response can take its place.
func (x *exchange) sendStart(e *pagi.HTTPResponseStart) error {
	if err := x.setHeader(e.EventType(), e.Headers); err != nil {
		x.resetHeader()
		return err
	}
	x.status = int32(e.Status)
	x.trailer = e.Trailers
	if x.limits != nil {
		x.limits.events.Store(e.Status == http.StatusOK && isEventStream(x.head.Get("content-type")))
	}
	x.noBody = x.r.Method == http.MethodHead || e.Status == http.StatusNoContent || e.Status == http.StatusNotModified
	x.phase = phaseHeld
	x.end.control.Start()
	return nil
}

// setHeader takes headers over and notes the content-length. transfer-encoding and
// connection are the stream's own; of the latter only the wish to close is passed on.
func (x *exchange) setHeader(eventType string, headers pagi.Headers) error {
	x.head = x.room[:0]
	if len(headers) >= len(x.room) {
		x.head = make(pagi.Headers, 0, len(headers)+1)
	}
	for i := range headers {
		name, value := headers[i].Name, headers[i].Value
		switch {
		case pagi.EqualFold(name, "transfer-encoding"):
			continue
		case pagi.EqualFold(name, "connection"):
			if !(pagi.Headers{headers[i]}).HasToken(name, "close") {
				continue
			}
			value = "close"
		case pagi.EqualFold(name, "content-length"):
			n, err := strconv.ParseUint(value, 10, 63)
			if err != nil {
				return &pagi.EventError{Type: eventType, Field: "headers", Problem: fmt.Sprintf("contains a content-length that is no number: %q", value)}
			}
			if x.length >= 0 && x.length != int64(n) {
				return &pagi.EventError{Type: eventType, Field: "headers", Problem: "contains two different content-lengths"}
			}
			if x.length >= 0 {
				continue
			}
			x.length = int64(n)
		}
		x.head = append(x.head, pagi.Header{Name: headername.Lower(name), Value: value})
	}
	return nil
}

// resetHeader takes back what setHeader did.
func (x *exchange) resetHeader() {
	x.head = nil
	x.length, x.trailer, x.noBody = -1, false, false
}

func (x *exchange) sendBody(e *pagi.HTTPResponseBody) error {
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
	if !last {
		return x.flush()
	}
	if len(e.Body) == 0 { // what ends the body is all that is written
		x.setWriteDeadline()
	}
	return x.finishBody()
}

// enqueue is write and flush where there is a queue.
func (x *exchange) enqueue(q *queue, p []byte) {
	if x.noBody {
		p = nil
	}
	x.sent += int64(len(p))
	q.put(p)
}

// offerLength sets content-length to n where the application gave none and the
// response may have one.
func (x *exchange) offerLength(n int64) {
	if x.length >= 0 || x.trailer || x.status == http.StatusNoContent || x.status == http.StatusNotModified {
		return
	}
	x.length = n
	x.head = append(x.head, pagi.Header{Name: "content-length", Value: strconv.FormatInt(n, 10)})
}

// openResponse hands the head to the stream, which writes it with the first bytes of the
// body.
func (x *exchange) openResponse(last bool) {
	if x.trailer || x.status == http.StatusNoContent {
		// Trailers need chunks (RFC 9112 section 7.1.2), 204 may have none (RFC 9110
		// section 8.6).
		x.head.Del("content-length")
	}
	x.phase = phaseOpen
	x.setWriteDeadline()
	x.stream.WriteHead(int(x.status), x.head, last && !x.trailer)
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
	err := &pagi.EventError{Type: pagi.HTTPResponseBody{}.EventType(), Field: "body", Problem: problem}
	if x.phase == phaseHeld {
		return err
	}
	return &connectionLost{pagi.ReasonServerError, err}
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

// endBody ends a body that is complete, and sends its buffered bytes.
func (x *exchange) endBody() error {
	if x.trailer {
		return x.flush()
	}
	if err := x.stream.EndBody(); err != nil {
		return writeLost(err)
	}
	x.armed = false
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
