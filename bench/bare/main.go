// Command bare answers every request with "Hello World": what net/http does when
// nothing is behind it. Its arguments are the address to listen at and, to speak TLS,
// the PEM files of a certificate and its key.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "Hello World") // the client has gone if this fails
	})
	var err error
	switch len(os.Args) {
	case 2:
		err = http.ListenAndServe(os.Args[1], answer)
	case 4:
		err = http.ListenAndServeTLS(os.Args[1], os.Args[2], os.Args[3], answer)
	default:
		fmt.Fprintln(os.Stderr, "usage: bare address [certificate key]")
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, "bare:", err)
	os.Exit(1)
}
