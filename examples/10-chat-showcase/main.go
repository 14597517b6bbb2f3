// Command 10-chat-showcase is a chat with rooms, an API and an event stream.
package main

import (
	"log"

	"github.com/pagi-go/pagi-bridge/examples/10-chat-showcase/chat"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	if err := server.Serve(chat.New(chat.Grace)); err != nil {
		log.Fatal(err)
	}
}
