package server

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// The kernel buffers little of a response to a client that does not read.
func TestUnsentIsLimited(t *testing.T) {
	taken := make(chan int, 1)
	x := launch(t, &Server{Timeouts: Timeouts{Timeouts: engine.Timeouts{WriteTimeout: 100 * time.Millisecond}}, App: httpOnly(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		err := send(ctx, pagi.HTTPResponseStart{Status: 200})
		n := 0
		for ; scope.Connection.IsConnected(); n += 64 << 10 {
			err = errors.Join(err, send(ctx, pagi.HTTPResponseBody{Body: make([]byte, 64<<10), More: true}))
		}
		taken <- n
		return err
	})})
	c := x.dial()
	if err := c.Conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	c.Say("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	// The client's own socket takes some hundred KB at most.
	if n := testkit.Await(t, taken); n > 4*unsentLimit {
		t.Errorf("%d bytes were taken", n)
	}
}
