// Command 11-job-runner has a queue of jobs, with an API, progress by event streams and a page by WebSocket.
package main

import (
	"log"
	"time"

	"github.com/pagi-go/pagi-bridge/examples/11-job-runner/jobs"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	if err := server.Serve(jobs.New(3, time.Second)); err != nil {
		log.Fatal(err)
	}
}
