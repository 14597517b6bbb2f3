package server

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

func TestReloadChangesTheLimitsOfRedirects(t *testing.T) {
	first := &Server{App: echo, Listen: []string{"127.0.0.1:0,redirect=443"}}
	x := launch(t, first)
	ask := "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 2000) + "\r\n\r\n"
	if res, _ := x.request(ask).Response("GET"); res.StatusCode != 301 {
		t.Errorf("before: %s", res.Status)
	}
	if err := first.Reload(t.Context(), &Server{App: echo, Logger: first.Logger, Limits: Limits{MaxHeaderSize: 1000}}); err != nil {
		t.Fatal(err)
	}
	if res, _ := x.request(ask).Response("GET"); res.StatusCode != 431 {
		t.Errorf("after: %s", res.Status)
	}
}

// A client that keeps sending requests and reads no answer loses its connection.
func TestRedirectsToAClientThatDoesNotRead(t *testing.T) {
	x := launch(t, &Server{App: echo, Listen: []string{"127.0.0.1:0,redirect=443"}, Timeouts: Timeouts{Timeouts: engine.Timeouts{WriteTimeout: 100 * time.Millisecond}}})
	c := x.dial()
	asks := bytes.Repeat([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 1000)
	for {
		if _, err := c.Write(asks); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("the connection is held")
		} else if err != nil {
			break
		}
	}
	testkit.Eventually(t, "the end of the connection", func() bool { return x.connections() == 0 })
}
