package engine

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// webSocketVersion is the one version there is (RFC 6455 section 4.1).
const webSocketVersion = "13"

// Extensions of a websocket scope without TLS. All scopes share the map: writing to it is
// forbidden.
var webSocketExtensions = map[string]any{pagi.ExtDenialResponse: struct{}{}}

// isHandshake reports whether the request is the handshake of a WebSocket: an Upgrade
// (RFC 6455 section 4.1) or, on HTTP/2, an extended CONNECT (RFC 8441 section 4).
func (x *exchange) isHandshake() bool {
	if x.h.WebSocket == nil {
		return false
	}
	r := x.r
	if r.ProtoMajor > 1 {
		return r.Method == http.MethodConnect && isProtocol(r, "websocket")
	}
	if r.Method != http.MethodGet || r.ProtoMinor < 1 {
		return false
	}
	headers := x.stream.RequestHeaders()
	for i := range headers {
		if headers[i].Name == "upgrade" {
			return isUpgrade(headers)
		}
	}
	return false
}

// isProtocol reports whether an HTTP/2 request has the pseudo-header :protocol so.
func isProtocol(r *http.Request, name string) bool {
	values := r.Header[":protocol"]
	return len(values) == 1 && values[0] == name
}

func isUpgrade(headers pagi.Headers) bool {
	return headers.HasToken("upgrade", "websocket") && headers.HasToken("connection", "upgrade")
}

// serveWebSocket runs a websocket scope.
func (x *exchange) serveWebSocket() {
	x.makeScope()
	if status, headers := x.checkHandshake(); status != 0 {
		x.logRefused(status, "the WebSocket handshake is malformed, or of another version than "+webSocketVersion)
		x.answer(status, "", headers, x.r.ProtoMajor == 1)
		x.report(nil)
		return
	}
	x.makeWebSocketScope()
	x.ctx = (*appContext)(x)
	s := &WebSocketSession{App: x.h.App, Scope: &x.scope, Handshake: handshake{x}, MaxQueue: x.h.MaxReceiveQueue, EndContext: x.endSession}
	x.session = s
	out := s.Serve(x.ctx)
	if !out.Accepted {
		x.finishRefused(out.Err)
		return
	}
	x.unwatch()
	x.mu.Lock()
	x.closed = true
	x.mu.Unlock()
	x.end.endContext(context.Canceled)
	if out.Err != nil && !errors.Is(out.Err, http.ErrAbortHandler) {
		x.logFailure("application failed in a WebSocket", out.Err)
	}
	x.logEnd(out.End)
	if out.End.Peer {
		x.end.control.Complete()
	} else {
		x.end.control.Disconnect(out.End.Reason)
	}
	x.sent = out.Sent
	x.report(out.Err)
}

// logEnd logs an end that a limit, or a client's fault, is the cause of.
func (x *exchange) logEnd(end *WebSocketEnd) {
	args := []any{"code", end.Answer, "path", x.r.URL.Path, "client", x.client()}
	switch {
	case end.Option != "":
		x.h.warn("WebSocket is ended: "+end.Text, append(args, "option", end.Option)...)
	case end.Reason == pagi.ReasonProtocolError:
		x.h.logger().Debug("WebSocket is ended: "+end.Text, args...)
	}
}

// endSession ends the application's context.
func (x *exchange) endSession(cause error) {
	x.end.setOver() // a context that was not made yet looks at it
	x.end.endContext(cause)
}

// finishRefused settles a handshake that was not accepted. An application that has no
// use for WebSockets is no failure.
func (x *exchange) finishRefused(err error) {
	x.notice()
	x.unwatch()
	if errors.Is(err, pagi.ErrUnsupported) {
		x.h.logger().Debug("application declined a WebSocket", "path", x.r.URL.Path, "client", x.client())
		err = &pagi.StatusError{Status: http.StatusForbidden, Headers: closeHeaders(&x.scope), Err: err}
	}
	cut := x.finish(err)
	x.report(err)
	if cut {
		panic(http.ErrAbortHandler)
	}
}

// closeHeaders are the headers after which a connection ends on which nothing else can
// come than the WebSocket that was refused; an HTTP/2 connection has other streams.
func closeHeaders(scope *pagi.Scope) pagi.Headers {
	if strings.HasPrefix(scope.HTTPVersion, "1.") {
		return pagi.Headers{{Name: "connection", Value: "close"}}
	}
	return nil
}

// checkHandshake returns the status with which a malformed handshake is answered; 0:
// it is right (RFC 6455 section 4.2).
func (x *exchange) checkHandshake() (status int, headers pagi.Headers) {
	h := x.scope.Headers
	if h.Get("sec-websocket-version") != webSocketVersion {
		headers = pagi.Headers{{Name: "sec-websocket-version", Value: webSocketVersion}}
		if x.r.ProtoMajor > 1 {
			return http.StatusBadRequest, headers
		}
		return http.StatusUpgradeRequired, append(headers, pagi.Header{Name: "upgrade", Value: "websocket"})
	}
	if x.r.ProtoMajor > 1 {
		return 0, nil
	}
	keys := 0
	for range h.Values("sec-websocket-key") {
		keys++
	}
	key, err := base64.StdEncoding.DecodeString(h.Get("sec-websocket-key"))
	if keys != 1 || err != nil || len(key) != 16 || x.r.ContentLength != 0 { // a body could be taken for frames
		return http.StatusBadRequest, nil
	}
	return 0, nil
}

// makeWebSocketScope makes a websocket scope of the http scope.
func (x *exchange) makeWebSocketScope() {
	s := &x.scope
	s.Type, s.Method, s.Connection = pagi.TypeWebSocket, "", nil
	s.Scheme = "ws"
	s.Subprotocols = OfferedSubprotocols(s.Headers)
	s.Transport = NewFlowMeter(x.h.HighWaterMark, x.h.LowWaterMark)
	s.Extensions = webSocketExtensions
	if x.r.TLS != nil {
		s.Scheme = "wss"
		s.Extensions = map[string]any{pagi.ExtDenialResponse: struct{}{}, pagi.ExtTLS: x.tlsInfo()}
	}
}

// OfferedSubprotocols returns what a client offers in the Sec-WebSocket-Protocol headers
// of its handshake, in its order of preference; without any an empty list.
func OfferedSubprotocols(headers pagi.Headers) []string {
	offered := []string{}
	for value := range headers.Values("sec-websocket-protocol") {
		for name := range strings.SplitSeq(value, ",") {
			if name = strings.TrimSpace(name); name != "" {
				offered = append(offered, name)
			}
		}
	}
	return offered
}

// handshake is a WebSocketHandshake by way of an exchange.
type handshake struct{ x *exchange }

func (h handshake) Accept(e pagi.WebSocketAccept, hooks WebSocketHooks) (WebSocketConn, error) {
	x := h.x
	conn, err := x.h.WebSocket.Upgrade(x.stream, x.r, &x.scope, e, hooks)
	if err != nil {
		return nil, err
	}
	x.status = http.StatusSwitchingProtocols
	if x.r.ProtoMajor > 1 {
		x.status = http.StatusOK
	}
	x.end.control.Start()
	context.AfterFunc(x.r.Context(), func() {
		if reason := x.goneReason(""); reason != "" { // else the connection tells
			x.session.Cut(reason)
		}
	})
	return conn, nil
}

func (h handshake) Respond(ctx context.Context, ev pagi.Event) error { return h.x.send(ctx, ev) }

func (h handshake) Gone() <-chan struct{} {
	h.x.watch()
	return h.x.end.overSignal()
}

func (h handshake) GoneReason() string { return h.x.end.reason() }
