// Package echo is a WebSocket application written against the events alone. Example websocket-echo-v2 is the
// same with the helper pagi/websocket.
package echo

import (
	"context"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// New returns the application.
func New() pagi.App { return pagi.AppFunc(echo) }

func echo(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type != pagi.TypeWebSocket {
		return pagi.Unsupported(scope)
	}
	for {
		event, err := receive(ctx)
		if err != nil {
			return err
		}
		switch event := event.(type) {
		case pagi.WebSocketConnect:
			err = send(ctx, pagi.WebSocketAccept{})
		case pagi.WebSocketReceive:
			reply := pagi.WebSocketSend{Binary: event.Binary, Bytes: event.Bytes}
			if !event.Binary {
				reply.Text = "echo: " + event.Text
			}
			err = send(ctx, reply)
		case pagi.WebSocketDisconnect:
			return nil
		}
		if err != nil {
			return err
		}
	}
}
