package mux_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/mux"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

const features = wire.FeatureScopes | wire.FeaturePing | wire.FeatureCalls

// sockets returns the two ends of a Unix socket.
func sockets(t testing.TB) (gateway, worker net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if worker, err = net.Dial("unix", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if gateway, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gateway.Close(); worker.Close() })
	return gateway, worker
}

// both is a gateway's end and a worker's end of one connection, both running.
type both struct {
	*mux.Conn
	worker *mux.Worker
	logged *testkit.Log

	ended      chan struct{} // closed when both have ended
	gatewayEnd error         // valid after ended
	workerEnd  error
}

// offers are what the two sides offer.
type offers struct{ gateway, worker wire.Offer }

func start(t testing.TB, app pagi.App, opt mux.Options, o offers) *both {
	t.Helper()
	for _, offer := range []*wire.Offer{&o.gateway, &o.worker} {
		if offer.Features == 0 {
			offer.Features = features
		}
	}
	b := &both{ended: make(chan struct{}), logged: &testkit.Log{}}
	ready := make(chan error, 1)
	opt.Logger, opt.Ready = b.logged.Logger(), func(err error) { ready <- err }
	gateway, worker := sockets(t)
	answered := make(chan error, 1)
	var line *mux.Line
	go func() {
		var err error
		line, err = mux.Answer(gateway, o.gateway, wire.FeatureScopes, nil)
		answered <- err
	}()
	dialled, err := mux.Greet(worker, o.worker, "token")
	if err := errors.Join(err, <-answered); err != nil {
		t.Fatal(err)
	}
	b.Conn = mux.New(line, opt)
	b.worker = mux.NewWorker(dialled, app, mux.WorkerOptions{Logger: opt.Logger})
	var running sync.WaitGroup
	running.Go(func() { b.gatewayEnd = b.Run() })
	running.Go(func() { b.workerEnd = b.worker.Run(context.Background()) })
	go func() {
		running.Wait()
		close(b.ended)
	}()
	t.Cleanup(func() {
		b.Close()
		<-b.ended
	})
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	return b
}

// respond sends a whole response.
func respond(ctx context.Context, send pagi.Send, status int, body string) error {
	if err := send(ctx, pagi.HTTPResponseStart{Status: status, Headers: pagi.NewHeaders("content-type", "text/plain")}); err != nil {
		return err
	}
	return send(ctx, pagi.HTTPResponseBody{Body: []byte(body)})
}

// sample is an application with something of everything.
func sample(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	switch {
	case scope.Type == pagi.TypeLifespan:
		return sampleLifespan(ctx, scope, receive, send)
	case scope.Type == pagi.TypeWebSocket:
		return echoMessages(ctx, scope, receive, send)
	case scope.Type == pagi.TypeSSE:
		return countEvents(ctx, scope, send)
	}
	switch scope.Path {
	case "/":
		return respond(ctx, send, 200, "hello")
	case "/state":
		return respond(ctx, send, 200, fmt.Sprint(scope.State["database"]))
	case "/scope":
		return respond(ctx, send, 200, fmt.Sprintf("%s %s %s %s %q %s %s", scope.Method, scope.Scheme, scope.Path, scope.QueryString,
			scope.Headers.Get("x-one"), scope.RootPath, scope.HTTPVersion))
	case "/echo":
		return echoBody(ctx, receive, send)
	case "/panic":
		panic("a bug")
	case "/error":
		return errors.New("the database is away")
	case "/late":
		if err := respond(ctx, send, 200, "done"); err != nil {
			return err
		}
		return errors.New("too late to tell the client")
	case "/twice":
		for range 2 {
			if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
				return err
			}
		}
	case "/nothing":
		return nil
	case "/unsupported":
		return pagi.Unsupported(scope)
	}
	return respond(ctx, send, 404, "no such page")
}

func sampleLifespan(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	for {
		ev, err := receive(ctx)
		if err != nil {
			return err
		}
		switch ev.(type) {
		case pagi.LifespanStartup:
			scope.State["database"] = fmt.Sprint("open in worker ", scope.PAGI.WorkerNum)
			err = send(ctx, pagi.LifespanStartupComplete{})
		case pagi.LifespanShutdown:
			return send(ctx, pagi.LifespanShutdownComplete{})
		}
		if err != nil {
			return err
		}
	}
}

func echoBody(ctx context.Context, receive pagi.Receive, send pagi.Send) error {
	if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
		return err
	}
	for {
		ev, err := receive(ctx)
		if err != nil {
			return err
		}
		switch e := ev.(type) {
		case pagi.HTTPRequest:
			if err := send(ctx, pagi.HTTPResponseBody{Body: e.Body, More: e.More}); err != nil || !e.More {
				return err
			}
		case pagi.HTTPDisconnect:
			return nil
		}
	}
}

func echoMessages(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	for {
		ev, err := receive(ctx)
		if err != nil {
			return err
		}
		switch e := ev.(type) {
		case pagi.WebSocketConnect:
			if scope.Path == "/refuse" {
				return send(ctx, pagi.WebSocketClose{})
			}
			accept := pagi.WebSocketAccept{}
			if len(scope.Subprotocols) > 0 {
				accept.Subprotocol = scope.Subprotocols[len(scope.Subprotocols)-1]
			}
			err = send(ctx, accept)
		case pagi.WebSocketReceive:
			if e.Text == "close" {
				return send(ctx, pagi.WebSocketClose{Code: 4001, Reason: "as you wish"})
			}
			err = send(ctx, pagi.WebSocketSend(e))
		case pagi.WebSocketDisconnect:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func countEvents(ctx context.Context, scope *pagi.Scope, send pagi.Send) error {
	events := []pagi.Event{
		pagi.SSEStart{Headers: pagi.NewHeaders("x-from", "worker")},
		pagi.SSESend{Data: "one\ntwo", Event: "count", ID: "7", Retry: 2 * time.Second, HasRetry: true},
		pagi.SSEClose{},
	}
	for _, ev := range events {
		if err := send(ctx, ev); err != nil {
			return err
		}
	}
	return nil
}

func TestHTTP(t *testing.T) {
	b := start(t, pagi.AppFunc(sample), mux.Options{}, offers{})
	c := pagitest.New(b)
	if r := c.Get("/"); r.Status != 200 || r.Text() != "hello" || r.Header("content-type") != "text/plain" {
		t.Errorf("%+v", r)
	}
	r := c.Get("/scope?a=1", pagitest.Header("x-one", "é"), pagitest.Edit(func(s *pagi.Scope) { s.RootPath = "/root" }))
	if want := `GET http /scope a=1 "é" /root 1.1`; r.Text() != want {
		t.Errorf("%s, want %s", r.Text(), want)
	}
	big := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	if r := c.Post("/echo", pagitest.Body(big)); r.Text() != big || r.Err != nil {
		t.Errorf("%d bytes come back of %d, %v", len(r.Body), len(big), r.Err)
	}
	if r := c.Post("/echo", pagitest.Chunks("one", "two", "three")); r.Text() != "onetwothree" {
		t.Errorf("%q", r.Text())
	}
	testkit.Eventually(t, "all streams to end", func() bool { return b.Load() == 0 })
}

func TestFailures(t *testing.T) {
	b := start(t, pagi.AppFunc(sample), mux.Options{}, offers{})
	c := pagitest.New(b)
	for path, want := range map[string]string{
		"/panic": "panic: a bug", "/error": "the database is away", "/twice": "http.response.start: the response was started already",
	} {
		r := c.Get(path)
		var ended *mux.EndError
		if !errors.As(r.Err, &ended) || !strings.HasPrefix(ended.Message, want) {
			t.Errorf("%s: %v, want %s", path, r.Err, want)
		}
	}
	if r := c.Get("/unsupported"); !errors.Is(r.Err, pagi.ErrUnsupported) {
		t.Errorf("%v", r.Err)
	}
	if r := c.Get("/late"); r.Err != nil || r.Text() != "done" {
		t.Errorf("%+v", r)
	}
	b.logged.WaitFor(t, "too late to tell the client")
	testkit.Eventually(t, "all streams to end", func() bool { return b.Load() == 0 })
}

func TestWebSocket(t *testing.T) {
	b := start(t, pagi.AppFunc(sample), mux.Options{}, offers{})
	c := pagitest.New(b)
	ws := c.WebSocket("/chat", pagitest.Subprotocols("v1", "v2"))
	if !ws.Accepted || ws.Subprotocol != "v2" {
		t.Fatalf("%v %q", ws.Accepted, ws.Subprotocol)
	}
	long := strings.Repeat("é", 100<<10) // longer than the window
	for _, text := range []string{"hello", "", long} {
		if err := ws.SendText(text); err != nil {
			t.Fatal(err)
		}
		if got, err := ws.ReceiveText(); got != text || err != nil {
			t.Fatalf("%d bytes come back of %d, %v", len(got), len(text), err)
		}
	}
	if err := ws.SendBytes([]byte{0, 255}); err != nil {
		t.Fatal(err)
	}
	if got, err := ws.ReceiveBytes(); !bytes.Equal(got, []byte{0, 255}) || err != nil {
		t.Fatalf("%v %v", got, err)
	}
	if err := ws.SendText("close"); err != nil {
		t.Fatal(err)
	}
	var end *engine.WebSocketEnd
	if _, err := ws.Receive(); !errors.As(err, &end) || end.Code != 4001 || end.Reason != "as you wish" {
		t.Errorf("%v", err)
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
	if refused := c.WebSocket("/refuse"); refused.Accepted || refused.Response.Status != 403 {
		t.Errorf("a handshake that the application refuses is answered %+v", refused.Response)
	}
	left := c.WebSocket("/chat")
	left.Disconnect(pagi.ReasonClientTimeout)
	if err := left.Finish(); err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, "all streams to end", func() bool { return b.Load() == 0 })
}

func TestEventStream(t *testing.T) {
	b := start(t, pagi.AppFunc(sample), mux.Options{}, offers{})
	stream := pagitest.New(b).Events("/events")
	ev, ok := stream.Next()
	if !ok || ev.Data != "one\ntwo" || ev.Event != "count" || ev.ID != "7" {
		t.Errorf("%+v %v", ev, ok)
	}
	if r := stream.Finish(); r.Err != nil || r.Header("x-from") != "worker" {
		t.Errorf("%+v", r)
	}
}

func TestLifespanStateStaysInTheWorker(t *testing.T) {
	b := start(t, pagi.AppFunc(sample), mux.Options{}, offers{})
	toApp, toServer := make(chan pagi.Event), make(chan pagi.Event, 2)
	served := make(chan error, 1)
	go func() {
		served <- b.Serve(context.Background(), &pagi.Scope{Type: pagi.TypeLifespan, PAGI: pagi.Versions{WorkerNum: 3}},
			func(ctx context.Context) (pagi.Event, error) {
				select {
				case ev := <-toApp:
					return ev, nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			},
			func(_ context.Context, ev pagi.Event) error {
				toServer <- ev
				return nil
			})
	}()
	toApp <- pagi.LifespanStartup{}
	if ev := <-toServer; ev != (pagi.LifespanStartupComplete{}) {
		t.Fatalf("%#v", ev)
	}
	if r := pagitest.New(b).Get("/state"); r.Text() != "open in worker 3" {
		t.Errorf("%q", r.Text())
	}
	toApp <- pagi.LifespanShutdown{}
	if ev := <-toServer; ev != (pagi.LifespanShutdownComplete{}) {
		t.Fatalf("%#v", ev)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestDrain(t *testing.T) {
	hold := make(chan struct{})
	b := start(t, pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		<-hold
		return respond(ctx, send, 200, "finished")
	}), mux.Options{}, offers{})
	c := pagitest.New(b)
	answer := make(chan *pagitest.Response, 1)
	go func() { answer <- c.Get("/") }()
	testkit.Eventually(t, "the request to begin", func() bool { return b.Load() == 1 })
	if err := b.Drain(); err != nil {
		t.Fatal(err)
	}
	if r := c.Get("/"); !errors.Is(r.Err, mux.ErrClosed) {
		t.Errorf("a request after DRAIN: %v", r.Err)
	}
	close(hold)
	if r := <-answer; r.Text() != "finished" {
		t.Errorf("%+v", r)
	}
	<-b.ended
	if b.workerEnd != nil || !errors.Is(b.gatewayEnd, io.EOF) {
		t.Errorf("the worker ended with %v, the gateway's side with %v", b.workerEnd, b.gatewayEnd)
	}
}

func TestCalls(t *testing.T) {
	release := make(chan struct{})
	b := start(t, pagi.AppFunc(sample), mux.Options{Call: func(ctx context.Context, name string, argument []byte) ([]byte, error) {
		switch name {
		case "upper":
			return bytes.ToUpper(argument), nil
		case "fail":
			return nil, errors.New("no room")
		case "wait":
			select {
			case <-release:
			case <-ctx.Done():
			}
			return nil, nil
		}
		return nil, mux.ErrUnknownCall
	}}, offers{})
	ctx := context.Background()
	waiting := make(chan error, 1)
	go func() {
		_, err := b.worker.Call(ctx, "wait", nil)
		waiting <- err
	}()
	if got, err := b.worker.Call(ctx, "upper", []byte("abc")); string(got) != "ABC" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	if _, err := b.worker.Call(ctx, "fail", nil); err == nil || err.Error() != "no room" {
		t.Errorf("%v", err)
	}
	if _, err := b.worker.Call(ctx, "fly", nil); !errors.Is(err, mux.ErrUnknownCall) {
		t.Errorf("%v", err)
	}
	close(release)
	if err := <-waiting; err != nil {
		t.Error(err)
	}
}

func TestTheClientLeaves(t *testing.T) {
	causes := make(chan error, 1)
	b := start(t, pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
			return err
		}
		for {
			if err := send(ctx, pagi.HTTPResponseBody{Body: make([]byte, 1000), More: true}); err != nil {
				return err
			}
			if !scope.Connection.IsConnected() {
				<-ctx.Done()
				causes <- context.Cause(ctx)
				return nil
			}
		}
	}), mux.Options{}, offers{})
	if r := pagitest.New(b).Get("/", pagitest.DisconnectAfter(10, pagi.ReasonClientTimeout)); r.Status != 200 {
		t.Errorf("%+v", r)
	}
	var gone *pagi.DisconnectError
	if err := <-causes; !errors.As(err, &gone) || gone.Reason != pagi.ReasonClientTimeout {
		t.Errorf("%v", err)
	}
	testkit.Eventually(t, "the stream to end", func() bool { return b.Load() == 0 })
}

// The worker is told how its request has ended: at once when the answer is complete, and soon when the client has left.
func TestTheWorkerIsToldOfTheEnd(t *testing.T) {
	for _, c := range []struct {
		name    string
		leaves  bool // the client does, before there is an answer
		answers bool // the worker does
		early   bool // the gateway answers instead, when the worker begins
		reason  string
	}{
		{name: "answered", answers: true},
		{name: "left", leaves: true, reason: pagi.ReasonClientClosed},
		{name: "left, and answered in vain", leaves: true, answers: true, reason: pagi.ReasonClientClosed},
		{name: "answered by another", early: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			called, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan pagi.Connection, 1)
			b := start(t, pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
				close(called)
				<-goOn
				if c.answers {
					if err := respond(ctx, send, 200, "hello"); err != nil {
						return err
					}
				}
				if c.early {
					if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
						return err
					}
				}
				for {
					ev, err := receive(ctx)
					if err != nil {
						return err
					}
					if _, is := ev.(pagi.HTTPDisconnect); is {
						ended <- scope.Connection
						return nil
					}
				}
			}), mux.Options{}, offers{})
			app := pagi.App(b)
			if c.early {
				app = pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
					return b.Serve(ctx, scope, receive, func(ctx context.Context, ev pagi.Event) error {
						if _, is := ev.(pagi.HTTPResponseStart); is {
							return respond(ctx, send, 304, "")
						}
						return nil
					})
				})
			}
			x := pagitest.New(app).Begin("GET", "/")
			testkit.Await(t, called)
			if c.leaves {
				x.Disconnect(pagi.ReasonClientClosed)
			}
			close(goOn)
			x.Finish()
			conn := testkit.Await(t, ended)
			if reason := conn.DisconnectReason(); reason != c.reason || conn.ResponseComplete() != (c.reason == "") {
				t.Errorf("reason %q, complete %v", reason, conn.ResponseComplete())
			}
			testkit.Eventually(t, "the stream to end", func() bool { return b.Load() == 0 })
		})
	}
}

func TestDescriptors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	content := strings.Repeat("line of a file\n", 10000)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
			return err
		}
		return send(ctx, pagi.HTTPResponseBody{File: path, Offset: 8, Length: int64(len(content) - 10)})
	})
	for _, c := range []struct {
		name     string
		features wire.Features
	}{
		{"bytes", features},
		{"descriptors", features | wire.FeatureDescriptors},
	} {
		t.Run(c.name, func(t *testing.T) {
			both := wire.Offer{Features: c.features}
			b := start(t, app, mux.Options{}, offers{both, both})
			for range 100 { // descriptors do not leak, nor mix
				if r := pagitest.New(b).Get("/"); r.Text() != content[8:len(content)-2] {
					t.Fatalf("%d bytes of %d, %v", len(r.Body), len(content)-10, r.Err)
				}
			}
		})
	}
}

func TestABlockedWorkerIsNoticed(t *testing.T) {
	gateway, worker := sockets(t)
	answered := make(chan *mux.Line, 1)
	go func() {
		line, err := mux.Answer(gateway, wire.Offer{Features: features}, wire.FeatureScopes, nil)
		if err != nil {
			t.Error(err)
		}
		answered <- line
	}()
	if _, err := mux.Greet(worker, wire.Offer{Features: features}, ""); err != nil { // it says nothing after that
		t.Fatal(err)
	}
	c := mux.New(<-answered, mux.Options{Ping: mux.Ping{Every: 5 * time.Millisecond, Patience: 50 * time.Millisecond}})
	if err := c.Run(); !errors.Is(err, mux.ErrBlocked) {
		t.Errorf("%v", err)
	}
}
