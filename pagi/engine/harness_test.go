package engine_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
)

// call is one call of an application, with less to write.
type call struct {
	ctx     context.Context
	scope   *pagi.Scope
	receive pagi.Receive
	send    pagi.Send
}

func (c *call) start(status int, headers ...string) error {
	return c.send(c.ctx, pagi.HTTPResponseStart{Status: status, Headers: pagi.NewHeaders(headers...)})
}

func (c *call) body(s string) error { return c.send(c.ctx, pagi.HTTPResponseBody{Body: []byte(s)}) }
func (c *call) more(s string) error {
	return c.send(c.ctx, pagi.HTTPResponseBody{Body: []byte(s), More: true})
}

func (c *call) reply(s string) error {
	if err := c.start(200, "content-type", "text/plain"); err != nil {
		return err
	}
	return c.body(s)
}

// OtherEngine, where it is set, serves HTTP/1 for these tests instead of net/http; see
// http1_test.go.
var OtherEngine func(t *testing.T, handler http.Handler, l net.Listener)

// fixture is an engine behind a real socket, or behind pipes.
type fixture struct {
	t    *testing.T
	addr string
	pipe *testkit.Pipes // nil: the socket at addr
	url  string
	log  *testkit.Log
	done chan engine.Record
	srv  *httptest.Server
}

// serve starts options with an application made of f.
func serve(t *testing.T, options engine.Handler, f func(c *call) error) *fixture {
	t.Helper()
	return start(t, options, f, nil)
}

// inBubble runs f as a subtest in a bubble of synctest.
func inBubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// bubble is serve for a test in a bubble of synctest. Time passes there only while all wait.
func bubble(t *testing.T, options engine.Handler, f func(c *call) error) *fixture {
	t.Helper()
	pipes := testkit.NewPipes(t)
	x := start(t, options, f, nil, pipes)
	x.pipe = pipes
	return x
}

func start(t *testing.T, options engine.Handler, f func(c *call) error, run func(*httptest.Server), at ...net.Listener) *fixture {
	t.Helper()
	x := &fixture{t: t, log: &testkit.Log{}, done: make(chan engine.Record, 100)}
	options.App = pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		return f(&call{ctx, scope, receive, send})
	})
	options.Logger = x.log.Logger()
	options.Observers = []engine.Observer{engine.ObserverFunc(func(r *engine.Record) { x.done <- *r })}
	x.srv = httptest.NewUnstartedServer(&nethttp.Adapter{Engine: &options})
	x.srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	x.srv.Config.DisableGeneralOptionsHandler = true
	for _, l := range at {
		if err := x.srv.Listener.Close(); err != nil {
			t.Error(err)
		}
		x.srv.Listener = l
	}
	if run == nil && OtherEngine != nil {
		OtherEngine(t, &nethttp.Adapter{Engine: &options}, x.srv.Listener)
		x.addr = x.srv.Listener.Addr().String()
		x.url = "http://" + x.addr
		return x
	}
	if run == nil {
		run = (*httptest.Server).Start
	}
	run(x.srv)
	t.Cleanup(x.srv.Close)
	x.addr, x.url = x.srv.Listener.Addr().String(), x.srv.URL
	return x
}

func (x *fixture) dial() *testkit.Conn {
	x.t.Helper()
	if x.pipe == nil {
		return testkit.Dial(x.t, x.addr)
	}
	conn, err := x.pipe.DialContext(x.t.Context(), "", "")
	if err != nil {
		x.t.Fatal(err)
	}
	return testkit.NewConn(x.t, conn)
}

// request dials and writes.
func (x *fixture) request(text string) *testkit.Conn {
	x.t.Helper()
	c := x.dial()
	c.Say(text)
	return c
}

// record waits for the end of a request.
func (x *fixture) record() engine.Record {
	x.t.Helper()
	return testkit.Await(x.t, x.done)
}
