// Command 14-periodic-events counts in the background, and lets requests wait for the next number.
package main

import (
	"log"
	"time"

	"github.com/pagi-go/pagi-bridge/examples/14-periodic-events/periodic"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	if err := server.Serve(periodic.New(2*time.Second, 5*time.Second)); err != nil {
		log.Fatal(err)
	}
}
