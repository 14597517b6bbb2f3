// Package echo is example 04-websocket-echo with the helper pagi/websocket.
package echo

import (
	"log"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/websocket"
)

// New returns the application.
func New() pagi.App { return endpoint.WebSocketFunc(echo) }

func echo(conn *websocket.Conn) error {
	conn.OnClose(func(end *websocket.CloseError) { log.Printf("the client has left: %d", end.Code) })
	if err := conn.Accept(websocket.Accept{}); err != nil {
		return err
	}
	return conn.EachText(func(text string) error { return conn.SendText("echo: " + text) })
}
