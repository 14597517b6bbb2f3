// Package visits is the chat of example 10-chat-showcase with a WebSocket that uses the helper pagi/websocket.
// All goroutines may send by it, and what a slow client misses is dropped. So there is no goroutine that sends,
// and no channel.
package visits

import (
	"time"

	"github.com/pagi-go/pagi-bridge/examples/10-chat-showcase/chat"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/pagi/websocket"
)

// New returns the application. grace is how long a user who has lost the connection stays in the rooms.
func New(grace time.Duration) pagi.App {
	state := chat.NewState(grace)
	return state.Site(endpoint.WebSocketFunc(func(conn *websocket.Conn) error { return visit(state, conn) }))
}

func visit(state *chat.State, conn *websocket.Conn) error {
	var hello chat.Hello
	if err := request.Decode(conn.Request().Query(), &hello); err != nil {
		return err
	}
	if err := conn.Accept(websocket.Accept{}); err != nil {
		return err
	}
	if err := conn.KeepAlive(25*time.Second, 25*time.Second); err != nil {
		return err
	}
	visit := state.Enter(hello, conn.TrySendJSON)
	conn.OnClose(func(*websocket.CloseError) { visit.Leave() })
	return conn.EachText(func(text string) error {
		visit.Receive(text)
		return nil
	})
}
