// Command endpoint-demo has one endpoint of each kind: for HTTP, for a WebSocket and for an event stream.
package main

import (
	"log"

	"github.com/pagi-go/pagi-bridge/examples/endpoint-demo/demo"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	if err := server.Serve(demo.New()); err != nil {
		log.Fatal(err)
	}
}
