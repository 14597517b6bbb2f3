// Command 13-contact-form takes messages with attachments. It keeps the attachments in the directory that the
// flag -uploads names.
package main

import (
	"flag"
	"log"

	"github.com/pagi-go/pagi-bridge/examples/13-contact-form/contact"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	uploads := flag.String("uploads", "uploads", "the `directory` for attachments")
	flag.Parse()
	if err := server.Serve(contact.New(*uploads)); err != nil {
		log.Fatal(err)
	}
}
