package endpoint

import (
	"context"
	"errors"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/websocket"
)

// WebSocket is an application of websocket scopes that is called for each message. T says what a message
// is:
//
//   - string: text,
//   - []byte: binary data, valid until Receive returns,
//   - any other type: JSON, in a text or binary message, decoded into a new T.
//
// A message of another kind closes the connection, with the code 1003 or 1007, and is an error. Scopes of
// other types are declined.
type WebSocket[T any] struct {
	// Accept has the subprotocols and headers with which the connection is accepted.
	Accept websocket.Accept
	// Connect is called first, before the connection is accepted. It may refuse the client (Conn.Deny,
	// Conn.Close) or accept it by itself (Conn.Accept), to send messages. An error is returned to the
	// server.
	Connect func(conn *websocket.Conn) error
	// Receive is called for each message. An error closes the connection with 1011, and is returned to
	// the server; websocket.Stop ends the endpoint. Without Receive, messages are dropped.
	Receive func(conn *websocket.Conn, message T) error
	// Disconnect is called once for each Connect that has returned nil, also if that has refused the
	// client.
	Disconnect func(conn *websocket.Conn, end *websocket.CloseError)
	// KeepAlive is how often the server pings the client. A client whose answer takes as long is dropped.
	// 0 means never.
	KeepAlive time.Duration
}

// Check reports a negative KeepAlive.
func (e WebSocket[T]) Check() error {
	if e.KeepAlive < 0 {
		return pagi.BadOption("keep_alive", "must not be negative, is %v", e.KeepAlive)
	}
	return nil
}

// Serve implements pagi.App. It returns when the connection has ended.
func (e WebSocket[T]) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type != pagi.TypeWebSocket {
		return pagi.Unsupported(scope)
	}
	conn := websocket.New(ctx, scope, receive, send)
	if e.Connect != nil {
		if err := e.Connect(conn); err != nil {
			return err
		}
	}
	if e.Disconnect != nil {
		conn.OnClose(func(end *websocket.CloseError) { e.Disconnect(conn, end) })
	}
	if err := e.accept(conn); err != nil || conn.Err() != nil {
		return err
	}
	return e.each(conn)
}

// accept accepts the connection, unless that is done or it has ended.
func (e WebSocket[T]) accept(conn *websocket.Conn) error {
	err := conn.Accept(e.Accept)
	if errors.Is(err, websocket.ErrAccepted) {
		err = nil
	}
	if err == nil && e.KeepAlive > 0 {
		err = conn.KeepAlive(e.KeepAlive, e.KeepAlive)
	}
	if conn.Err() != nil {
		return nil
	}
	return err
}

// each calls Receive for each message.
func (e WebSocket[T]) each(conn *websocket.Conn) error {
	if e.Receive == nil {
		return conn.Each(func(pagi.WebSocketReceive) error { return nil })
	}
	switch any(*new(T)).(type) {
	case string:
		return conn.EachText(func(text string) error { return e.Receive(conn, any(text).(T)) })
	case []byte:
		return conn.EachBytes(func(data []byte) error { return e.Receive(conn, any(data).(T)) })
	}
	return websocket.EachJSON(conn, func(message T) error { return e.Receive(conn, message) })
}

func (e WebSocket[T]) scopeType() string { return pagi.TypeWebSocket }
