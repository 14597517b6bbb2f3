package pagi

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
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
	timers streamTimers
}

// newEventStream makes an sse scope of the exchange's.
func (x *exchange) newEventStream() {
	x.sse = &eventStream{x: x}
	s := &x.scope
	s.Type = TypeSSE
	s.Connection = nil // the specification has none here: sse.disconnect tells
	s.Extensions = map[string]any{ExtFullFlush: struct{}{}}
	if x.r.TLS != nil {
		s.Extensions[ExtTLS] = x.tlsInfo()
	}
}

// sendLocked is the Send of an sse scope.
func (s *eventStream) sendLocked(ctx context.Context, ev Event) error {
	if err := validateSSE(ev); err != nil {
		return err
	}
	if err := s.check(ev); err != nil {
		return err
	}
	switch {
	case s.state == streamOver:
		return nil // another sse.close, or nobody is to get it
	case ctx.Err() != nil:
		return s.x.sendEnded(ctx)
	}
	switch e := ev.(type) {
	case SSEStart:
		return s.start(&e)
	case SSESend:
		s.line = AppendSSE(s.line[:0], &e)
		return s.write(s.line)
	case SSEComment:
		s.line = AppendSSEComment(s.line[:0], e.Comment)
		return s.write(s.line)
	case SSEKeepalive:
		s.keepAlive(&e)
		return nil
	case SSEClose:
		if e.Reason != "" {
			s.x.h.logger().Debug("event stream closed", "reason", e.Reason, "path", s.x.r.URL.Path, "client", s.x.r.RemoteAddr)
		}
		s.reason = e.Reason
		return s.close()
	case SSEHTTPResponseStart:
		return s.decline(&e)
	case SSEHTTPResponseBody:
		return renamed(s.x.sendBody(&HTTPResponseBody{Body: e.Body, More: e.More}), ev)
	case HTTPFullFlush:
		return s.x.sendFullFlush()
	}
	return unknownEvent(TypeSSE, ev)
}

// check refuses an event that may not come here.
func (s *eventStream) check(ev Event) error {
	wrong := func(problem string) error { return &EventError{ev.EventType(), "", problem} }
	switch ev.(type) {
	case HTTPFullFlush:
		return nil
	case SSEHTTPResponseBody:
		if s.state != streamDeclined {
			return wrong("sse.http.response.start must come first, and instead of sse.start")
		}
		return nil
	case SSEStart, SSEHTTPResponseStart:
		switch s.state {
		case streamOpen, streamOver:
			return wrong("the event stream was started already")
		case streamDeclined:
			return wrong("the request was answered with sse.http.response.start already")
		}
		return nil
	}
	_, closing := ev.(SSEClose)
	switch {
	case s.state == streamWaiting:
		return wrong("sse.start must come first")
	case s.state == streamDeclined:
		return wrong("the request was answered with sse.http.response.start")
	case s.state == streamOver && !closing && !s.headOnly:
		return wrong("the event stream is closed")
	}
	return nil
}

// start begins the stream. Its head leaves at once: a browser's EventSource is open
// from then on.
func (s *eventStream) start(e *SSEStart) error {
	x := s.x
	status := e.Status
	if status == 0 {
		status = http.StatusOK
	}
	if err := x.sendStart(&HTTPResponseStart{Status: status, Headers: streamHeaders(e.Headers)}); err != nil {
		return renamed(err, *e)
	}
	if x.r.ProtoMajor == 1 && x.r.ProtoMinor > 0 {
		x.head = append(x.head, Header{"connection", "keep-alive"})
	}
	s.state = streamOpen
	x.openResponse(false)
	if x.noBody {
		s.headOnly, s.reason = true, ReasonClientClosed
		return s.close()
	}
	if err := x.flush(); err != nil {
		return err
	}
	x.watch()
	s.begin()
	return nil
}

// streamHeaders returns the application's headers with those an event stream needs,
// and without those it cannot have.
func streamHeaders(given Headers) Headers {
	headers := make(Headers, 0, len(given)+3)
	for _, h := range given {
		if !EqualFold(h.Name, "content-length") && !EqualFold(h.Name, "connection") {
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
	if s.x.stream != nil {
		_ = s.x.stream.CloseWrite() // where it cannot, the application's return closes
	}
	return nil
}

// shut ends the stream for a reason that is not the application's.
func (s *eventStream) shut(reason string) {
	x := s.x
	x.mu.Lock()
	if x.closed || s.state != streamOpen || x.disconnected() {
		x.mu.Unlock()
		return
	}
	if lost := asLost(s.close()); lost != nil {
		reason = lost.reason
	}
	// An sse scope has no callbacks that could send, so mu may be held, lest somebody
	// finds the stream over before he can know why.
	x.disconnect(x.goneReason(reason))
	over := x.phase == phaseComplete
	x.mu.Unlock()
	if over {
		x.tell()
	}
}

// decline begins an ordinary response; the connection ends with it.
func (s *eventStream) decline(e *SSEHTTPResponseStart) error {
	x := s.x
	if err := x.sendStart(&HTTPResponseStart{Status: e.Status, Headers: e.Headers}); err != nil {
		return renamed(err, *e)
	}
	if x.r.ProtoMajor == 1 && !x.head.HasToken("connection", "close") {
		x.head = append(x.head, Header{"connection", "close"})
	}
	s.state = streamDeclined
	s.declined.Store(true)
	return nil
}

// renamed returns err with the type of the event the application sent.
func renamed(err error, ev Event) error {
	var wrong *EventError
	if errors.As(err, &wrong) {
		wrong.Type = ev.EventType()
	}
	return err
}

// completed is called when the response is complete, without the exchange's mu.
func (s *eventStream) completed() {
	if s.headOnly {
		s.x.endContext(&DisconnectError{ReasonClientClosed})
	}
}

// receive is the Receive of an sse scope.
func (s *eventStream) receive(ctx context.Context) (Event, error) {
	ev, err := s.x.receive(ctx)
	switch e := ev.(type) {
	case HTTPRequest:
		return SSERequest(e), err
	case HTTPDisconnect:
		return s.disconnect(ctx)
	}
	return ev, err
}

// disconnect is what the application receives once the stream has ended. A request
// that was declined has no such event: who waits for one gets an error when the client has
// left, or the handler has returned. One that does something else is not disturbed.
func (s *eventStream) disconnect(ctx context.Context) (Event, error) {
	reason := s.x.disconnectReason()
	if reason == "" && s.declined.Load() {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-s.x.ctx.Done():
			return nil, context.Cause(s.x.ctx)
		case <-s.x.r.Context().Done():
			return nil, &DisconnectError{s.x.goneReason(ReasonClientClosed)}
		}
	}
	if reason == "" {
		reason = s.reason
	}
	return SSEDisconnect{Reason: reason}, nil
}
