// Command websocket-chat-v2 is example 10-chat-showcase with the helper for WebSockets.
package main

import (
	"log"

	"github.com/pagi-go/pagi-bridge/examples/10-chat-showcase/chat"
	"github.com/pagi-go/pagi-bridge/examples/websocket-chat-v2/visits"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	if err := server.Serve(visits.New(chat.Grace)); err != nil {
		log.Fatal(err)
	}
}
