// Command bare answers every request with "Hello World": what net/http does when
// nothing is behind it. Its argument is the address to listen at.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: bare address")
		os.Exit(2)
	}
	err := http.ListenAndServe(os.Args[1], http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "Hello World") // the client has gone if this fails
	}))
	fmt.Fprintln(os.Stderr, "bare:", err)
	os.Exit(1)
}
