package server

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// gate is an application whose requests wait for leave, or for their end.
type gate struct {
	running chan *pagi.Scope
	leave   chan struct{}
	ended   chan string // the disconnect reasons
}

func newGate() *gate {
	return &gate{make(chan *pagi.Scope, 10), make(chan struct{}), make(chan string, 10)}
}

func (g *gate) Serve(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if s.Type != pagi.TypeHTTP {
		return pagi.Unsupported(s)
	}
	s.Connection.OnDisconnect(func(r string) { g.ended <- r })
	g.running <- s
	select {
	case <-g.leave:
		return reply(ctx, send, "finished")
	case <-ctx.Done():
		var d *pagi.DisconnectError
		if !errors.As(context.Cause(ctx), &d) {
			g.ended <- "no cause"
		}
		return ctx.Err()
	}
}

func TestGracefulStop(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP/1.1", true: "HTTP/2"}[secure], func(t *testing.T) {
			g := newGate()
			s := &Server{App: g}
			url, client := "http://", https(t, nil, false)
			if secure {
				pair := testkit.Certificate(t)
				s.TLSCert, s.TLSKey = pair.CertFile, pair.KeyFile
				url, client = "https://", https(t, pair.Pool, true)
			}
			x := launch(t, s)
			fresh := x.dial() // a connection nothing was said on
			type answer struct {
				body string
				err  error
			}
			answers := make(chan answer, 1)
			go func() {
				res, err := client.Get(url + x.addr)
				if err != nil {
					answers <- answer{"", err}
					return
				}
				b := make([]byte, 100)
				n, _ := res.Body.Read(b)
				res.Body.Close()
				answers <- answer{string(b[:n]), nil}
			}()
			testkit.Await(t, g.running)
			begin := time.Now()
			x.cancel()
			fresh.Cut()
			select {
			case a := <-answers:
				t.Fatalf("request ended early: %+v", a)
			case err := <-x.done:
				t.Fatalf("server ended early: %v", err)
			case <-time.After(20 * time.Millisecond):
			}
			close(g.leave)
			if a := testkit.Await(t, answers); a.body != "finished" || a.err != nil {
				t.Errorf("answer %+v", a)
			}
			if err := x.stop(); err != nil {
				t.Error(err)
			}
			if d := time.Since(begin); d > 3*time.Second {
				t.Errorf("it took %v", d)
			}
			if strings.Contains(x.log.String(), "cutting") {
				t.Errorf("logged %s", x.log)
			}
		})
	}
}

func TestStopCutsWhatTakesTooLong(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP/1.1", true: "HTTP/2"}[secure], func(t *testing.T) {
			g := newGate()
			s := &Server{App: g, ShutdownTimeout: 30 * time.Millisecond}
			url, client := "http://", https(t, nil, false)
			if secure {
				pair := testkit.Certificate(t)
				s.TLSCert, s.TLSKey = pair.CertFile, pair.KeyFile
				url, client = "https://", https(t, pair.Pool, true)
			}
			x := launch(t, s)
			failed := make(chan error, 1)
			go func() {
				_, err := client.Get(url + x.addr)
				failed <- err
			}()
			scope := testkit.Await(t, g.running)
			if err := x.stop(); err != nil {
				t.Error(err)
			}
			if r := testkit.Await(t, g.ended); r != pagi.ReasonServerShutdown || scope.Connection.DisconnectReason() != r {
				t.Errorf("reason %q", r)
			}
			if err := testkit.Await(t, failed); err == nil {
				t.Error("the client got an answer")
			}
			x.log.WaitFor(t, "cutting requests")
		})
	}
}

func TestSignals(t *testing.T) {
	g := newGate()
	s := &Server{App: g}
	y := prepare(t, s)
	ctx, stop := SignalContext(t.Context())
	defer stop()
	ready := make(chan string, 1)
	s.Ready = func(a []net.Addr) { ready <- a[0].String() }
	go func() { y.done <- s.Run(ctx) }()
	y.addr = testkit.Await(t, ready)
	y.request(ask)
	testkit.Await(t, g.running)
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := self.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	testkit.Await(t, ctx.Done())
	select {
	case err := <-y.done:
		t.Fatalf("the first signal did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if err := self.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := testkit.Await(t, y.done); err != nil {
		t.Error(err)
	}
	if r := testkit.Await(t, g.ended); r != pagi.ReasonServerShutdown {
		t.Errorf("reason %q", r)
	}
}
