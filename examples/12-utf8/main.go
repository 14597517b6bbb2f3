// Command 12-utf8 shows what arrives of a text in UTF-8.
package main

import (
	"log"

	"github.com/pagi-go/pagi-bridge/examples/12-utf8/utf8page"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	if err := server.Serve(utf8page.New()); err != nil {
		log.Fatal(err)
	}
}
