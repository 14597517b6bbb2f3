// Command app-01-file serves the files of a directory.
package main

import (
	"flag"
	"log"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	root := flag.String("root", "examples/app-01-file/static", "the `directory` with the files")
	flag.Parse()
	if err := server.Serve(&apps.File{Root: *root}); err != nil {
		log.Fatal(err)
	}
}
