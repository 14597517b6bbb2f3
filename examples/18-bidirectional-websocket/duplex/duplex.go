// Package duplex is a WebSocket application whose two directions are independent.
package duplex

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/websocket"
)

// New returns the application, which sends a message of its own every interval.
func New(interval time.Duration) pagi.App {
	return endpoint.WebSocketFunc(func(conn *websocket.Conn) error {
		if err := conn.Accept(websocket.Accept{}); err != nil {
			return err
		}
		done := make(chan struct{})
		var outgoing sync.WaitGroup
		defer outgoing.Wait() // the connection must not be used after the return
		defer close(done)
		outgoing.Go(func() { tick(conn, interval, done) })
		return conn.EachText(func(text string) error { return conn.SendText("you said: " + strings.ToUpper(text)) })
	})
}

func tick(conn *websocket.Conn, interval time.Duration, done <-chan struct{}) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-ticker.C:
		case <-done:
			return
		}
		if conn.SendText(fmt.Sprintf("server tick #%d", n)) != nil {
			return // the connection has ended, which the loop of the incoming messages finds, too
		}
	}
}
