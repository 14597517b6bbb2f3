// Command wsecho sends back the messages of WebSockets: by the server of this module,
// or by gorilla/websocket on net/http. Its arguments are "pagi" or "gorilla" and the
// address to listen at.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"

	"github.com/gorilla/websocket"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	var err error
	switch {
	case len(os.Args) != 3:
		err = fmt.Errorf("usage: wsecho pagi|gorilla address")
	case os.Args[1] == "pagi":
		quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
		err = (&server.Server{App: pagi.AppFunc(echo), Listen: []string{os.Args[2]}, Logger: quiet, Lifespan: server.LifespanOff}).Run(context.Background())
	default:
		err = http.ListenAndServe(os.Args[2], http.HandlerFunc(bare))
	}
	fmt.Fprintln(os.Stderr, "wsecho:", err)
	os.Exit(1)
}

// echo is the application.
func echo(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
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
			err = send(ctx, pagi.WebSocketSend(ev))
		case pagi.WebSocketDisconnect:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

var upgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}

// bare is what gorilla/websocket does with nothing around it.
func bare(w http.ResponseWriter, r *http.Request) {
	c, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // it has been answered
	}
	defer c.Close()
	for {
		kind, message, err := c.ReadMessage()
		if err != nil || c.WriteMessage(kind, message) != nil {
			return
		}
	}
}
