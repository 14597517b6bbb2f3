// Command 18-bidirectional-websocket sends over a WebSocket while it receives.
package main

import (
	"log"
	"time"

	"github.com/pagi-go/pagi-bridge/examples/18-bidirectional-websocket/duplex"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	if err := server.Serve(duplex.New(time.Second)); err != nil {
		log.Fatal(err)
	}
}
