package pagitest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// chat makes a websocket application of a function with simple arguments.
func chat(f func(next func() pagi.Event, send func(pagi.Event) error, scope *pagi.Scope) error) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeWebSocket {
			return pagi.Unsupported(scope)
		}
		next := func() pagi.Event {
			ev, err := receive(ctx)
			if err != nil {
				panic(err)
			}
			return ev
		}
		return f(next, func(ev pagi.Event) error { return send(ctx, ev) }, scope)
	})
}

// shout answers texts in upper case and everything else as it is.
var shout = chat(func(next func() pagi.Event, send func(pagi.Event) error, scope *pagi.Scope) error {
	for {
		var err error
		switch ev := next().(type) {
		case pagi.WebSocketConnect:
			accept := pagi.WebSocketAccept{}
			if slices.Contains(scope.Subprotocols, "loud") {
				accept.Subprotocol = "loud"
			}
			err = send(accept)
		case pagi.WebSocketReceive:
			err = send(pagi.WebSocketSend{Text: strings.ToUpper(ev.Text), Bytes: ev.Bytes, Binary: ev.Binary})
		case pagi.WebSocketDisconnect:
			return nil
		}
		if err != nil {
			return err
		}
	}
})

func ExampleClient_WebSocket() {
	client := pagitest.New(shout)
	ws := client.WebSocket("/chat", pagitest.Subprotocols("soft", "loud"))
	fmt.Println(ws.Accepted, ws.Subprotocol)

	_ = ws.SendText("hello") // an error would show in Receive
	fmt.Println(ws.ReceiveText())
	_ = ws.SendJSON(map[string]int{"n": 1})
	var got map[string]int
	fmt.Println(ws.ReceiveJSON(&got), got["N"])

	_ = ws.Close(1000, "bye")
	fmt.Println(ws.Finish())
	// Output:
	// true loud
	// HELLO <nil>
	// <nil> 1
	// <nil>
}

func TestWebSocketMessages(t *testing.T) {
	ws := pagitest.New(shout).WebSocket("/")
	if !ws.Accepted || ws.Response != nil || ws.Subprotocol != "" {
		t.Fatalf("%+v", ws)
	}
	if s := ws.Scope; s.Type != pagi.TypeWebSocket || s.Scheme != "ws" || s.Method != "" || s.Subprotocols == nil || s.Connection != nil || s.Transport == nil {
		t.Errorf("scope %+v", s)
	}
	if err := errors.Join(ws.SendBytes([]byte{0, 255}), ws.SendText("a")); err != nil {
		t.Fatal(err)
	}
	if b, err := ws.ReceiveBytes(); string(b) != "\x00\xff" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if b, err := ws.ReceiveBytes(); err == nil {
		t.Errorf("a text passed for bytes: %q", b)
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
	if err := ws.SendText("x"); err == nil {
		t.Error("a message was sent after the end")
	}
}

func TestWebSocketEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		act  func(ws *pagitest.WebSocket) error
		want pagi.WebSocketDisconnect
	}{
		"the client closes":     {func(ws *pagitest.WebSocket) error { return ws.Close(4000, "bored") }, pagi.WebSocketDisconnect{Code: 4000, Reason: "bored"}},
		"the client is lost":    {func(ws *pagitest.WebSocket) error { ws.Disconnect(pagi.ReasonWriteTimeout); return nil }, pagi.WebSocketDisconnect{Code: 1006, Reason: lost(pagi.ReasonWriteTimeout)}},
		"the test does no more": {func(*pagitest.WebSocket) error { return nil }, pagi.WebSocketDisconnect{Code: 1006, Reason: pagi.ReasonClientClosed}},
	} {
		t.Run(name, func(t *testing.T) {
			var got pagi.Event
			ws := pagitest.New(chat(func(next func() pagi.Event, send func(pagi.Event) error, _ *pagi.Scope) error {
				next()
				err := send(pagi.WebSocketAccept{})
				got = next()
				return err
			})).WebSocket("/")
			if err := errors.Join(tt.act(ws), ws.Finish()); err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestWebSocketAnswers(t *testing.T) {
	failure := errors.New("boom")
	for name, tt := range map[string]struct {
		events []pagi.Event
		err    error
		status int
		body   string
		server bool   // the server makes the answer
		finish string // in the error of Finish; "": none
	}{
		"it closes": {events: []pagi.Event{pagi.WebSocketClose{Code: 4000}}, status: 403, body: "Forbidden\n"},
		"it denies": {events: []pagi.Event{
			pagi.WebSocketHTTPResponseStart{Status: 401, Headers: pagi.NewHeaders("www-authenticate", "Bearer")},
			pagi.WebSocketHTTPResponseBody{Body: []byte("log "), More: true},
			pagi.WebSocketHTTPResponseBody{Body: []byte("in")},
		}, status: 401, body: "log in"},
		"it fails":              {err: failure, status: 500, server: true, finish: "boom"},
		"it fails with status":  {err: &pagi.StatusError{Status: 503}, status: 503, server: true, finish: "503"},
		"it says nothing":       {status: 500, server: true, finish: "without an answer"},
		"it does not know them": {err: pagi.ErrUnsupported, status: 403, server: true, finish: "unsupported"},
		"it sends too early":    {events: []pagi.Event{pagi.WebSocketSend{Text: "x"}, pagi.WebSocketClose{}}, status: 403, body: "Forbidden\n", finish: "must come first"},
	} {
		t.Run(name, func(t *testing.T) {
			ws := pagitest.New(chat(func(next func() pagi.Event, send func(pagi.Event) error, _ *pagi.Scope) error {
				next()
				for _, ev := range tt.events {
					_ = send(ev) // what is wrong with it, Finish tells
				}
				return tt.err
			})).WebSocket("/")
			if ws.Accepted || ws.Response == nil || ws.Response.Status != tt.status ||
				ws.Response.Text() != tt.body && !(tt.server && onSocket()) {
				t.Errorf("%v, %+v", ws.Accepted, ws.Response)
			}
			if _, err := ws.Receive(); err == nil {
				t.Error("a message was received all the same")
			}
			if err := ws.Finish(); (err == nil) != (tt.finish == "") || err != nil && !strings.Contains(err.Error(), tt.finish) {
				t.Errorf("Finish: %v, want %q", err, tt.finish)
			}
		})
	}
}

func TestWebSocketClosedByTheApplication(t *testing.T) {
	for name, tt := range map[string]struct {
		close  pagi.Event
		err    error
		code   int
		reason string
	}{
		"with a code":  {close: pagi.WebSocketClose{Code: 3001, Reason: "done"}, code: 3001, reason: "done"},
		"without":      {close: pagi.WebSocketClose{}, code: 1000},
		"by returning": {code: 1000},
		"by failing":   {err: errors.New("boom"), code: 1011},
		"by a restart": {err: &pagi.StatusError{Status: 503}, code: 1012},
	} {
		t.Run(name, func(t *testing.T) {
			ws := pagitest.New(chat(func(next func() pagi.Event, send func(pagi.Event) error, _ *pagi.Scope) error {
				next()
				err := errors.Join(send(pagi.WebSocketAccept{}), send(pagi.WebSocketSend{Text: "last"}))
				if tt.close != nil {
					err = errors.Join(err, send(tt.close), send(pagi.WebSocketSend{Text: "too late"}))
				}
				return errors.Join(err, tt.err)
			})).WebSocket("/")
			if text, err := ws.ReceiveText(); text != "last" || err != nil {
				t.Errorf("%q, %v", text, err)
			}
			_, err := ws.Receive()
			var end *engine.WebSocketEnd
			if !errors.As(err, &end) || end.Code != tt.code || end.Reason != tt.reason {
				t.Errorf("%v, want %d %q", err, tt.code, tt.reason)
			}
			if err := ws.Finish(); !errors.Is(err, tt.err) {
				t.Error(err)
			}
		})
	}
}

func TestWebSocketKeepalive(t *testing.T) {
	app := chat(func(next func() pagi.Event, send func(pagi.Event) error, _ *pagi.Scope) error {
		next()
		err := errors.Join(send(pagi.WebSocketAccept{}), send(pagi.WebSocketKeepalive{Interval: 5 * time.Millisecond, Timeout: 50 * time.Millisecond}))
		if end := next(); end != (pagi.WebSocketDisconnect{Code: 1006, Reason: pagi.ReasonKeepaliveTimeout}) {
			err = errors.Join(err, fmt.Errorf("got %+v", end))
		}
		return err
	})
	ws := pagitest.New(app).WebSocket("/")
	for ws.Pings() < 20 { // twice the timeout
		time.Sleep(time.Millisecond)
	}
	ws.Mute()
	var end *engine.WebSocketEnd
	if _, err := ws.Receive(); !errors.As(err, &end) || end.Code != 1006 {
		t.Error(err)
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
}

func TestWebSocketHangs(t *testing.T) {
	client := pagitest.New(chat(func(next func() pagi.Event, send func(pagi.Event) error, _ *pagi.Scope) error {
		next()
		err := send(pagi.WebSocketAccept{})
		if end := next(); end != (pagi.WebSocketDisconnect{Code: 1006, Reason: lost(pagi.ReasonClientTimeout)}) {
			err = errors.Join(err, fmt.Errorf("got %+v", end))
		}
		return err
	}))
	client.Timeout = 20 * time.Millisecond
	ws := client.WebSocket("/")
	if _, err := ws.Receive(); err == nil {
		t.Error("a message came")
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
}
