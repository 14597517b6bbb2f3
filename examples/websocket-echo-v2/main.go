// Command websocket-echo-v2 repeats the texts of a WebSocket.
package main

import (
	"log"

	"github.com/pagi-go/pagi-bridge/examples/websocket-echo-v2/echo"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	if err := server.Serve(echo.New()); err != nil {
		log.Fatal(err)
	}
}
