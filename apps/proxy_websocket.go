package apps

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/pagi-go/pagi-bridge/apps/internal/upstream"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// closeTime is how long a backend may take to answer a Close frame.
const closeTime = 5 * time.Second

var webSocketBuffers sync.Pool

// serveWebSocket passes a websocket scope on. The handshake with the backend is one of HTTP/1.1,
// whatever the client speaks.
func (p *proxy) serveWebSocket(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if ev, err := receive(ctx); err != nil {
		return err
	} else if _, is := ev.(pagi.WebSocketConnect); !is {
		return nil // the client has left
	}
	if refused, err := p.refused(ctx, scope, send); refused {
		return err
	}
	if p.pool.Backends()[0].IsFastCGI() { // which knows no WebSockets
		return reply.Status(ctx, scope, send, http.StatusNotImplemented)
	}
	headers, host := p.requestHeaders(scope)
	var tried []*upstream.Backend
	key := p.key(scope)
	for {
		b, wait := p.pool.Pick(key, tried)
		if b == nil {
			if len(tried) > 0 {
				return reply.Status(ctx, scope, send, http.StatusBadGateway)
			}
			return p.unavailable(ctx, scope, send, wait)
		}
		h := &handshake{proxy: p, scope: scope, backend: b}
		end, ok := b.BeginWebSocket(p.MaxConns)
		if !ok {
			p.logFailure(scope, b, errors.New("it has too many WebSockets (option max_conns)"))
			return p.unavailable(ctx, scope, send, time.Second)
		}
		again, err := h.attempt(ctx, headers, host, receive, send)
		end()
		if !again || len(tried)+1 >= p.Tries || len(p.pool.Backends()) == 1 {
			if again {
				err = reply.Status(ctx, scope, send, h.status)
			}
			return err
		}
		tried = append(tried, b)
	}
}

// handshake is the handshake of a WebSocket with one backend.
type handshake struct {
	*proxy
	scope   *pagi.Scope
	backend *upstream.Backend
	tape    *tape       // nil: no connection was made
	calm    func() bool // ends the watch of the context during the handshake
	status  int         // for the client, if there was no answer

	answered int // the status of the backend's answer; 0: there was none
}

// serve makes the handshake and passes on what comes of it. again says that no connection was made.
func (h *handshake) serve(ctx context.Context, headers pagi.Headers, host string, receive pagi.Receive, send pagi.Send) (again bool, err error) {
	conn, res, err := h.dial(ctx, headers, host)
	if err == nil {
		err = h.accept(ctx, conn, res, send)
		if err == nil {
			h.pool.Succeeded(h.backend)
			return false, (&proxiedSocket{handshake: h, conn: conn}).run(ctx, receive, send)
		}
		conn.Close()
	}
	if h.tape != nil {
		defer h.tape.Conn.Close()
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if errors.Is(err, websocket.ErrBadHandshake) && res.StatusCode >= 200 && res.StatusCode <= 999 {
		if res, err = h.tape.response(); err == nil {
			defer res.Body.Close() // it is read, or given up
			return false, h.deny(ctx, res, send)
		}
	}
	var wrong *pagi.EventError
	if errors.As(err, &wrong) {
		err = fmt.Errorf("its answer to the handshake cannot be passed on: %w", err)
	}
	h.pool.Failed(h.backend, err)
	h.logFailure(h.scope, h.backend, err)
	h.status = http.StatusBadGateway
	if isTimeout(err) {
		h.status = http.StatusGatewayTimeout
	}
	if h.tape == nil {
		return true, nil
	}
	return false, reply.Status(ctx, h.scope, send, h.status)
}

// dial connects to the backend and makes the handshake.
func (h *handshake) dial(ctx context.Context, headers pagi.Headers, host string) (*websocket.Conn, *http.Response, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if h.ResponseTimeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, h.ConnectTimeout+h.ResponseTimeout)
		defer stop()
	}
	connect := func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := h.transport.Dial(ctx, h.backend)
		if err != nil {
			return nil, err
		}
		h.tape = &tape{Conn: conn}
		// The library looks at the context only while it connects. A deadline that is over wakes a
		// read.
		h.calm = context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
		return h.tape, nil
	}
	dialer := websocket.Dialer{
		NetDialContext: connect, NetDialTLSContext: connect, Subprotocols: h.scope.Subprotocols,
		ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10, WriteBufferPool: &webSocketBuffers,
	}
	u := target(h.scope, h.backend)
	u.Scheme = "ws" + u.Scheme[len("http"):]
	header := asHTTP(headers)
	header["Host"] = []string{or(host, h.hostFor(h.scope, h.backend))}
	conn, res, err := dialer.DialContext(ctx, u.String(), header)
	if h.tape != nil {
		h.calm()
	}
	if err == nil {
		h.tape.stop()
	}
	return conn, res, err
}

// accept completes the handshake with the client.
func (h *handshake) accept(ctx context.Context, conn *websocket.Conn, res *http.Response, send pagi.Send) error {
	h.answered = http.StatusSwitchingProtocols
	chosen := conn.Subprotocol()
	switch {
	case chosen != "" && !slices.Contains(h.scope.Subprotocols, chosen):
		return fmt.Errorf("it has chosen the subprotocol %q, which was not offered", chosen)
	case res.Header.Get("Sec-Websocket-Extensions") != "":
		return errors.New("it has chosen an extension, which was not offered")
	}
	headers, err := h.responseHeaders(h.scope, h.backend, asPAGI(res.Header))
	if err != nil {
		return err
	}
	return send(ctx, pagi.WebSocketAccept{Subprotocol: chosen, Headers: headers})
}

// deny passes on the response with which the backend has refused the handshake.
func (h *handshake) deny(ctx context.Context, res *http.Response, send pagi.Send) error {
	h.pool.Succeeded(h.backend)
	h.answered = res.StatusCode
	if !h.scope.HasExtension(pagi.ExtDenialResponse) {
		return send(ctx, pagi.WebSocketClose{})
	}
	headers, err := h.responseHeaders(h.scope, h.backend, asPAGI(res.Header))
	if err != nil {
		h.logFailure(h.scope, h.backend, err)
		return reply.Status(ctx, h.scope, send, http.StatusBadGateway)
	}
	if res.ContentLength >= 0 && res.StatusCode != http.StatusNoContent {
		headers.Set("content-length", strconv.FormatInt(res.ContentLength, 10))
	}
	if err := send(ctx, pagi.WebSocketHTTPResponseStart{Status: res.StatusCode, Headers: headers}); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { h.tape.Conn.Close() })
	defer stop()
	buf := make([]byte, 16<<10)
	for {
		h.limit(h.tape.Conn.SetDeadline)
		n, err := res.Body.Read(buf)
		ended := errors.Is(err, io.EOF)
		if err != nil && !ended {
			h.logFailure(h.scope, h.backend, fmt.Errorf("its refusal of a WebSocket has broken off: %w", err))
			return http.ErrAbortHandler
		}
		if err := send(ctx, pagi.WebSocketHTTPResponseBody{Body: buf[:n], More: !ended}); err != nil || ended {
			return err
		}
	}
}

// limit sets a deadline by IdleTimeout.
func (h *handshake) limit(set func(time.Time) error) {
	if h.IdleTimeout > 0 {
		_ = set(time.Now().Add(h.IdleTimeout)) // a connection that is closed says so when it is used
	} else {
		_ = set(time.Time{})
	}
}

// proxiedSocket is an open WebSocket with a backend.
type proxiedSocket struct {
	*handshake
	conn *websocket.Conn

	mu      sync.Mutex
	closing bool // the backend has closeTime
}

// run passes messages on, both ways, until one side has ended.
func (s *proxiedSocket) run(ctx context.Context, receive pagi.Receive, send pagi.Send) error {
	s.conn.SetReadLimit(s.MaxMessageSize)
	receiving, stop := context.WithCancel(ctx)
	defer stop()
	if s.PingInterval > 0 {
		if err := send(ctx, pagi.WebSocketKeepalive{Interval: s.PingInterval, Timeout: s.PingInterval}); err != nil {
			s.conn.Close()
			return err
		}
		s.conn.SetPongHandler(func(string) error { s.awaitSign(); return nil })
		var pinging sync.WaitGroup
		defer pinging.Wait()
		defer stop()
		pinging.Go(func() { s.ping(receiving) })
	}
	ended := make(chan error, 1)
	go func() {
		defer stop()
		ended <- s.fromBackend(ctx, send)
	}()
	err := s.toBackend(receiving, receive)
	// Either the client has ended, and the backend has closeTime to answer; or fromBackend has
	// ended.
	err = errors.Join(err, <-ended)
	s.conn.Close()
	return err
}

// ping pings the backend until ctx ends.
func (s *proxiedSocket) ping(ctx context.Context) {
	ticker := time.NewTicker(s.PingInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if s.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(s.PingInterval)) != nil {
			return // a connection that is broken shows when it is read
		}
	}
}

// awaitSign limits how long the backend may give no sign of life, from now on: a ping may be due in
// PingInterval, and its answer after as long again.
func (s *proxiedSocket) awaitSign() {
	if s.PingInterval <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		_ = s.conn.SetReadDeadline(time.Now().Add(2 * s.PingInterval)) // a connection that is closed says so when it is read
	}
}

// toBackend passes the client's messages on, and how it has ended.
func (s *proxiedSocket) toBackend(ctx context.Context, receive pagi.Receive) error {
	for {
		ev, err := receive(ctx)
		if ctx.Err() != nil && err != nil {
			s.conn.Close()
			return nil
		}
		if err != nil {
			s.conn.Close()
			return err
		}
		switch e := ev.(type) {
		case pagi.WebSocketReceive:
			if err := s.write(e); err != nil {
				s.conn.Close() // fromBackend tells the client
				return nil
			}
		case pagi.WebSocketDisconnect:
			s.closeBackend(e)
			return nil
		}
	}
}

func (s *proxiedSocket) write(e pagi.WebSocketReceive) error {
	s.limit(s.conn.SetWriteDeadline)
	if e.Binary {
		return s.conn.WriteMessage(websocket.BinaryMessage, e.Bytes)
	}
	return s.conn.WriteMessage(websocket.TextMessage, []byte(e.Text))
}

// closeBackend ends the backend's side as the client has ended its own.
func (s *proxiedSocket) closeBackend(e pagi.WebSocketDisconnect) {
	if e.Code == websocket.CloseAbnormalClosure {
		s.conn.Close() // the backend sees 1006, too
		return
	}
	deadline := time.Now().Add(closeTime)
	if s.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(e.Code, e.Reason), deadline) != nil {
		s.conn.Close()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	_ = s.conn.SetReadDeadline(deadline) // a connection that is closed says so when it is read
}

// fromBackend passes the backend's messages on, and how it has ended.
func (s *proxiedSocket) fromBackend(ctx context.Context, send pagi.Send) error {
	for {
		s.awaitSign()
		kind, message, err := s.conn.ReadMessage()
		if s.isSilent(err) {
			err = &upstream.OverdueError{Phase: "an answer to a ping", Option: "ping_interval", Limit: s.PingInterval}
		}
		if err == nil && kind == websocket.TextMessage && !utf8.Valid(message) {
			err = errors.New("it has sent a text that is not UTF-8")
			// The connection is closed next, whether the backend hears why or not.
			_ = s.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseInvalidFramePayloadData, ""), time.Now().Add(time.Second))
		}
		if err != nil {
			return send(ctx, s.closeFor(ctx, err))
		}
		m := pagi.WebSocketSend{Bytes: message, Binary: true}
		if kind == websocket.TextMessage {
			m = pagi.WebSocketSend{Text: string(message)}
		}
		if err := send(ctx, m); err != nil {
			return err
		}
	}
}

// isSilent reports whether an error says that the backend has not answered a ping.
func (s *proxiedSocket) isSilent(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return err != nil && s.PingInterval > 0 && !s.closing && isTimeout(err)
}

// closeFor returns the Close for the client when the backend's side has ended.
func (s *proxiedSocket) closeFor(ctx context.Context, err error) pagi.WebSocketClose {
	var end *websocket.CloseError
	if errors.As(err, &end) {
		switch end.Code {
		case websocket.CloseNoStatusReceived:
			return pagi.WebSocketClose{}
		case websocket.CloseAbnormalClosure:
		default:
			if closing := (pagi.WebSocketClose{Code: end.Code, Reason: end.Text}); pagi.Validate(pagi.TypeWebSocket, closing) == nil {
				return closing
			}
		}
	}
	if ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
		s.logger.Warn("proxy: the WebSocket of the backend has broken off", s.scope.Notes.Append([]any{
			"backend", s.backend.Name, "path", s.scope.RootPath + s.scope.Path, "client", s.scope.Client.Host, "error", err,
		})...)
	}
	return pagi.WebSocketClose{Code: websocket.CloseInternalServerErr}
}
