package http1

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// failing is a listener whose Accept fails, each time with the next error.
type failing struct {
	net.Listener
	errs chan error
}

func (l failing) Accept() (net.Conn, error) { return nil, <-l.errs }

// A server that ends its connections still takes new ones, so a moment without descriptors must not
// end it.
func TestServeOfAServerThatEnds(t *testing.T) {
	s := &Server{Context: context.Background(), Log: slog.New(slog.DiscardHandler)}
	s.End()
	l, ended := failing{errs: make(chan error)}, make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	l.errs <- &net.OpError{Op: "accept", Err: syscall.EMFILE}
	select {
	case l.errs <- net.ErrClosed:
	case err := <-ended:
		t.Fatalf("it ended with %v", err)
	}
	if err := testkit.Await(t, ended); !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("it ended with %v", err)
	}
}
