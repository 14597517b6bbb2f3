package pagitest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// WebSocket is a running websocket scope without a socket, whose client is the test. It enforces
// the server's rules with the same code (engine.WebSocketSession). Finish must be called.
//
// Every wait ends with the client's timeout. The application then sees the connection drop with
// reason client_timeout.
type WebSocket struct {
	// Scope is the scope with which the application was called.
	Scope *pagi.Scope
	// Accepted says that the application accepted. Subprotocol and Headers come from its
	// WebSocketAccept.
	Accepted    bool
	Subprotocol string
	Headers     pagi.Headers
	// Response is the answer without an accept: the denial response, 403, or the answer for an
	// application that failed. It is nil after an accept.
	Response *Response

	client   WebSocketWire // the client's end; nil: not accepted
	session  *engine.WebSocketSession
	stop     func()
	answered chan struct{} // closed when the handshake is answered
	returned chan struct{} // closed when the session has ended
	outcome  engine.WebSocketOutcome
	visit    *visit // the server's side, of a WebSocket over a Carrier

	mu      sync.Mutex // guards the rest
	refusal *Response
	over    bool // refusal is complete
	leave   *leaving
	wrong   error // the first event the specification forbids
	left    bool  // the client has sent Close
	slow    bool  // messages count for the session's flow
}

// Subprotocols offers subprotocols in a WebSocket handshake, the preferred one first.
func Subprotocols(names ...string) Option {
	return func(r *request) {
		for _, name := range names {
			r.headers.Add("sec-websocket-protocol", name)
		}
	}
}

// WebSocket makes a handshake and returns when the application has answered it, or has returned.
// Options about a body have no meaning here.
func (c *Client) WebSocket(target string, opts ...Option) *WebSocket {
	w := &WebSocket{answered: make(chan struct{}), returned: make(chan struct{})}
	r := newRequest(opts)
	o := c.origin(pathOf(target), r)
	if via, err := c.via(r); via != nil || err != nil {
		w.beginRemote(c, via, err, target, r)
	} else {
		w.beginLocal(c, target, r)
	}
	if w.Accepted {
		c.learn(o, w.Headers)
	} else {
		c.learn(o, w.Response.Headers)
	}
	return w
}

// beginLocal makes a handshake in memory.
func (w *WebSocket) beginLocal(c *Client, target string, r *request) {
	w.Scope, w.slow = c.webSocketScope(target, r), r.slow
	ctx, stop := context.WithTimeoutCause(context.Background(), c.timeout(), &pagi.DisconnectError{Reason: pagi.ReasonClientTimeout})
	ctx, cancel := context.WithCancelCause(ctx)
	w.stop = func() { cancel(nil); stop() }
	w.leave = r.leave.copied()
	w.session = &engine.WebSocketSession{App: w.watched(c.App), Scope: w.Scope, Handshake: memoryHandshake{w, ctx}, EndContext: cancel}
	context.AfterFunc(ctx, func() { w.session.Cut(pagi.ReasonClientTimeout) }) // which the first end forestalls
	go func() {
		defer close(w.returned)
		w.outcome = w.session.Serve(ctx)
	}()
	select {
	case <-w.answered:
	case <-w.returned:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.Accepted {
		w.Response = w.refusal
		if w.Response == nil {
			w.Response = failed(w.outcome.Err)
		}
	}
}

// webSocketScope makes the scope of a handshake.
func (c *Client) webSocketScope(target string, r *request) *pagi.Scope {
	edits := r.edits
	r.edits = nil
	for _, h := range pagi.NewHeaders("upgrade", "websocket", "connection", "Upgrade", "sec-websocket-version", "13",
		"sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==") {
		r.headers.Set(h.Name, h.Value)
	}
	scope, _, _ := c.scope("GET", target, r)
	scope.Type, scope.Method, scope.Connection = pagi.TypeWebSocket, "", nil
	scope.Scheme = webSocketScheme[scope.Scheme]
	scope.Subprotocols = engine.OfferedSubprotocols(scope.Headers)
	if c.Extensions == nil {
		scope.Extensions = map[string]any{pagi.ExtDenialResponse: struct{}{}}
	}
	for _, edit := range edits {
		edit(scope)
	}
	return scope
}

// watched records the first event of app that the specification forbids.
func (w *WebSocket) watched(app pagi.App) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		return app.Serve(ctx, scope, receive, func(ctx context.Context, ev pagi.Event) error {
			err := send(ctx, ev)
			if err == nil && w.leavesAfter(ev) {
				w.session.Cut(w.leave.reason)
			}
			var wrong *pagi.EventError
			if errors.As(err, &wrong) {
				w.mu.Lock()
				defer w.mu.Unlock()
				if w.wrong == nil {
					w.wrong = err
				}
			}
			return err
		})
	})
}

// leavesAfter reports whether the client leaves after an event of the application.
func (w *WebSocket) leavesAfter(ev pagi.Event) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, _ := w.leave.isNow(messageSize(ev))
	return now
}

// failed returns the answer of a server for an application that has failed with err.
func failed(err error) *Response {
	res := &Response{Status: 500, Err: err}
	var status *pagi.StatusError
	switch {
	case errors.As(err, &status):
		res.Status, res.Headers = status.Status, status.Headers.Clone()
	case errors.Is(err, pagi.ErrUnsupported):
		res.Status = 403
	case err == nil:
		res.Err = errNoAnswer
	}
	return res
}

// SendText sends a text message.
func (w *WebSocket) SendText(text string) error { return w.put(pagi.WebSocketReceive{Text: text}) }

// SendBytes sends a binary message.
func (w *WebSocket) SendBytes(b []byte) error {
	return w.put(pagi.WebSocketReceive{Bytes: append([]byte{}, b...), Binary: true})
}

// SendJSON sends v as JSON in a text message.
func (w *WebSocket) SendJSON(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("pagitest: %w", err)
	}
	return w.SendText(string(text))
}

// Receive returns the next message from the application. After the last one the error is a
// *engine.WebSocketEnd: its Code and Reason are those of the application's Close, or 1006 if there
// was none.
func (w *WebSocket) Receive() (pagi.WebSocketSend, error) {
	if !w.Accepted {
		return pagi.WebSocketSend{}, errNotAccepted
	}
	return w.client.Receive()
}

// ReceiveText returns the next message, which must be a text.
func (w *WebSocket) ReceiveText() (string, error) {
	m, err := w.Receive()
	if err == nil && m.Binary {
		err = fmt.Errorf("pagitest: the message is binary, %d bytes", len(m.Bytes))
	}
	return m.Text, err
}

// ReceiveBytes returns the next message, which must be binary.
func (w *WebSocket) ReceiveBytes() ([]byte, error) {
	m, err := w.Receive()
	if err == nil && !m.Binary {
		err = fmt.Errorf("pagitest: the message is the text %q", m.Text)
	}
	return m.Bytes, err
}

// ReceiveJSON decodes the next message, of either kind, into v.
func (w *WebSocket) ReceiveJSON(v any) error {
	m, err := w.Receive()
	if err != nil {
		return err
	}
	text := m.Bytes
	if !m.Binary {
		text = []byte(m.Text)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("pagitest: the message %.1500q is not the JSON asked for: %w", text, err)
	}
	return nil
}

// Close sends a Close frame; code 1005 stands for one without a code.
func (w *WebSocket) Close(code int, reason string) error {
	if !w.Accepted {
		return errNotAccepted
	}
	w.mu.Lock()
	w.left = true
	w.mu.Unlock()
	return w.client.Close(code, reason)
}

// Disconnect drops the connection without a Close frame, for a reason of package pagi.
func (w *WebSocket) Disconnect(reason string) {
	if w.Accepted {
		w.client.Drop(reason)
	}
}

// Mute stops the client from answering pings.
func (w *WebSocket) Mute() {
	if w.Accepted {
		w.client.Mute()
	}
}

// Pings returns how many pings the client has received.
func (w *WebSocket) Pings() int {
	if !w.Accepted {
		return 0
	}
	return w.client.Pings()
}

// Finish drops the connection if it is still open, and waits until the application has returned. It
// returns the application's error or panic, or its first event that the specification forbids. The
// client's leaving alone is no error.
func (w *WebSocket) Finish() error {
	defer w.stop()
	w.mu.Lock()
	left := w.left
	w.mu.Unlock()
	if !left {
		w.Disconnect(pagi.ReasonClientClosed)
	}
	<-w.returned
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.visit != nil {
		w.visit.forget()
		w.wrong = w.visit.forbidden()
	}
	err := w.outcome.Err
	if err == nil && !w.Accepted {
		err = w.Response.Err
	}
	return errors.Join(err, w.wrong)
}

var webSocketScheme = map[string]string{"http": "ws", "https": "wss"}

var errNoAnswer = errors.New("the application returned without an answer")

var errNotAccepted = errors.New("pagitest: the application did not accept the WebSocket")

func (w *WebSocket) put(m pagi.WebSocketReceive) error {
	if !w.Accepted {
		return errNotAccepted
	}
	return w.client.Send(m)
}

// memoryHandshake is the client's side of a handshake without a socket.
type memoryHandshake struct {
	w   *WebSocket
	ctx context.Context
}

func (h memoryHandshake) Accept(e pagi.WebSocketAccept, hooks engine.WebSocketHooks) (engine.WebSocketConn, error) {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	conn := newMemory(hooks, h.w.slow)
	h.w.client = memoryClient{conn, h.w.session}
	h.w.Accepted, h.w.Subprotocol, h.w.Headers = true, e.Subprotocol, e.Headers.Clone()
	close(h.w.answered)
	return conn, nil
}

func (h memoryHandshake) Respond(_ context.Context, ev pagi.Event) error {
	w := h.w
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := ev.(type) {
	case pagi.HTTPResponseStart:
		w.refusal = &Response{Status: e.Status, Headers: e.Headers.Clone()}
	case pagi.HTTPResponseBody:
		if w.over {
			return &pagi.EventError{Type: e.EventType(), Problem: "the response is complete"}
		}
		w.refusal.Body = append(w.refusal.Body, e.Body...)
		if w.over = !e.More; w.over {
			close(w.answered)
		}
	}
	return nil
}

func (h memoryHandshake) Gone() <-chan struct{} { return h.ctx.Done() }
func (h memoryHandshake) GoneReason() string    { return pagi.ReasonClientTimeout }
