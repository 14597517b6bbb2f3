package socket

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// ownHeaders are those of a handshake that gorilla/websocket makes itself.
var ownHeaders = map[string]bool{
	"upgrade": true, "connection": true, "sec-websocket-version": true, "sec-websocket-key": true,
}

// WebSocket implements pagitest.Carrier.
func (c *carrier) WebSocket(ctx context.Context, scope *pagi.Scope) (pagitest.WebSocketWire, pagi.Headers, pagitest.Wire, error) {
	header := http.Header{}
	for _, h := range scope.Headers {
		if !ownHeaders[h.Name] {
			header.Add(h.Name, h.Value)
		}
	}
	var rec *recorder
	dialer := websocket.Dialer{NetDialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := c.dial(ctx)
		if err != nil {
			return nil, err
		}
		rec = &recorder{Conn: conn, recording: true}
		return rec, nil
	}}
	// The Dialer sends the header "host", and dials whatever the URL names.
	conn, _, err := dialer.DialContext(ctx, "ws://pagitest"+scope.Target, header)
	switch {
	case rec == nil:
		return nil, nil, nil, err
	case errors.Is(err, websocket.ErrBadHandshake):
		w, err := rec.refusal()
		return nil, nil, w, err
	case err != nil:
		_ = rec.Conn.Close()
		return nil, nil, nil, err
	}
	head, err := readHead(bufio.NewReader(bytes.NewReader(rec.stop())))
	if err != nil {
		_ = conn.Close()
		return nil, nil, nil, err
	}
	return newWebSocket(conn), head.headers, nil, nil
}

// recorder keeps what is read during a handshake, because the Dialer drops most of an answer that
// refuses it. It also keeps the connection open.
type recorder struct {
	net.Conn
	mu        sync.Mutex
	recording bool
	read      bytes.Buffer
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.recording {
		r.read.Write(p[:n])
	}
	return n, err
}

func (r *recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.recording {
		return nil
	}
	return r.Conn.Close()
}

// stop ends the recording and returns it.
func (r *recorder) stop() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recording = false
	return r.read.Bytes()
}

// refusal returns the answer from its beginning.
func (r *recorder) refusal() (*wire, error) {
	read := r.stop()
	if err := r.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	w := newWire(r, http.MethodGet)
	w.r = bufio.NewReader(io.MultiReader(bytes.NewReader(read), r))
	return w, nil
}

// webSocket is a pagitest.WebSocketWire. Its goroutine reads until the end, so that pings are
// answered and counted whether or not the test receives.
type webSocket struct {
	conn    *websocket.Conn
	sending sync.Mutex // held by the writer of a message

	mu       sync.Mutex // guards the rest
	change   *sync.Cond
	messages []pagi.WebSocketSend
	end      *engine.WebSocketEnd // nil: not yet
	silent   bool
	pings    int
}

func newWebSocket(conn *websocket.Conn) *webSocket {
	w := &webSocket{conn: conn}
	w.change = sync.NewCond(&w.mu)
	conn.SetPingHandler(w.ping)
	go w.read()
	return w
}

// controlTime is how long writing a control frame may take.
const controlTime = 5 * time.Second

func (w *webSocket) ping(data string) error {
	w.mu.Lock()
	w.pings++
	silent := w.silent
	w.mu.Unlock()
	if !silent {
		// An error is noticed by reading, too.
		_ = w.conn.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(controlTime))
	}
	return nil
}

// read takes messages until the connection ends.
func (w *webSocket) read() {
	for {
		kind, data, err := w.conn.ReadMessage()
		w.mu.Lock()
		switch {
		case err != nil:
			w.end = endOf(err)
		case kind == websocket.BinaryMessage:
			w.messages = append(w.messages, pagi.WebSocketSend{Bytes: data, Binary: true})
		default:
			w.messages = append(w.messages, pagi.WebSocketSend{Text: string(data)})
		}
		w.change.Broadcast()
		w.mu.Unlock()
		if err != nil {
			_ = w.conn.Close()
			return
		}
	}
}

// endOf tells how a connection ended.
func endOf(err error) *engine.WebSocketEnd {
	var closed *websocket.CloseError
	if errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure {
		return &engine.WebSocketEnd{Code: closed.Code, Reason: closed.Text, Peer: true}
	}
	return &engine.WebSocketEnd{Code: websocket.CloseAbnormalClosure, Reason: pagi.ReasonClientClosed, Text: strings.TrimSpace(err.Error())}
}

// Send implements pagitest.WebSocketWire.
func (w *webSocket) Send(m pagi.WebSocketReceive) error {
	w.sending.Lock()
	defer w.sending.Unlock()
	if m.Binary {
		return w.conn.WriteMessage(websocket.BinaryMessage, m.Bytes)
	}
	return w.conn.WriteMessage(websocket.TextMessage, []byte(m.Text))
}

// Receive implements pagitest.WebSocketWire.
func (w *webSocket) Receive() (pagi.WebSocketSend, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.messages) == 0 {
		if w.end != nil {
			return pagi.WebSocketSend{}, w.end
		}
		w.change.Wait()
	}
	m := w.messages[0]
	w.messages = w.messages[1:]
	return m, nil
}

// Close implements pagitest.WebSocketWire.
func (w *webSocket) Close(code int, reason string) error {
	return w.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(controlTime))
}

// Drop implements pagitest.WebSocketWire.
func (w *webSocket) Drop(string) { _ = w.conn.Close() }

// Mute implements pagitest.WebSocketWire.
func (w *webSocket) Mute() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent = true
}

// Pings implements pagitest.WebSocketWire.
func (w *webSocket) Pings() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pings
}
