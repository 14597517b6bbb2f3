// Command 06-lifespan-state greets with a text that was made at startup.
package main

import (
	"log"

	"github.com/pagi-go/pagi-bridge/examples/06-lifespan-state/greeting"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	if err := server.Serve(greeting.New()); err != nil {
		log.Fatal(err)
	}
}
