// Package socket lets a pagitest.Client talk to its application over a socket, through package
// server, by HTTP/1.1. A test that passes in memory then also proves that the server carries it.
//
//	client := pagitest.New(app)
//	client.Via = socket.New(t)
//
// A package whose tests are to run both ways has one line in its tests:
//
//	func TestMain(m *testing.M) { socket.Main(m) }
//
// Its tests then run in memory, and over sockets if the environment variable PAGITEST is "socket".
// pagitest.InMemory skips the tests that make no sense over a socket.
//
// Files: socket.go the server of a client, wire.go a request, head.go the head of a response,
// websocket.go a WebSocket.
package socket

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/server"
)

// Variable is the environment variable that selects how the tests of Main run: "socket", or "" for
// in memory.
const Variable = "PAGITEST"

const viaSocket = "socket"

// New returns a Carrier for one client. Its server listens at a free port of 127.0.0.1 unless set
// gives it another address, a Unix socket for example, and is stopped at the end of the test. set
// may set all fields of the server but App, Lifespan, Ready and Observers. The server logs nothing
// unless set gives it a Logger.
func New(t testing.TB, set ...func(*server.Server)) pagitest.Carrier {
	c := &carrier{set: set}
	t.Cleanup(func() {
		if err := c.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Main runs the tests of m and exits. If the environment asks for sockets, each client without a
// Carrier gets one. The clients whose application is not started share a server.
func Main(m *testing.M) {
	os.Exit(run(m.Run, os.Getenv(Variable)))
}

func run(tests func() int, way string) (code int) {
	if way != "" && way != viaSocket {
		fmt.Fprintf(os.Stderr, "%s is %q: must be %q or empty\n", Variable, way, viaSocket)
		return 2
	}
	common := &carrier{}
	pagitest.DefaultVia = func() pagitest.Carrier {
		// Read here, while the tests run, because go test remembers a result with the variables
		// that the tests have read.
		if os.Getenv(Variable) != viaSocket {
			return nil
		}
		return &carrier{common: common}
	}
	code = tests()
	if err := common.stop(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "socket:", err)
		return 1
	}
	return code
}

// carrier is a pagitest.Carrier with a server.
type carrier struct {
	set    []func(*server.Server)
	common *carrier // whose server is used for applications without lifespan; nil: the own one

	mu   sync.Mutex // guards the rest
	addr net.Addr   // nil: not started
	end  context.CancelFunc
	done chan error
}

// Start implements pagitest.Carrier.
func (c *carrier) Start(ctx context.Context, h pagitest.Hosting) error {
	if c.common != nil && !h.Lifespan {
		return c.join(ctx, h)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.start(ctx, h)
}

// join uses the server of common, and starts it if no client has done so. Its application knows the
// client by the request.
func (c *carrier) join(ctx context.Context, h pagitest.Hosting) error {
	c.common.mu.Lock()
	defer c.common.mu.Unlock()
	if c.common.addr == nil {
		if err := c.common.start(ctx, h); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addr = c.common.addr
	return nil
}

// start runs a server. The caller holds mu.
func (c *carrier) start(ctx context.Context, h pagitest.Hosting) error {
	s := &server.Server{Logger: slog.New(slog.DiscardHandler)}
	for _, set := range c.set {
		set(s)
	}
	if len(s.Listen) == 0 && s.Socket == "" && len(s.Listeners) == 0 {
		s.Listen = []string{"127.0.0.1:0"}
	}
	s.App, s.Observers, s.Lifespan = h.App, append(s.Observers, h.Observer), server.LifespanOff
	if h.Lifespan {
		s.Lifespan = server.LifespanAuto
	}
	ready := make(chan net.Addr, 1)
	s.Ready = func(addrs []net.Addr) error { ready <- addrs[0]; return nil }
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- s.Run(running) }()
	select {
	case addr := <-ready:
		c.addr, c.end, c.done = addr, end, done
		return nil
	case err := <-done:
		end()
		return plain(err)
	case <-ctx.Done():
		end()
		<-done
		return fmt.Errorf("the server did not start: %w", context.Cause(ctx))
	}
}

// plain returns an application's own lifespan failure, as a client in memory does.
func plain(err error) error {
	var failed *lifespan.Error
	if errors.As(err, &failed) {
		return failed
	}
	return err
}

// Stop implements pagitest.Carrier.
func (c *carrier) Stop(ctx context.Context) error { return c.stop(ctx) }

func (c *carrier) stop(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	end, done := c.end, c.done
	c.addr, c.end, c.done = nil, nil, nil
	if end == nil {
		return nil
	}
	end()
	select {
	case err := <-done:
		return plain(err)
	case <-ctx.Done():
		return fmt.Errorf("the server did not stop: %w", context.Cause(ctx))
	}
}

// dial connects to the server.
func (c *carrier) dial(ctx context.Context) (net.Conn, error) {
	c.mu.Lock()
	addr := c.addr
	c.mu.Unlock()
	if addr == nil {
		return nil, errors.New("the server is not running")
	}
	return new(net.Dialer).DialContext(ctx, addr.Network(), addr.String())
}

// Request implements pagitest.Carrier.
func (c *carrier) Request(ctx context.Context, scope *pagi.Scope) (pagitest.Wire, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	w := newWire(conn, scope.Method)
	w.chunked = scope.Headers.HasToken("transfer-encoding", "chunked")
	if _, err := conn.Write(appendRequest(nil, scope)); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return w, nil
}
