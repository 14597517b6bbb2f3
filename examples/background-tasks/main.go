// Command background-tasks works on after it has answered.
package main

import (
	"log"
	"time"

	"github.com/pagi-go/pagi-bridge/examples/background-tasks/tasks"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	if err := server.Serve(tasks.New(2*time.Second, log.Printf)); err != nil {
		log.Fatal(err)
	}
}
