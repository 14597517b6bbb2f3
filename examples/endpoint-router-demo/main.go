// Command endpoint-router-demo has a router with a router below it, and a state that all requests share.
package main

import (
	"log"
	"time"

	"github.com/pagi-go/pagi-bridge/examples/endpoint-router-demo/site"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	if err := server.Serve(site.New(2 * time.Second)); err != nil {
		log.Fatal(err)
	}
}
