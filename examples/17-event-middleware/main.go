// Command 17-event-middleware has a middleware that adds events of its own to those that an application receives.
package main

import (
	"log"
	"time"

	"github.com/pagi-go/pagi-bridge/examples/17-event-middleware/ticking"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	if err := server.Serve(ticking.New(2 * time.Second)); err != nil {
		log.Fatal(err)
	}
}
