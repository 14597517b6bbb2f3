package ws_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"

	"github.com/gorilla/websocket"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
	"github.com/pagi-go/pagi-bridge/server/ws"
)

// This is a net/http program. One of its paths is a PAGI application that serves WebSockets.
func ExampleServer() {
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
				err = send(ctx, pagi.WebSocketSend{Text: strings.ToUpper(ev.Text)})
			case pagi.WebSocketDisconnect:
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
	site := httptest.NewServer(&nethttp.Adapter{Engine: &engine.Handler{App: app, WebSocket: &ws.Server{}}})
	defer site.Close()

	c, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(site.URL, "http"), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	_ = c.WriteMessage(websocket.TextMessage, []byte("hello")) // ReadMessage tells
	_, answer, err := c.ReadMessage()
	fmt.Println(string(answer), err)
	// Output: HELLO <nil>
}
