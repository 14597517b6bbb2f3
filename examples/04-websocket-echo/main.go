// Command 04-websocket-echo repeats the messages of a WebSocket, by plain events.
package main

import (
	"log"

	"github.com/pagi-go/pagi-bridge/examples/04-websocket-echo/echo"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	if err := server.Serve(echo.New()); err != nil {
		log.Fatal(err)
	}
}
