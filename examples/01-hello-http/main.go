// Command 01-hello-http greets its visitors.
package main

import (
	"log"

	"github.com/pagi-go/pagi-bridge/examples/01-hello-http/hello"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	if err := server.Serve(hello.New()); err != nil {
		log.Fatal(err)
	}
}
