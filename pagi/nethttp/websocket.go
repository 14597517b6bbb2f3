package nethttp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"time"

	"github.com/gorilla/websocket"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// closeTime is how long a handler may go on when the WebSocket has ended, before its
// connection is closed.
const closeTime = 2 * time.Second

// answerTime is how long a message of the client waits for answers to the one before it that the
// client does not take. It is how long a server waits for answers before a Close frame.
const answerTime = 500 * time.Millisecond

// serveWebSocket calls the handler for a websocket scope. The handler gets a handshake of HTTP/1.1.
// The connection that it hijacks is one end of a pipe. At the other end a WebSocket client
// translates between its messages and the scope's events.
func (a app) serveWebSocket(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	ev, err := receive(ctx)
	if _, connects := ev.(pagi.WebSocketConnect); err != nil || !connects {
		return err // the client has left
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	near, far := newPipe(scopeAddr{scope.Server}, scopeAddr{scope.Client})
	// Once the WebSocket is open, the handler learns its end from the connection. Its request's
	// context must not end before that, so it does not derive from ctx.
	handling, stopHandling := context.WithCancel(context.WithoutCancel(ctx))
	stop := func() {
		_ = near.Close() // of a pipe: cannot fail
		stopHandling()
	}
	defer stop()
	opened := context.AfterFunc(ctx, stop)
	served := make(chan error, 1)
	go func() {
		err := errExited
		defer func() { served <- err }()
		err = a.serveHandshake(handling, scope, denying(scope, send), far)
	}()

	dialer := websocket.Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) { return near, nil }}
	c, res, err := dialer.DialContext(ctx, "ws://pipe/", nil)
	if err != nil { // the handler has answered otherwise
		stop()
		return <-served
	}
	if err := send(ctx, pagi.WebSocketAccept{Subprotocol: c.Subprotocol(), Headers: acceptHeaders(res.Header)}); err != nil {
		stop()
		return errors.Join(err, <-served)
	}
	opened()
	returned := make(chan struct{})
	defer close(returned)
	context.AfterFunc(ctx, func() {
		select {
		case <-time.After(closeTime):
			stop()
		case <-returned:
		}
	})
	passed := make(chan struct{})
	go func() {
		defer close(passed)
		passToHandler(ctx, c, near, receive)
	}()
	err = passToClient(ctx, c, send)
	stop() // a handler that goes on learns it
	cancel()
	<-passed
	return errors.Join(err, <-served)
}

// errExited is the outcome of a handler that has ended its goroutine (runtime.Goexit).
var errExited = errors.New("nethttp: the handler has ended its goroutine")

// serveHandshake calls the handler with a handshake that has come by far, which it closes
// unless the handler has taken it.
func (a app) serveHandshake(ctx context.Context, scope *pagi.Scope, respond pagi.Send, far net.Conn) (err error) {
	w := &upgradeWriter{eventWriter: newEventWriter(ctx, scope, respond), conn: far}
	defer w.end()
	returned := false
	defer func() {
		if p := recover(); p != nil {
			err = &pagi.PanicError{Value: p, Stack: debug.Stack()}
		}
		if !returned || !w.taken {
			_ = far.Close() // of a pipe: cannot fail
		}
	}()
	w.in = bufio.NewReader(far)
	asked, err := http.ReadRequest(w.in)
	if err != nil {
		return fmt.Errorf("nethttp: reading the handshake: %w", err)
	}
	r, err := newHandshake(ctx, scope, asked.Header.Get("Sec-WebSocket-Key"))
	if err != nil {
		return err
	}
	a.handler.ServeHTTP(w, r)
	returned = true
	if w.taken {
		return nil
	}
	return w.finish()
}

// newHandshake builds the request of an HTTP/1.1 handshake, even if the client's was another. It
// offers no extensions, because these are between the client and the server.
func newHandshake(ctx context.Context, scope *pagi.Scope, key string) (*http.Request, error) {
	scope = scope.Clone()
	scope.Method, scope.HTTPVersion = http.MethodGet, "1.1"
	scope.Headers = scope.Headers.Clone()
	for _, h := range []pagi.Header{
		{Name: "connection", Value: "Upgrade"}, {Name: "upgrade", Value: "websocket"},
		{Name: "sec-websocket-version", Value: "13"}, {Name: "sec-websocket-key", Value: key},
	} {
		scope.Headers.Set(h.Name, h.Value)
	}
	scope.Headers.Del("sec-websocket-extensions")
	scope.Headers.Del("content-length")
	return newHTTPRequest(ctx, scope, nil)
}

// upgradeWriter is the http.ResponseWriter of a handshake.
type upgradeWriter struct {
	*eventWriter // the response, if the handler does not upgrade
	conn         net.Conn
	in           *bufio.Reader // reads from conn
	taken        bool          // the handler has hijacked conn
}

// Hijack implements http.Hijacker.
func (w *upgradeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.taken {
		return nil, nil, http.ErrHijacked
	}
	w.taken = true
	return w.conn, bufio.NewReadWriter(w.in, bufio.NewWriter(w.conn)), nil
}

// WriteHeader writes the head of status 101 to the connection, for handlers that call it before
// they hijack the connection.
func (w *upgradeWriter) WriteHeader(status int) {
	if status != http.StatusSwitchingProtocols {
		w.eventWriter.WriteHeader(status)
		return
	}
	head := http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: w.Header()}
	_ = head.Write(w.conn) // what the handler writes next fails, too
}

// ReadFrom implements io.ReaderFrom. A response that denies a handshake has no file events.
func (w *upgradeWriter) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{w.eventWriter}, r)
}

// passToHandler gives the client's messages to the handler, until the client closes or ctx
// ends. It receives the next event when the handler has dealt with the message and its answers
// have been passed on: so the server knows whether an application still has to answer messages
// that came before a Close frame.
func passToHandler(ctx context.Context, c *websocket.Conn, near *pipeEnd, receive pagi.Receive) {
	for {
		ev, err := receive(ctx)
		if err != nil {
			_ = c.Close()
			return
		}
		switch e := ev.(type) {
		case pagi.WebSocketReceive:
			kind, data := websocket.TextMessage, []byte(e.Text)
			if e.Binary {
				kind, data = websocket.BinaryMessage, e.Bytes
			}
			if c.WriteMessage(kind, data) != nil {
				return // the handler has closed; passToClient tells
			}
			near.out.awaitDealtWith(ctx)
			awaitAnswers(ctx, near.in)
		case pagi.WebSocketDisconnect:
			if e.Code == websocket.CloseAbnormalClosure {
				_ = c.Close() // the client is gone: so is the connection
				return
			}
			frame := websocket.FormatCloseMessage(e.Code, e.Reason)
			if c.WriteControl(websocket.CloseMessage, frame, time.Now().Add(closeTime)) != nil {
				_ = c.Close() // the handler takes nothing
			}
			return
		}
	}
}

// awaitAnswers returns when passToClient has dealt with what the handler has written so far. A
// client that takes nothing does not hold up its own messages for longer than answerTime.
func awaitAnswers(ctx context.Context, fromHandler *flow) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	fromHandler.awaitDealtWith(ctx)
}

// passToClient passes the handler's messages to the client until the handler closes, with or
// without a Close frame.
func passToClient(ctx context.Context, c *websocket.Conn, send pagi.Send) error {
	for {
		kind, data, err := c.ReadMessage()
		var closed *websocket.CloseError
		switch {
		case errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure:
			if closed.Code == websocket.CloseNoStatusReceived {
				closed.Code = 0
			}
			return send(ctx, pagi.WebSocketClose{Code: closed.Code, Reason: closed.Text})
		case err != nil:
			return nil // the server closes with 1000
		}
		m := pagi.WebSocketSend{Text: string(data)}
		if kind == websocket.BinaryMessage {
			m = pagi.WebSocketSend{Bytes: data, Binary: true}
		}
		if err := send(ctx, m); err != nil {
			return err
		}
	}
}

// acceptHeaders returns the application's own headers of a handshake's response.
func acceptHeaders(from http.Header) pagi.Headers {
	return slices.DeleteFunc(eventHeaders(from), func(h pagi.Header) bool { return engine.IsHandshakeHeader(h.Name) })
}

// denying returns a Send that passes an ordinary response on as the answer to a handshake. If the
// server does not support such answers, the client gets a 403.
func denying(scope *pagi.Scope, send pagi.Send) pagi.Send {
	return func(ctx context.Context, ev pagi.Event) error {
		switch e := ev.(type) {
		case pagi.HTTPResponseStart:
			if !scope.HasExtension(pagi.ExtDenialResponse) {
				return send(ctx, pagi.WebSocketClose{})
			}
			return send(ctx, pagi.WebSocketHTTPResponseStart{Status: e.Status, Headers: e.Headers})
		case pagi.HTTPResponseBody:
			if !scope.HasExtension(pagi.ExtDenialResponse) {
				return nil
			}
			return send(ctx, pagi.WebSocketHTTPResponseBody{Body: e.Body, More: e.More})
		}
		return nil // such a response has no trailers
	}
}
