package nethttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	coder "github.com/coder/websocket"
	"github.com/gorilla/websocket"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// gorillaEcho echoes messages with gorilla/websocket until the client closes; after the message
// "close" it closes with 4001, after "drop" without a Close frame. It sends the error of its end to
// ended.
func gorillaEcho(ended chan<- error) http.Handler {
	upgrader := websocket.Upgrader{Subprotocols: []string{"loud"}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/denied" {
			w.Header().Set("X-Why", "closed")
			http.Error(w, "not today", http.StatusUnauthorized)
			return
		}
		c, err := upgrader.Upgrade(w, r, http.Header{"X-Room": {r.URL.Path}, "Content-Length": {"0"}})
		if err != nil {
			ended <- err
			return
		}
		defer c.Close()
		for {
			kind, data, err := c.ReadMessage()
			if err != nil {
				ended <- err
				return
			}
			switch string(data) {
			case "close":
				err = c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4001, "enough"))
			case "drop":
				ended <- nil
				return
			default:
				err = c.WriteMessage(kind, data)
			}
			if err != nil {
				ended <- err
				return
			}
		}
	})
}

// coderEcho does the same as gorillaEcho with coder/websocket.
func coderEcho(ended chan<- error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/denied" {
			w.Header().Set("X-Why", "closed")
			http.Error(w, "not today", http.StatusUnauthorized)
			return
		}
		w.Header().Set("X-Room", r.URL.Path)
		c, err := coder.Accept(w, r, &coder.AcceptOptions{Subprotocols: []string{"loud"}})
		if err != nil {
			ended <- err
			return
		}
		defer func() { _ = c.CloseNow() }()
		c.SetReadLimit(1 << 20)
		for {
			kind, data, err := c.Read(r.Context())
			if err != nil {
				ended <- err
				return
			}
			switch string(data) {
			case "close":
				err = c.Close(4001, "enough")
			case "drop":
				ended <- nil
				return
			default:
				err = c.Write(r.Context(), kind, data)
			}
			if err != nil {
				ended <- err
				return
			}
		}
	})
}

// libraries are handlers that hijack the connection.
var libraries = map[string]func(chan<- error) http.Handler{"gorilla": gorillaEcho, "coder": coderEcho}

// A handler that hijacks works in App, below a net/http server with Handler.
func TestHandlersThatHijack(t *testing.T) {
	for name, library := range libraries {
		t.Run(name, func(t *testing.T) {
			ended := make(chan error, 1)
			srv := httptest.NewServer(nethttp.Handler(nethttp.App(library(ended))))
			defer srv.Close()
			url := "ws" + strings.TrimPrefix(srv.URL, "http")
			dialer := websocket.Dialer{Subprotocols: []string{"soft", "loud"}}

			c, res, err := dialer.Dial(url+"/room", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if c.Subprotocol() != "loud" || res.Header.Get("X-Room") != "/room" {
				t.Errorf("subprotocol %q, headers %v", c.Subprotocol(), res.Header)
			}
			long := strings.Repeat("ü", 30_000) // longer than the pipe's buffers
			for _, m := range []struct {
				kind int
				data string
			}{{websocket.TextMessage, "hello"}, {websocket.BinaryMessage, "\x00\xff"}, {websocket.TextMessage, long}, {websocket.TextMessage, ""}} {
				if err := c.WriteMessage(m.kind, []byte(m.data)); err != nil {
					t.Fatal(err)
				}
				if kind, data, err := c.ReadMessage(); kind != m.kind || string(data) != m.data || err != nil {
					t.Fatalf("got %d, %d bytes, %v", kind, len(data), err)
				}
			}
			if err := c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4000, "bye")); err != nil {
				t.Fatal(err)
			}
			if err := testkit.Await(t, ended); err == nil || !strings.Contains(err.Error(), "4000") && !strings.Contains(err.Error(), "StatusCode(4000)") {
				t.Errorf("the handler is told %v", err)
			}
			if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, 4000) {
				t.Errorf("the client reads %v", err)
			}
		})
	}
}

// A test client without a socket can check a handler that hijacks in the same way as an
// application.
func TestHandlersThatHijackWithoutASocket(t *testing.T) {
	for name, library := range libraries {
		t.Run(name, func(t *testing.T) {
			ended := make(chan error, 1)
			client := pagitest.New(nethttp.App(library(ended)))

			t.Run("denied", func(t *testing.T) {
				ws := client.WebSocket("/denied")
				if ws.Accepted || ws.Response.Status != 401 || string(ws.Response.Body) != "not today\n" || ws.Response.Headers.Get("x-why") != "closed" {
					t.Errorf("%+v", ws.Response)
				}
				if err := ws.Finish(); err != nil {
					t.Error(err)
				}
			})
			for _, tt := range []struct {
				last string // what is sent last
				code int    // of the close that it has
			}{{"close", 4001}, {"drop", 1000}} {
				t.Run(tt.last, func(t *testing.T) {
					ws := client.WebSocket("/room")
					if !ws.Accepted {
						t.Fatalf("%+v", ws.Response)
					}
					if err := ws.SendText("a"); err != nil {
						t.Fatal(err)
					}
					if text, err := ws.ReceiveText(); text != "a" || err != nil {
						t.Errorf("%q %v", text, err)
					}
					if err := ws.SendText(tt.last); err != nil {
						t.Fatal(err)
					}
					var end *engine.WebSocketEnd
					if _, err := ws.Receive(); !errors.As(err, &end) || end.Code != tt.code {
						t.Errorf("the client sees %v, %+v", err, end)
					}
					testkit.Await(t, ended)
					if err := ws.Finish(); err != nil {
						t.Error(err)
					}
				})
			}
			t.Run("the client is lost", func(t *testing.T) {
				ws := client.WebSocket("/room")
				ws.Disconnect(pagi.ReasonClientClosed)
				if err := testkit.Await(t, ended); err == nil {
					t.Error("the handler is not told")
				}
				_ = ws.Finish() // nothing is asked of it
			})
		})
	}
}

// A handler that panics ends the WebSocket, not the program.
func TestAHandlerThatPanicsInAHandshake(t *testing.T) {
	client := pagitest.New(nethttp.App(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("ouch") })))
	ws := client.WebSocket("/")
	var panicked *pagi.PanicError
	if err := ws.Finish(); ws.Accepted || !errors.As(err, &panicked) || panicked.Value != "ouch" {
		t.Errorf("accepted %v, error %v", ws.Accepted, err)
	}
}

// Without the extension for denials, a denial becomes a close, and the client gets 403.
func TestADenialWithoutItsExtension(t *testing.T) {
	client := pagitest.New(nethttp.App(http.NotFoundHandler()))
	client.Extensions = map[string]any{}
	ws := client.WebSocket("/")
	if ws.Accepted || ws.Response.Status != 403 {
		t.Errorf("%+v", ws.Response)
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
}

// A scope without a type is a bug of the code that made it, not a scope to decline.
func TestAScopeWithoutAType(t *testing.T) {
	app := nethttp.App(http.NotFoundHandler())
	err := app.Serve(t.Context(), &pagi.Scope{}, nil, nil)
	if err == nil || errors.Is(err, pagi.ErrUnsupported) || !strings.Contains(err.Error(), "no type") {
		t.Errorf("error %v", err)
	}
}

// Handler serves websocket scopes.
func ExampleHandler_webSocket() {
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeWebSocket {
			return pagi.Unsupported(scope)
		}
		for {
			ev, err := receive(ctx)
			if err != nil {
				return err
			}
			switch ev := ev.(type) {
			case pagi.WebSocketConnect:
				err = send(ctx, pagi.WebSocketAccept{})
			case pagi.WebSocketReceive:
				err = send(ctx, pagi.WebSocketSend{Text: "you said " + ev.Text})
			case pagi.WebSocketDisconnect:
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
	srv := httptest.NewServer(nethttp.Handler(app))
	defer srv.Close()
	c, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(srv.URL, "http"), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	_ = c.WriteMessage(websocket.TextMessage, []byte("hello")) // ReadMessage tells
	_, r, err := c.NextReader()
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := io.ReadAll(r)
	fmt.Println(string(text), err)
	// Output: you said hello <nil>
}
