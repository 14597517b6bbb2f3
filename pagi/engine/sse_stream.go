package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// streamState is what has become of an sse scope. What the application sends first
// decides between the two ways.
//
//	waiting ── sse.start ──> open ── sse.close, its return ──> over
//	   └─ sse.http.response.start ──> declined
type streamState uint8

const (
	streamWaiting streamState = iota
	streamOpen
	streamOver
	streamDeclined
)

// eventStream is what an sse scope (PAGI::Spec::Www, "Server-Sent Events") has beyond
// the exchange it is made of: its response is an ordinary one that is flushed after
// every event. Fields are guarded by the exchange's mu unless it says otherwise.
type eventStream struct {
	x        *exchange
	state    streamState
	declined atomic.Bool
	// headOnly is set where the response has no body: of HEAD, and with a status
	// like 204. What the application sends is dropped then.
	headOnly bool
	// reason is what sse.disconnect says where the stream did not end by a disconnect:
	// that of sse.close. It is set before the exchange ends.
	reason string
	line   []byte // where an event is put together
	early  []byte // comments sent before sse.start, which leave behind it
	timers streamTimers
}

// newEventStream makes an sse scope of the exchange's.
func (x *exchange) newEventStream() {
	x.sse.Store(&eventStream{x: x})
	s := &x.scope
	s.Type = pagi.TypeSSE
	s.Connection = nil // the specification has none here: sse.disconnect tells
	s.Extensions = map[string]any{pagi.ExtFullFlush: struct{}{}}
	if x.r.TLS != nil {
		s.Extensions[pagi.ExtTLS] = x.tlsInfo()
	}
}

// leaveStream returns the http scope of a request whose application has declined the sse
// scope: one that does not stream events answers as to any other request. It returns nil
// where the scope is of http, or where something was sent or a part of a body received already.
func (x *exchange) leaveStream() *pagi.Scope {
	s := x.sse.Load()
	if s == nil || !x.rmu.TryLock() {
		return nil
	}
	defer x.rmu.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	if s.state != streamWaiting || x.bodyRead > 0 || x.pending != nil || x.buf != nil {
		return nil
	}
	x.sse.Store(nil)
	x.notes.Clear() // the application is called again, and notes the same again
	x.stash.Clear()
	if x.bodyDone.Load() {
		x.bodyLeft = 0 // the one event of an empty body may have been given: it comes again
	}
	scope := x.scope.Clone()
	scope.Type, scope.Connection, scope.Extensions = pagi.TypeHTTP, x.end.control.Connection(), plainExtensions
	if x.r.TLS != nil {
		scope.Extensions = map[string]any{pagi.ExtFullFlush: struct{}{}, pagi.ExtInformational: struct{}{}, pagi.ExtTLS: x.scope.Extensions[pagi.ExtTLS]}
	}
	return scope
}

// isOpenStream reports whether events are being sent. mu is held.
func (x *exchange) isOpenStream() bool {
	s := x.sse.Load()
	return s != nil && s.state == streamOpen
}

// sendLocked is the Send of an sse scope.
func (s *eventStream) sendLocked(ctx context.Context, ev pagi.Event) error {
	if err := pagi.Validate(pagi.TypeSSE, ev); err != nil {
		return err
	}
	if err := pagi.CheckOrder(s.stage(), ev); err != nil {
		return err
	}
	switch {
	case s.state == streamOver:
		return nil // another sse.close, or the client takes no body
	case ctx.Err() != nil:
		return s.x.sendEnded(ctx)
	}
	switch e := ev.(type) {
	case pagi.SSEStart:
		return s.start(&e)
	case pagi.SSESend:
		s.line = AppendSSE(s.line[:0], &e)
		return s.write(s.line)
	case pagi.SSEComment:
		if s.state == streamWaiting {
			return s.keepComment(&e)
		}
		s.line = AppendSSEComment(s.line[:0], e.Comment)
		return s.write(s.line)
	case pagi.SSEKeepalive:
		s.keepAlive(&e)
		return nil
	case pagi.SSEClose:
		if e.Reason != "" {
			s.x.h.logger().Debug("event stream closed", "reason", e.Reason, "path", s.x.r.URL.Path, "client", s.x.client())
		}
		s.reason = e.Reason
		return s.close()
	case pagi.SSEHTTPResponseStart:
		return s.decline(&e)
	case pagi.SSEHTTPResponseBody:
		return renamed(s.x.sendBody(&pagi.HTTPResponseBody{Body: e.Body, More: e.More}), ev)
	case pagi.HTTPFullFlush:
		return s.x.sendFullFlush()
	}
	return nil // Validate knows no others
}

// stage is the state as the order of events knows it. A stream without a body, which is over
// at once, takes what follows and drops it.
func (s *eventStream) stage() pagi.Stage {
	switch {
	case s.state == streamOpen, s.headOnly:
		return pagi.StageOpen
	case s.state == streamOver:
		return pagi.StageComplete
	case s.state == streamDeclined && s.x.phase == phaseComplete:
		return pagi.StageDeniedComplete
	case s.state == streamDeclined:
		return pagi.StageDenied
	}
	return pagi.StageBegin
}

// start begins the stream. Its head leaves at once: a browser's EventSource is open
// from then on.
func (s *eventStream) start(e *pagi.SSEStart) error {
	x := s.x
	status := e.Status
	if status == 0 {
		status = http.StatusOK
	}
	if err := x.sendStart(&pagi.HTTPResponseStart{Status: status, Headers: streamHeaders(e.Headers)}); err != nil {
		return renamed(err, *e)
	}
	x.head = append(x.head, pagi.Header{Name: "connection", Value: "keep-alive"})
	s.state = streamOpen
	x.openResponse(false)
	if x.noBody {
		s.headOnly, s.reason = true, pagi.ReasonClientClosed
		return s.close()
	}
	if err := x.flush(); err != nil {
		return err
	}
	x.watch()
	s.begin()
	if early := s.early; len(early) > 0 {
		s.early = nil
		return s.write(early)
	}
	return nil
}

// maxEarly is how many bytes of comments may be sent before sse.start.
const maxEarly = 64 << 10

// keepComment keeps a comment that was sent before sse.start, for which it waits.
func (s *eventStream) keepComment(e *pagi.SSEComment) error {
	s.early = AppendSSEComment(s.early, e.Comment)
	if len(s.early) > maxEarly {
		s.early = nil
		return &pagi.EventError{Type: e.EventType(), Problem: fmt.Sprintf("there are more than %d bytes of comments before sse.start", maxEarly)}
	}
	return nil
}

// streamHeaders returns the application's headers with those an event stream needs,
// and without those it cannot have.
func streamHeaders(given pagi.Headers) pagi.Headers {
	headers := make(pagi.Headers, 0, len(given)+3)
	for _, h := range given {
		if !pagi.EqualFold(h.Name, "content-length") && !pagi.EqualFold(h.Name, "connection") {
			headers = append(headers, h)
		}
	}
	if !headers.Has("content-type") {
		headers.Add("content-type", eventStreamType)
	}
	if !headers.Has("cache-control") {
		headers.Add("cache-control", "no-cache")
	}
	return headers
}

// write sends a piece of the stream.
func (s *eventStream) write(p []byte) error {
	s.touch()
	if q := s.x.queue.Load(); q != nil {
		s.x.enqueue(q, p)
		return nil
	}
	if err := s.x.write(p); err != nil {
		return err
	}
	return s.x.flush()
}

// close ends the stream, the response and, on HTTP/1, what the server says on the
// connection: the client is not to use it again while the application works on.
func (s *eventStream) close() error {
	s.state = streamOver
	s.stop()
	if err := s.x.awaitQueue(); err != nil {
		return err
	}
	s.x.setWriteDeadline()
	if err := s.x.finishBody(); err != nil {
		return err
	}
	_ = s.x.stream.CloseWrite() // where it cannot, the application's return closes
	return nil
}

// shut ends the stream for a reason that is not the application's.
func (s *eventStream) shut(reason string) {
	x := s.x
	x.mu.Lock()
	if x.closed || s.state != streamOpen || x.end.isLost() {
		x.mu.Unlock()
		return
	}
	if lost := asLost(s.close()); lost != nil {
		reason = lost.reason
	}
	rest := x.end.beginDisconnect(x.goneReason(reason)) // with mu held: no goroutine finds the stream over and no reason yet
	over := x.phase == phaseComplete
	x.mu.Unlock()
	if rest != nil {
		rest()
	}
	if over {
		x.stream.Over()
	}
}

// decline begins an ordinary response. On HTTP/1 the connection ends behind it, as the specification
// has it.
func (s *eventStream) decline(e *pagi.SSEHTTPResponseStart) error {
	x := s.x
	if err := x.sendStart(&pagi.HTTPResponseStart{Status: e.Status, Headers: append(slices.Clip(e.Headers), closeHeaders(&x.scope)...)}); err != nil {
		return renamed(err, *e)
	}
	s.state = streamDeclined
	s.declined.Store(true)
	return nil
}

// renamed returns err with the type of the event the application sent.
func renamed(err error, ev pagi.Event) error {
	var wrong *pagi.EventError
	if errors.As(err, &wrong) {
		wrong.Type = ev.EventType()
	}
	return err
}

// completed is called when the response is complete, without the exchange's mu.
func (s *eventStream) completed() {
	if s.headOnly {
		s.x.end.endContext(&pagi.DisconnectError{Reason: pagi.ReasonClientClosed})
	}
}

// receive is the Receive of an sse scope.
func (s *eventStream) receive(ctx context.Context) (pagi.Event, error) {
	ev, err := s.x.receive(ctx)
	switch e := ev.(type) {
	case pagi.HTTPRequest:
		return pagi.SSERequest(e), err
	case pagi.HTTPDisconnect:
		return s.disconnect(ctx)
	}
	return ev, err
}

// disconnect is what the application receives once the stream has ended. A request
// that was declined has no such event: a Receive that waits for one gets an error when the client
// has left, or the handler has returned. An application that does something else is not disturbed.
func (s *eventStream) disconnect(ctx context.Context) (pagi.Event, error) {
	reason := s.x.end.reason()
	if reason == "" && s.declined.Load() {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-s.x.ctx.Done():
			return nil, context.Cause(s.x.ctx)
		case <-s.x.r.Context().Done():
			return nil, &pagi.DisconnectError{Reason: s.x.goneReason(pagi.ReasonClientClosed)}
		}
	}
	if reason == "" {
		reason = s.reason
	}
	if reason == "" { // an sse.close that gave none
		reason = pagi.ReasonClientClosed
	}
	return pagi.SSEDisconnect{Reason: reason}, nil
}
