// Command sse-close ends an event stream, and tells the browser not to come back.
package main

import (
	"log"
	"time"

	"github.com/pagi-go/pagi-bridge/examples/sse-close/progress"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	if err := server.Serve(progress.New(500 * time.Millisecond)); err != nil {
		log.Fatal(err)
	}
}
