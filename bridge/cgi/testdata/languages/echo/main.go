// Command echo is a CGI program: the request's variables on one line, then its body.
package main

import (
	"fmt"
	"io"
	"log"
	"os"
)

func main() {
	fmt.Print("Status: 222\r\nContent-Type: application/octet-stream\r\n\r\n")
	fmt.Printf("%s|%s|%s|%s\n", os.Getenv("REQUEST_METHOD"), os.Getenv("QUERY_STRING"), os.Getenv("PATH_INFO"), os.Getenv("CONTENT_LENGTH"))
	if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
		log.Fatal(err)
	}
}
