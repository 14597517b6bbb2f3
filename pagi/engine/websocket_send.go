package engine

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// send is the application's Send. Any number of goroutines may call it.
func (s *WebSocketSession) send(ctx context.Context, ev pagi.Event, flow *FlowMeter) error {
	s.mu.Lock()
	if s.end == nil {
		s.awaitAccepted(ctx)
	}
	if s.end != nil || s.returned || s.phase == wsClosing || s.phase == wsClosed403 {
		s.mu.Unlock()
		return nil
	}
	phase, conn := s.phase, s.conn
	s.mu.Unlock()
	if err := pagi.Validate(pagi.TypeWebSocket, ev); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return s.sent(context.Cause(ctx))
	}
	if err := pagi.CheckOrder(phase.stage(), ev); err != nil {
		return err
	}
	switch {
	case phase == wsConnecting:
		return s.answer(ctx, ev, flow)
	case phase == wsRefused:
		return s.deny(ctx, ev)
	}
	switch e := ev.(type) {
	case pagi.WebSocketSend:
		return s.sent(conn.Send(ctx, e))
	case pagi.WebSocketKeepalive:
		s.keepAlive(conn, e)
	case pagi.WebSocketClose:
		code := e.Code
		if code == 0 {
			code = closeNormal
		}
		s.close(conn, code, e.Reason)
	}
	return nil // the denial response's events are ignored here, as the specification has it
}

// stage is the phase as the order of events knows it.
func (p wsPhase) stage() pagi.Stage {
	switch p {
	case wsOpen:
		return pagi.StageOpen
	case wsRefused:
		return pagi.StageDenied
	case wsClosed403, wsClosing:
		return pagi.StageComplete
	}
	return pagi.StageBegin
}

// sent judges the error of a Send. That the connection has ended shows by
// websocket.disconnect.
func (s *WebSocketSession) sent(err error) error {
	var end *WebSocketEnd
	var gone *pagi.DisconnectError
	if err == nil || errors.As(err, &end) || errors.As(err, &gone) {
		return nil
	}
	return err
}

// answer answers the handshake.
func (s *WebSocketSession) answer(ctx context.Context, ev pagi.Event, flow *FlowMeter) error {
	switch e := ev.(type) {
	case pagi.WebSocketAccept:
		return s.accept(&e, flow)
	case pagi.WebSocketClose:
		return s.forbid(ctx)
	case pagi.WebSocketHTTPResponseStart:
		if !s.Scope.HasExtension(pagi.ExtDenialResponse) {
			return &pagi.EventError{Type: e.EventType(), Problem: "the scope does not offer the extension " + pagi.ExtDenialResponse}
		}
		return s.deny(ctx, ev)
	}
	return nil // the order allows no others here
}

// forbid refuses the handshake with 403.
func (s *WebSocketSession) forbid(ctx context.Context) error {
	if !s.advance(wsConnecting, wsClosed403) {
		return nil
	}
	signal(s.wake)
	body := []byte("Forbidden\n")
	headers := append(closeHeaders(s.Scope), pagi.Header{Name: "content-type", Value: "text/plain; charset=utf-8"})
	return errors.Join(
		s.Handshake.Respond(ctx, pagi.HTTPResponseStart{Status: http.StatusForbidden, Headers: headers}),
		s.Handshake.Respond(ctx, pagi.HTTPResponseBody{Body: body}))
}

// advance moves from one phase to another, unless another goroutine has moved.
func (s *WebSocketSession) advance(from, to wsPhase) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != from || s.returned {
		return false
	}
	s.phase = to
	return true
}

// deny sends an event of the denial response.
func (s *WebSocketSession) deny(ctx context.Context, ev pagi.Event) error {
	var err error
	switch e := ev.(type) {
	case pagi.WebSocketHTTPResponseStart:
		if !s.advance(wsConnecting, wsRefused) {
			return &pagi.EventError{Type: e.EventType(), Problem: "the handshake was answered already"}
		}
		headers := append(e.Headers.Clone(), closeHeaders(s.Scope)...)
		if err = s.Handshake.Respond(ctx, pagi.HTTPResponseStart{Status: e.Status, Headers: headers}); err != nil {
			s.advance(wsRefused, wsConnecting)
		} else {
			signal(s.wake)
		}
	case pagi.WebSocketHTTPResponseBody:
		err = s.Handshake.Respond(ctx, pagi.HTTPResponseBody{Body: e.Body, More: e.More})
	}
	var wrong *pagi.EventError
	if errors.As(err, &wrong) {
		return &pagi.EventError{Type: ev.EventType(), Field: wrong.Field, Problem: wrong.Problem}
	}
	return err
}

// accept completes the handshake and begins to read. That may take as long as the
// client, so mu is not held meanwhile.
func (s *WebSocketSession) accept(e *pagi.WebSocketAccept, flow *FlowMeter) error {
	if err := s.checkAccept(e); err != nil {
		return err
	}
	s.mu.Lock()
	if s.phase != wsConnecting || s.end != nil || s.returned {
		s.mu.Unlock()
		return nil // another goroutine was faster, or the client has left
	}
	s.phase, s.accepted = wsAccepting, make(chan struct{})
	s.mu.Unlock()
	conn, err := s.Handshake.Accept(*e, WebSocketHooks{Flow: flow, Pong: s.beat.pong})
	s.mu.Lock()
	ended := s.end != nil
	if err != nil {
		s.phase = wsConnecting
	} else {
		s.phase, s.conn, s.read = wsOpen, conn, make(chan struct{})
		go s.readAll(conn)
	}
	close(s.accepted)
	s.mu.Unlock()
	signal(s.wake) // what a Receive waits for has changed
	switch {
	case !ended:
		return err
	case err == nil:
		conn.Drop() // the end came meanwhile, and found nothing to drop
	}
	return nil
}

// awaitAccepted waits while the handshake is being completed, or for ctx. mu is held, but
// while it waits.
func (s *WebSocketSession) awaitAccepted(ctx context.Context) {
	for s.phase == wsAccepting {
		accepted := s.accepted
		s.mu.Unlock()
		select {
		case <-accepted:
		case <-ctx.Done():
			s.mu.Lock()
			return
		}
		s.mu.Lock()
	}
}

// Headers of a handshake's response that are not the application's to set.
var handshakeHeaders = []string{
	"connection", "content-length", "sec-websocket-accept", "sec-websocket-extensions", "sec-websocket-protocol",
	"transfer-encoding", "upgrade",
}

// IsHandshakeHeader reports whether a header of a handshake's response is the server's own, which a
// websocket.accept must not have.
func IsHandshakeHeader(name string) bool {
	return slices.ContainsFunc(handshakeHeaders, func(own string) bool { return pagi.EqualFold(own, name) })
}

func (s *WebSocketSession) checkAccept(e *pagi.WebSocketAccept) error {
	if e.Subprotocol != "" && !slices.Contains(s.Scope.Subprotocols, e.Subprotocol) {
		return &pagi.EventError{Type: e.EventType(), Field: "subprotocol", Problem: "was not offered by the client"} // RFC 6455 section 4.2.2
	}
	for _, h := range e.Headers {
		if IsHandshakeHeader(h.Name) {
			return &pagi.EventError{Type: e.EventType(), Field: "headers", Problem: "contains " + headername.Lower(h.Name) + ", which is the server's own"}
		}
	}
	return nil
}
