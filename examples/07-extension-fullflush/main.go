// Command 07-extension-fullflush has the server write out each line at once.
package main

import (
	"log"

	"github.com/pagi-go/pagi-bridge/examples/07-extension-fullflush/lines"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	if err := server.Serve(lines.New()); err != nil {
		log.Fatal(err)
	}
}
