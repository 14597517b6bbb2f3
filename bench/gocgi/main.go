// Command gocgi serves a directory of CGI scripts at /cgi-bin/ with net/http/cgi alone,
// for comparison.
package main

import (
	"fmt"
	"net/http"
	"net/http/cgi"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: gocgi ADDRESS DIRECTORY")
		os.Exit(2)
	}
	serve := func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		script := &cgi.Handler{Path: filepath.Join(os.Args[2], name), Root: "/cgi-bin/" + name}
		script.ServeHTTP(w, r)
	}
	http.HandleFunc("/cgi-bin/{name}", serve)
	fmt.Fprintln(os.Stderr, "gocgi:", http.ListenAndServe(os.Args[1], nil))
	os.Exit(1)
}
