package apps

import (
	"context"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/websocket"
)

// WebSocketEcho sends every message back, a text as a text and a binary one as a binary one. It is
// for tests of what is between a client and the application.
type WebSocketEcho struct {
	// OnConnect is called when a connection is accepted.
	OnConnect func(scope *pagi.Scope) `yaml:"-"`
	// OnDisconnect is called when it has ended, with the close code.
	OnDisconnect func(scope *pagi.Scope, code int) `yaml:"-"`
}

func init() { parts.App[WebSocketEcho]("ws_echo", "") }

// Serve answers a websocket scope. A request gets 400.
func (e *WebSocketEcho) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if done, err := refuseSocket(ctx, scope, send); done {
		return err
	}
	conn := websocket.New(ctx, scope, receive, send)
	if err := conn.Accept(websocket.Accept{}); err != nil {
		return leftIsNil(ctx, err)
	}
	if e.OnConnect != nil {
		e.OnConnect(scope)
	}
	if e.OnDisconnect != nil {
		conn.OnClose(func(end *websocket.CloseError) { e.OnDisconnect(scope, end.Code) })
	}
	return conn.Each(func(m pagi.WebSocketReceive) error {
		if m.Binary {
			return conn.SendBytes(m.Bytes)
		}
		return conn.SendText(m.Text)
	})
}
