// Command 02-streaming-response sends a body piece by piece, with a trailer behind it.
package main

import (
	"log"
	"time"

	"github.com/pagi-go/pagi-bridge/examples/02-streaming-response/chunks"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	if err := server.Serve(chunks.New(time.Second)); err != nil {
		log.Fatal(err)
	}
}
