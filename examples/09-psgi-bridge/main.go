// Command 09-psgi-bridge serves a PSGI application of Perl.
package main

import (
	"log"

	"github.com/pagi-go/pagi-bridge/examples/09-psgi-bridge/perl"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	app, err := perl.New()
	if err != nil {
		log.Fatal(err)
	}
	if err := server.Serve(app); err != nil {
		log.Fatal(err)
	}
}
