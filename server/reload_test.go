package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
)

// version is an application that answers with its name and notes its life.
type version struct {
	name      string
	startup   error
	ended     chan struct{} // closed by its shutdown
	shutdowns atomic.Int64
	serving   chan struct{} // a request to /slow has begun
	release   chan struct{} // and may end
}

func newVersion(name string) *version {
	return &version{name: name, ended: make(chan struct{}), serving: make(chan struct{}, 1), release: make(chan struct{})}
}

func (v *version) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type == pagi.TypeLifespan {
		startup := func(context.Context) error { scope.State["name"] = v.name; return v.startup }
		shutdown := func(context.Context) error {
			if v.shutdowns.Add(1) == 1 {
				close(v.ended)
			}
			return nil
		}
		return lifespan.Serve(ctx, receive, send, startup, shutdown)
	}
	if scope.Path == "/slow" {
		v.serving <- struct{}{}
		<-v.release
	}
	return reply(ctx, send, scope.State["name"].(string))
}

func TestReload(t *testing.T) {
	one, two := newVersion("one"), newVersion("two")
	first := &Server{App: one}
	x := launch(t, first)
	c := x.request(ask)
	if _, body := c.Response("GET"); body != "one" {
		t.Errorf("before: %q", body)
	}
	slow := x.request("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	testkit.Await(t, one.serving)

	failing := newVersion("failing")
	failing.startup = errors.New("no database")
	for _, tt := range []struct {
		name string
		next *Server
		want string
	}{
		{"an application that does not start", &Server{App: failing}, "no database"},
		{"no application", &Server{}, "no application"},
		{"a wrong option", &Server{App: two, Lifespan: "maybe"}, "lifespan mode"},
		{"a wrong log format", &Server{App: two, AccessLogFormat: "%Z"}, "%Z is not known"},
	} {
		tt.next.Logger = x.log.Logger()
		if err := first.Reload(t.Context(), tt.next); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	c.Say(ask)
	if _, body := c.Response("GET"); body != "one" {
		t.Errorf("after what failed: %q", body)
	}

	if err := first.Reload(t.Context(), &Server{App: two, Limits: Limits{Limits: engine.Limits{MaxBodySize: 3}, MaxHeaderSize: 500}, Logger: x.log.Logger()}); err != nil {
		t.Fatal(err)
	}
	c.Say(ask)
	if _, body := c.Response("GET"); body != "two" {
		t.Errorf("on the same connection: %q", body)
	}
	c.Say("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
	if res, _ := c.Response("POST"); res.StatusCode != 413 {
		t.Errorf("the new limit: %d", res.StatusCode)
	}
	long := x.request("GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("x", 600) + "\r\n\r\n")
	if res, _ := long.Response("GET"); res.StatusCode != 431 {
		t.Errorf("the new limit of HTTP/1: %d", res.StatusCode)
	}
	select {
	case <-one.ended:
		t.Error("shut down under a request")
	default:
	}
	close(one.release)
	if _, body := slow.Response("GET"); body != "one" {
		t.Errorf("a request begun before: %q", body)
	}
	testkit.Await(t, one.ended)
	if err := x.stop(); err != nil {
		t.Error(err)
	}
	if one.shutdowns.Load() != 1 || two.shutdowns.Load() != 1 || failing.shutdowns.Load() != 1 {
		t.Errorf("shutdowns: %d, %d, %d", one.shutdowns.Load(), two.shutdowns.Load(), failing.shutdowns.Load())
	}
	if err := first.Reload(t.Context(), &Server{App: two}); err == nil {
		t.Error("a server that has stopped was reloaded")
	}
}

func TestReloadDoesNotWaitForEver(t *testing.T) {
	one, two := newVersion("one"), newVersion("two")
	first := &Server{App: one, Timeouts: Timeouts{ShutdownTimeout: 50 * time.Millisecond}}
	x := launch(t, first)
	slow := x.request("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	testkit.Await(t, one.serving)
	if err := first.Reload(t.Context(), &Server{App: two, Logger: x.log.Logger()}); err != nil {
		t.Fatal(err)
	}
	testkit.Await(t, one.ended)
	x.log.WaitFor(t, "level=WARN", "shutting the old application down", "requests=1")
	close(one.release)
	slow.Response("GET")
}

// A call of the application that goes on after its response counts as a running request, over
// HTTP/2, too.
func TestWhatWorksOnIsCounted(t *testing.T) {
	onVersions(t, func(t *testing.T, start func(*Server) (*site, string, *http.Client)) {
		release := make(chan struct{})
		defer close(release)
		first := &Server{Timeouts: Timeouts{ShutdownTimeout: 50 * time.Millisecond}}
		first.App = httpOnly(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
			if status, _ := first.Status(); status.Requests != 1 {
				t.Errorf("before the response: %d", status.Requests)
			}
			err := reply(ctx, send, "x")
			<-release
			return err
		})
		x, url, client := start(first)
		testkit.Get(t, client, url)
		testkit.Eventually(t, "one request", func() bool { return x.requests() == 1 })
		if err := first.Reload(t.Context(), &Server{App: echo, Logger: x.log.Logger()}); err != nil {
			t.Fatal(err)
		}
		if n := x.requests(); n != 1 {
			t.Errorf("after the reload: %d", n)
		}
		x.log.WaitFor(t, "shutting the old application down", "requests=1")
	})
}

func TestStopWaitsForTheOldApplicationsRequests(t *testing.T) {
	one := newVersion("one")
	first := &Server{App: one}
	x := launch(t, first)
	slow := x.request("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	testkit.Await(t, one.serving)
	if err := first.Reload(t.Context(), &Server{App: newVersion("two"), Logger: x.log.Logger()}); err != nil {
		t.Fatal(err)
	}
	x.cancel()
	select {
	case <-one.ended:
		t.Error("shut down under a request")
	case <-time.After(50 * time.Millisecond):
	}
	close(one.release)
	if _, body := slow.Response("GET"); body != "one" {
		t.Errorf("answer %q", body)
	}
	if err := x.stop(); err != nil {
		t.Error(err)
	}
	testkit.Await(t, one.ended)
	if log := x.log.String(); strings.Contains(log, "shutting the old application down") {
		t.Errorf("logged %s", log)
	}
}

// It is chance whether a reload comes between two steps of the stop, so the test tries many times.
func TestReloadDuringAStopIsHalted(t *testing.T) {
	for range 50 {
		first := &Server{App: echo, Lifespan: LifespanOff}
		x := launch(t, first)
		r := first.run.Load()
		reloaded := make(chan error, 1)
		go func() {
			var err error
			for err == nil {
				err = first.Reload(context.Background(), &Server{App: echo, Lifespan: LifespanOff, Logger: x.log.Logger()})
			}
			reloaded <- err
		}()
		time.Sleep(time.Millisecond)
		if err := x.stop(); err != nil {
			t.Error(err)
		}
		if err := testkit.Await(t, reloaded); !errors.Is(err, errNotRunning) {
			t.Error(err)
		}
		select {
		case <-r.current.Load().stopping:
		default:
			t.Fatal("the last application was not told to stop")
		}
	}
}

func TestReloadUnderLoad(t *testing.T) {
	first := &Server{App: newVersion("0")}
	x := launch(t, first)
	done := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for {
				select {
				case <-done:
					return
				default:
				}
				res, err := client.Get("http://" + x.addr + "/")
				if err != nil {
					t.Error(err)
					return
				}
				res.Body.Close()
				if res.StatusCode != 200 {
					t.Errorf("status %d", res.StatusCode)
				}
			}
		})
	}
	for i := range 20 {
		if err := first.Reload(t.Context(), &Server{App: newVersion(string(rune('a' + i))), Logger: x.log.Logger()}); err != nil {
			t.Error(err)
		}
	}
	close(done)
	clients.Wait()
	if err := x.stop(); err != nil {
		t.Error(err)
	}
}

func TestStopDuringReload(t *testing.T) {
	first := &Server{App: echo}
	x := launch(t, first)
	begun := make(chan struct{})
	stuck := pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, _ pagi.Send) error {
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	})
	result := make(chan error, 1)
	go func() { result <- first.Reload(context.Background(), &Server{App: stuck, Logger: x.log.Logger()}) }()
	testkit.Await(t, begun)
	if err := x.stop(); err != nil {
		t.Error(err)
	}
	if err := testkit.Await(t, result); !errors.Is(err, errNotRunning) {
		t.Errorf("error %v", err)
	}
}

// A successor in the same process gets the sockets, and no client notices.
func TestHandover(t *testing.T) {
	path := t.TempDir() + "/s"
	old := &Server{App: newVersion("old"), Listen: []string{"127.0.0.1:0", path}}
	ctx, cancel := context.WithCancelCause(t.Context())
	ready, ended := make(chan []net.Addr, 2), make(chan error, 1)
	old.Ready = func(addrs []net.Addr) error { ready <- addrs; return nil }
	go func() { ended <- old.Run(ctx) }()
	addr := testkit.Await(t, ready)[0].String()
	c := testkit.Dial(t, addr)
	c.Say(ask)
	c.Response("GET")
	unused := testkit.Dial(t, addr)
	testkit.Eventually(t, "it to be accepted", func() bool { status, _ := old.Status(); return status.Connections == 2 })

	sockets, err := old.Sockets()
	if err != nil {
		t.Fatal(err)
	}
	successor := launch(t, &Server{App: newVersion("new"), Listen: old.Listen, Inherited: sockets})
	if successor.addr != addr {
		t.Errorf("it listens at %s, not %s", successor.addr, addr)
	}
	cancel(ErrHandedOver)
	testkit.Eventually(t, "only the successor to accept", func() bool {
		c := testkit.Dial(t, addr)
		defer c.Close()
		c.Say(ask)
		_, body := c.Response("GET")
		return body == "new"
	})
	for _, one := range []*testkit.Conn{c, unused} {
		one.Say(ask)
		if res, body := one.Response("GET"); body != "old" || !res.Close {
			t.Errorf("a connection from before: %q, close %v", body, res.Close)
		}
	}
	if err := testkit.Await(t, ended); err != nil {
		t.Error(err)
	}
	over := testkit.Dial(t, path)
	over.Say(ask)
	if _, body := over.Response("GET"); body != "new" {
		t.Errorf("over the Unix socket: %q", body)
	}
	if err := successor.stop(); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("unix", path); err == nil {
		t.Error("the socket's file is still served")
	}
}

// TestWriteLimitThatIsTakenAway: a limit that applied to an open connection does not apply any
// more.
func TestWriteLimitThatIsTakenAway(t *testing.T) {
	first := &Server{App: echo, Timeouts: Timeouts{Timeouts: engine.Timeouts{WriteTimeout: 50 * time.Millisecond}}}
	x := launch(t, first)
	c := x.request(ask)
	c.Response("GET")
	if err := first.Reload(t.Context(), &Server{App: echo, Timeouts: Timeouts{Timeouts: engine.Timeouts{WriteTimeout: -1}}, Logger: x.log.Logger()}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // the deadline of the first response passes
	c.Say(ask)
	if res, _ := c.Response("GET"); res.StatusCode != 200 {
		t.Errorf("%s", res.Status)
	}
}
