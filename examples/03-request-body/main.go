// Command 03-request-body repeats the body of a request.
package main

import (
	"log"

	"github.com/pagi-go/pagi-bridge/examples/03-request-body/body"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	if err := server.Serve(body.New()); err != nil {
		log.Fatal(err)
	}
}
