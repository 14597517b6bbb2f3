package socket_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest/socket"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/server"
)

type app = func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error

// over returns a client of f over a socket.
func over(t testing.TB, f app, set ...func(*server.Server)) *pagitest.Client {
	c := pagitest.New(pagi.AppFunc(f))
	c.Via = socket.New(t, set...)
	return c
}

// echo answers with the body of the request, and with its own view of the client in x-client.
func echo(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type != pagi.TypeHTTP {
		return pagi.Unsupported(scope)
	}
	body, err := io.ReadAll(request.BodyReader(ctx, receive))
	if err != nil {
		return err
	}
	headers := pagi.NewHeaders("x-client", scope.Client.Host)
	return errors.Join(send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: headers}), send(ctx, pagi.HTTPResponseBody{Body: body}))
}

func Example() {
	// In a test: func TestHello(t *testing.T) { ...
	run(func(t testing.TB) {
		client := pagitest.New(pagi.AppFunc(echo))
		client.Via = socket.New(t)
		res := client.Post("/", pagitest.Body("hello"))
		fmt.Println(res.Status, res.Text(), res.Header("x-client"), res.Err)
	})
	// Output: 200 hello 127.0.0.1 <nil>
}

func TestAddresses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for name, set := range map[string]func(*server.Server){
		"the default":   func(*server.Server) {},
		"a Unix socket": func(s *server.Server) { s.Socket = path },
		"IPv6":          func(s *server.Server) { s.Listen = []string{"[::1]:0"} },
	} {
		t.Run(name, func(t *testing.T) {
			if name == "IPv6" && !hasIPv6() {
				t.Skip("this machine has no IPv6")
			}
			client := over(t, echo, set)
			for range 2 {
				if res := client.Post("/", pagitest.Body("x")); res.Err != nil || res.Text() != "x" {
					t.Errorf("%+v", res)
				}
			}
			if res := client.Get("/", pagitest.Edit(func(s *pagi.Scope) { s.Client.Host = "edited" })); res.Header("x-client") != "edited" {
				t.Errorf("%+v", res)
			}
		})
	}
}

func TestWhatTheServerAnswersItself(t *testing.T) {
	client := over(t, echo, func(s *server.Server) { s.MaxBodySize, s.MaxHeaderSize = 10, 1000 })
	for name, tt := range map[string]struct {
		opt    pagitest.Option
		status int
		called bool
	}{
		"a body announced too large":  {pagitest.Body("01234567890"), 413, false},
		"a body found to be so":       {pagitest.Chunks("01234", "567890"), 413, true},
		"a head that is too large":    {pagitest.Header("x", strings.Repeat("x", 1000)), 431, false},
		"a header that is not one":    {pagitest.Header("x y", "1"), 400, false},
		"a body as large as it may":   {pagitest.Body("0123456789"), 200, true},
		"a content-length of letters": {pagitest.Header("content-length", "x"), 400, false},
	} {
		t.Run(name, func(t *testing.T) {
			x := client.Begin("POST", "/", tt.opt)
			res := x.Finish()
			if res.Status != tt.status || (x.Scope != nil) != tt.called || (res.Err != nil) != (tt.called && tt.status != 200) {
				t.Errorf("%+v, scope %v", res, x.Scope)
			}
		})
	}
}

func TestLargeBodiesBothWays(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 1<<16)
	client := over(t, echo)
	for name, opt := range map[string]pagitest.Option{
		"of known length":      pagitest.Body(large),
		"chunked, with an end": pagitest.Chunks(large[:1000], large[1000:]),
	} {
		if res := client.Post("/", opt); res.Err != nil || res.Text() != large {
			t.Errorf("%s: %d bytes, %v", name, len(res.Body), res.Err)
		}
	}
}

func TestHeadersKeepTheirOrder(t *testing.T) {
	var scope *pagi.Scope
	client := over(t, func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		scope = s
		return errors.Join(send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("z", "1", "a", "2", "z", "3")}), send(ctx, pagi.HTTPResponseBody{}))
	})
	res := client.Get("/a%2Fb?x", pagitest.Header("z", "1"), pagitest.Header("a", "2"))
	if got := fmt.Sprint(res.Headers); got != "[{z 1} {a 2} {z 3}]" || res.Err != nil {
		t.Errorf("%s, %v", got, res.Err)
	}
	if got := fmt.Sprint(scope.Headers, scope.Target, scope.Path); got != "[{host testserver} {z 1} {a 2}]/a%2Fb?x/a/b" {
		t.Error(got)
	}
}

func TestLifespanByTheServer(t *testing.T) {
	var log []string
	wrapped := lifespan.Hooks{
		Startup: []func(context.Context, map[string]any) error{func(_ context.Context, state map[string]any) error {
			log = append(log, "start")
			state["n"] = len(log)
			return nil
		}},
		Shutdown: []func(context.Context, map[string]any) error{func(context.Context, map[string]any) error {
			log = append(log, "stop")
			return errors.New("disk full")
		}},
	}.Wrap(pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		text := fmt.Sprint(s.State["n"])
		return errors.Join(send(ctx, pagi.HTTPResponseStart{Status: 200}), send(ctx, pagi.HTTPResponseBody{Body: []byte(text)}))
	}))
	client := pagitest.New(wrapped)
	client.Via = socket.New(t)
	if res := client.Get("/"); res.Text() != "<nil>" || len(log) != 0 {
		t.Errorf("before the start: %+v, %v", res, log)
	}
	for range 2 {
		if err := client.Startup(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if res := client.Get("/"); res.Text() != "1" || client.State()["n"] != 1 {
		t.Errorf("started: %+v, %v", res, client.State())
	}
	if err := client.Shutdown(t.Context()); err == nil || err.Error() != "shutdown failed: disk full" {
		t.Error(err)
	}
	if res := client.Get("/"); res.Text() != "<nil>" || client.State() != nil {
		t.Errorf("after the end: %+v", res)
	}
	if got := fmt.Sprint(log); got != "[start stop]" {
		t.Error(got)
	}
}

func TestStartedOverASocket(t *testing.T) {
	var log []string
	note := func(word string) []func(context.Context, map[string]any) error {
		return []func(context.Context, map[string]any) error{func(_ context.Context, state map[string]any) error {
			log = append(log, word)
			state["word"] = word
			return nil
		}}
	}
	t.Run("until its end", func(t *testing.T) {
		client := pagitest.Start(t, lifespan.Hooks{Startup: note("start"), Shutdown: note("stop")}.Wrap(pagi.AppFunc(echo)), socket.New(t))
		client.Post("/", pagitest.Body("x")).Expect(t, 200, "x")
		if client.State()["word"] != "start" {
			t.Error(client.State())
		}
	})
	if got := fmt.Sprint(log); got != "[start stop]" {
		t.Error(got)
	}
}

func TestAServerThatCannotStart(t *testing.T) {
	client := over(t, echo, func(s *server.Server) { s.Listen = []string{"nowhere"} })
	if res := client.Get("/"); res.Err == nil || res.Status != 0 {
		t.Errorf("%+v", res)
	}
	if ws := client.WebSocket("/"); ws.Accepted || ws.Finish() == nil {
		t.Error("a WebSocket")
	}
	x := client.Begin("POST", "/", pagitest.Stream())
	if x.Write("x") == nil || x.CloseBody() == nil {
		t.Error("a write")
	}
	if _, ok := x.Next(); ok {
		t.Error("an event")
	}
	x.Disconnect(pagi.ReasonClientClosed)
	if x.Finish().Err == nil {
		t.Error("no error")
	}
}

func TestForbiddenEventsAreReported(t *testing.T) {
	client := over(t, func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		_ = send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.Headers{{Name: "X-Upper", Value: "1"}}})
		return errors.Join(send(ctx, pagi.HTTPResponseStart{Status: 200}), send(ctx, pagi.HTTPResponseBody{}))
	})
	if res := client.Get("/"); res.Status != 200 || res.Err == nil || !strings.Contains(res.Err.Error(), "lower case") {
		t.Errorf("%+v", res)
	}
}

func TestALongDenial(t *testing.T) {
	long := strings.Repeat("no ", 10_000)
	client := over(t, func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		return errors.Join(
			send(ctx, pagi.WebSocketHTTPResponseStart{Status: 401, Headers: pagi.NewHeaders("b", "1", "a", "2")}),
			send(ctx, pagi.WebSocketHTTPResponseBody{Body: []byte(long), More: true}),
			send(ctx, pagi.WebSocketHTTPResponseBody{}))
	})
	ws := client.WebSocket("/")
	if ws.Accepted || ws.Response.Status != 401 || ws.Response.Text() != long || ws.Response.Headers[0].Name != "b" {
		t.Errorf("%v, %d, %d bytes, %v", ws.Accepted, ws.Response.Status, len(ws.Response.Body), ws.Response.Headers)
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
}

func TestExchangesBesideOneAnother(t *testing.T) {
	client := over(t, echo)
	var all []*pagitest.Exchange
	for range 20 {
		all = append(all, client.Begin("POST", "/", pagitest.Stream()))
	}
	for i, x := range all {
		if err := errors.Join(x.Write(fmt.Sprint("number ", i)), x.CloseBody()); err != nil {
			t.Error(err)
		}
	}
	for i, x := range all {
		if res := x.Finish(); res.Err != nil || res.Text() != fmt.Sprint("number ", i) {
			t.Errorf("%d: %q, %v", i, res.Text(), res.Err)
		}
	}
}

func TestAClientThatLeaves(t *testing.T) {
	noticed := make(chan string, 1)
	client := over(t, func(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
			return err
		}
		if err := send(ctx, pagi.HTTPResponseBody{Body: []byte("x"), More: true}); err != nil {
			return err
		}
		<-s.Connection.Disconnected()
		noticed <- s.Connection.DisconnectReason()
		return nil
	})
	x := client.Begin("GET", "/")
	x.Next()
	x.Next()
	x.Disconnect(pagi.ReasonClientClosed)
	if res := x.Finish(); res.Err != nil || res.Text() != "x" {
		t.Errorf("%+v", res)
	}
	if reason := <-noticed; reason != pagi.ReasonClientClosed {
		t.Error(reason)
	}
}

func TestAnApplicationThatHangs(t *testing.T) {
	client := over(t, func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, _ pagi.Send) error {
		<-ctx.Done()
		return nil
	})
	client.Timeout = 30 * time.Millisecond
	if res := client.Get("/"); res.Err == nil || !strings.Contains(res.Err.Error(), "no complete response within 30ms") {
		t.Errorf("%+v", res)
	}
}
