// Command sse-dashboard shows numbers that change, to all who look.
package main

import (
	"log"
	"time"

	"github.com/pagi-go/pagi-bridge/examples/sse-dashboard/dashboard"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	if err := server.Serve(dashboard.New(2 * time.Second)); err != nil {
		log.Fatal(err)
	}
}
