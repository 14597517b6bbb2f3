// Command 13-flow-control sends readings, and leaves out those for which a client is too slow.
package main

import (
	"log"
	"time"

	"github.com/pagi-go/pagi-bridge/examples/13-flow-control/feed"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	if err := server.Serve(feed.New(20 * time.Millisecond)); err != nil {
		log.Fatal(err)
	}
}
