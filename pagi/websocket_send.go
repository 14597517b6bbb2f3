package pagi

import (
	"context"
	"errors"
	"net/http"
	"slices"
)

// send is the application's Send. Any number of goroutines may call it.
func (s *WebSocketSession) send(ctx context.Context, ev Event, flow *FlowMeter) error {
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
	if err := validateWebSocket(ev); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return s.sent(context.Cause(ctx))
	}
	switch {
	case phase == wsConnecting:
		return s.answer(ctx, ev, flow)
	case phase == wsRefused:
		return s.deny(ctx, ev)
	}
	switch e := ev.(type) {
	case WebSocketAccept:
		return &EventError{e.EventType(), "", "the connection was accepted already"}
	case WebSocketSend:
		return s.sent(conn.Send(ctx, e))
	case WebSocketKeepalive:
		s.keepAlive(conn, e)
	case WebSocketClose:
		code := e.Code
		if code == 0 {
			code = closeNormal
		}
		s.close(conn, code, e.Reason)
	}
	return nil // the denial response's events are ignored here, as the specification has it
}

// sent judges the error of a Send. That the connection has ended shows by
// websocket.disconnect.
func (s *WebSocketSession) sent(err error) error {
	var end *WebSocketEnd
	var gone *DisconnectError
	if err == nil || errors.As(err, &end) || errors.As(err, &gone) {
		return nil
	}
	return err
}

// answer answers the handshake.
func (s *WebSocketSession) answer(ctx context.Context, ev Event, flow *FlowMeter) error {
	switch e := ev.(type) {
	case WebSocketAccept:
		return s.accept(&e, flow)
	case WebSocketClose:
		return s.forbid(ctx)
	case WebSocketHTTPResponseStart:
		if !s.Scope.HasExtension(ExtDenialResponse) {
			return &EventError{e.EventType(), "", "the scope does not offer the extension " + ExtDenialResponse}
		}
		return s.deny(ctx, ev)
	case WebSocketHTTPResponseBody:
		return &EventError{e.EventType(), "", "websocket.http.response.start must come first"}
	}
	return &EventError{ev.EventType(), "", "websocket.accept must come first"}
}

// forbid refuses the handshake with 403.
func (s *WebSocketSession) forbid(ctx context.Context) error {
	if !s.advance(wsConnecting, wsClosed403) {
		return nil
	}
	signal(s.wake)
	body := []byte("Forbidden\n")
	headers := append(closeHeaders(s.Scope), Header{"content-type", "text/plain; charset=utf-8"})
	return errors.Join(
		s.Handshake.Respond(ctx, HTTPResponseStart{Status: http.StatusForbidden, Headers: headers}),
		s.Handshake.Respond(ctx, HTTPResponseBody{Body: body}))
}

// advance moves from one phase to another, unless somebody else has moved.
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
func (s *WebSocketSession) deny(ctx context.Context, ev Event) error {
	var err error
	switch e := ev.(type) {
	case WebSocketHTTPResponseStart:
		if !s.advance(wsConnecting, wsRefused) {
			return &EventError{e.EventType(), "", "the handshake was answered already"}
		}
		headers := append(e.Headers.Clone(), closeHeaders(s.Scope)...)
		if err = s.Handshake.Respond(ctx, HTTPResponseStart{Status: e.Status, Headers: headers}); err != nil {
			s.advance(wsRefused, wsConnecting)
		} else {
			signal(s.wake)
		}
	case WebSocketHTTPResponseBody:
		err = s.Handshake.Respond(ctx, HTTPResponseBody{Body: e.Body, More: e.More})
	default:
		return &EventError{ev.EventType(), "", "the handshake was refused, only websocket.http.response.body may follow"}
	}
	var wrong *EventError
	if errors.As(err, &wrong) {
		return &EventError{ev.EventType(), wrong.Field, wrong.Problem}
	}
	return err
}

// accept completes the handshake and begins to read. That may take as long as the
// client, so mu is not held meanwhile.
func (s *WebSocketSession) accept(e *WebSocketAccept, flow *FlowMeter) error {
	if err := s.checkAccept(e); err != nil {
		return err
	}
	s.mu.Lock()
	if s.phase != wsConnecting || s.end != nil || s.returned {
		s.mu.Unlock()
		return nil // another goroutine was faster, or nobody is there any more
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

func (s *WebSocketSession) checkAccept(e *WebSocketAccept) error {
	if e.Subprotocol != "" && !slices.Contains(s.Scope.Subprotocols, e.Subprotocol) {
		return &EventError{e.EventType(), "subprotocol", "was not offered by the client"} // RFC 6455 section 4.2.2
	}
	for _, h := range e.Headers {
		if slices.ContainsFunc(handshakeHeaders, func(own string) bool { return EqualFold(own, h.Name) }) {
			return &EventError{e.EventType(), "headers", "contains " + lower(h.Name) + ", which is the server's own"}
		}
	}
	return nil
}
