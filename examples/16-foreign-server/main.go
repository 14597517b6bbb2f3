// Command 16-foreign-server runs a PAGI application in the server of net/http.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/pagi-go/pagi-bridge/examples/16-foreign-server/foreign"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	ctx, stop := server.SignalContext(context.Background())
	defer stop()
	s := &http.Server{Addr: "127.0.0.1:5000", Handler: foreign.New(time.Second), ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		stopped <- s.Shutdown(context.Background())
	}()
	fmt.Fprintln(os.Stderr, "Serving at http://127.0.0.1:5000/")
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	if err := <-stopped; err != nil {
		log.Fatal(err)
	}
}
