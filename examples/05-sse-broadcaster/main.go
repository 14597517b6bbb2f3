// Command 05-sse-broadcaster sends three events to each client.
package main

import (
	"log"
	"time"

	"github.com/pagi-go/pagi-bridge/examples/05-sse-broadcaster/ticks"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	if err := server.Serve(ticks.New(time.Second)); err != nil {
		log.Fatal(err)
	}
}
