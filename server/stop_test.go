package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
)

// gate is an application whose requests wait for permission, or for their end.
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
	onVersions(t, func(t *testing.T, start func(*Server) (*site, string, *http.Client)) {
		g := newGate()
		s := &Server{App: g}
		x, url, client := start(s)
		fresh := x.dial() // a connection nothing was said on
		type answer struct {
			body string
			err  error
		}
		answers := make(chan answer, 1)
		go func() {
			res, err := client.Get(url)
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

func TestStopCutsWhatTakesTooLong(t *testing.T) {
	onVersions(t, func(t *testing.T, start func(*Server) (*site, string, *http.Client)) {
		g := newGate()
		s := &Server{App: g, Timeouts: Timeouts{ShutdownTimeout: 30 * time.Millisecond}}
		x, url, client := start(s)
		failed := make(chan error, 1)
		go func() {
			_, err := client.Get(url)
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

func TestSignals(t *testing.T) {
	g := newGate()
	s := &Server{App: g}
	y := prepare(t, s)
	ctx, stop := SignalContext(t.Context())
	defer stop()
	ready := make(chan string, 1)
	s.Ready = func(a []net.Addr) error { ready <- a[0].String(); return nil }
	go func() { y.done <- s.Run(ctx) }()
	y.addr = testkit.Await(t, ready)
	y.request(ask)
	testkit.Await(t, g.running)
	signalSelf(t, syscall.SIGTERM)
	testkit.Await(t, ctx.Done())
	first := time.Now()
	signalSelf(t, syscall.SIGTERM) // timeout(1) signals its child and then the whole group
	select {
	case err := <-y.done:
		t.Fatalf("the first signal did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if err := untilDone(t, y, syscall.SIGINT); err != nil {
		t.Error(err)
	}
	if d := time.Since(first); d < sameSignal {
		t.Errorf("a signal %v after the first one forced the stop", d)
	}
	if r := testkit.Await(t, g.ended); r != pagi.ReasonServerShutdown {
		t.Errorf("reason %q", r)
	}
}

// untilDone sends this process a signal again and again until the server has stopped.
func untilDone(t *testing.T, x *site, sig os.Signal) (err error) {
	t.Helper()
	later := make(chan os.Signal, 1)
	signal.Notify(later, syscall.SIGWINCH)
	defer func() { // the last one must not come in the next test: those of lower numbers are delivered first
		signalSelf(t, syscall.SIGWINCH)
		testkit.Await(t, later)
		signal.Stop(later)
	}()
	testkit.Eventually(t, "the end of a forced stop", func() bool {
		signalSelf(t, sig)
		select {
		case err = <-x.done:
			return true
		default:
			return false
		}
	})
	return err
}

// signalSelf sends this process a signal.
func signalSelf(t *testing.T, sig os.Signal) {
	t.Helper()
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Signal(sig)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestSecondSignalEndsLifespanShutdown(t *testing.T) {
	asked := make(chan struct{})
	s := &Server{App: lived(func(ctx context.Context, _ *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		return lifespan.Serve(ctx, receive, send, nil, func(ctx context.Context) error {
			close(asked)
			<-ctx.Done()
			return nil
		})
	})}
	x := prepare(t, s)
	ctx, stop := SignalContext(t.Context())
	defer stop()
	ready := make(chan struct{})
	s.Ready = func([]net.Addr) error { close(ready); return nil }
	go func() { x.done <- s.Run(ctx) }()
	testkit.Await(t, ready)
	signalSelf(t, syscall.SIGTERM)
	testkit.Await(t, asked)
	select {
	case err := <-x.done:
		t.Fatalf("the first signal did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if err := untilDone(t, x, syscall.SIGTERM); !errors.Is(err, errForced) {
		t.Errorf("error %v", err)
	}
}

func TestForcedStopStillAsksTheApplication(t *testing.T) {
	var cleaned bool
	s := &Server{App: lived(func(ctx context.Context, _ *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		return lifespan.Serve(ctx, receive, send, nil, func(context.Context) error {
			cleaned = true
			return nil
		})
	})}
	x := prepare(t, s)
	force := make(chan struct{})
	close(force)
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), forceKey{}, (<-chan struct{})(force)))
	s.Ready = func([]net.Addr) error { cancel(); return nil }
	go func() { x.done <- s.Run(ctx) }()
	if err := testkit.Await(t, x.done); err != nil || !cleaned {
		t.Errorf("cleaned %v, error %v", cleaned, err)
	}
}

// TestFurtherSignalsDoNothing runs itself as the process that gets the signals. Further signals do
// not keep a forced stop from finishing its work.
func TestFurtherSignalsDoNothing(t *testing.T) {
	const child = "PAGI_TEST_SIGNALLED"
	if os.Getenv(child) != "" {
		ctx, _ := SignalContext(context.Background())
		fmt.Println("ready")
		<-ctx.Done()
		<-Forced(ctx)
		fmt.Println("forced")
		if _, err := fmt.Scanln(); err != nil { // the parent has sent more
			t.Fatal(err)
		}
		fmt.Println("ended")
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), child+"=1")
	in, inErr := cmd.StdinPipe()
	out, err := cmd.StdoutPipe()
	if err := errors.Join(err, inErr); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 10)
	go func() {
		defer close(said)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			said <- lines.Text()
		}
	}()
	again := func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}
	if text := testkit.Await(t, said); text != "ready" {
		t.Errorf("%q", text)
	}
	testkit.Eventually(t, "the forced stop", func() bool {
		again()
		select {
		case text := <-said:
			return text == "forced"
		default:
			return false
		}
	})
	for range 10 {
		again()
	}
	if _, err := io.WriteString(in, "\n"); err != nil {
		t.Error(err)
	}
	if text := testkit.Await(t, said); text != "ended" {
		t.Errorf("%q", text)
	}
	for range said { // the summary of its tests
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// late is a listener whose Accept returns a connection shortly after the listener was closed.
type late struct {
	net.Listener
	accepted, closed chan struct{}
	once             *sync.Once
}

func (l late) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.accepted <- struct{}{}
		<-l.closed
		time.Sleep(50 * time.Millisecond)
	}
	return c, err
}

func (l late) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

func TestStopWithAConnectionThatHasJustCome(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := late{tcp, make(chan struct{}), make(chan struct{}), &sync.Once{}}
	pair := testkit.Certificate(t)
	x := launch(t, &Server{App: echo, Listeners: []net.Listener{l}, TLSCert: pair.CertFile, TLSKey: pair.KeyFile})
	x.dial()
	testkit.Await(t, l.accepted)
	begin := time.Now()
	if err := x.stop(); err != nil || time.Since(begin) > DefaultHeaderTimeout/3 {
		t.Errorf("stopped after %v: %v", time.Since(begin), err)
	}
}
