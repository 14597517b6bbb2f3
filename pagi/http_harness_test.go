package pagi

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// syncBuffer collects log lines of several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// call is one call of an application, with less to write.
type call struct {
	ctx     context.Context
	scope   *Scope
	receive Receive
	send    Send
}

func (c *call) start(status int, headers ...string) error {
	return c.send(c.ctx, HTTPResponseStart{Status: status, Headers: NewHeaders(headers...)})
}

func (c *call) body(s string) error { return c.send(c.ctx, HTTPResponseBody{Body: []byte(s)}) }
func (c *call) more(s string) error {
	return c.send(c.ctx, HTTPResponseBody{Body: []byte(s), More: true})
}

func (c *call) reply(s string) error {
	if err := c.start(200, "content-type", "text/plain"); err != nil {
		return err
	}
	return c.body(s)
}

// fixture is an engine behind a real socket.
type fixture struct {
	t    *testing.T
	addr string
	url  string
	log  *syncBuffer
	done chan HTTPRecord
	srv  *httptest.Server
}

// serve starts options with an application made of f.
func serve(t *testing.T, options HTTPHandler, f func(c *call) error) *fixture {
	t.Helper()
	return start(t, options, f, (*httptest.Server).Start)
}

func start(t *testing.T, options HTTPHandler, f func(c *call) error, run func(*httptest.Server)) *fixture {
	t.Helper()
	x := &fixture{t: t, log: &syncBuffer{}, done: make(chan HTTPRecord, 100)}
	options.App = AppFunc(func(ctx context.Context, scope *Scope, receive Receive, send Send) error {
		return f(&call{ctx, scope, receive, send})
	})
	options.Logger = slog.New(slog.NewTextHandler(x.log, nil))
	options.Done = func(r *HTTPRecord) { x.done <- *r }
	x.srv = httptest.NewUnstartedServer(&options)
	x.srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	x.srv.Config.DisableGeneralOptionsHandler = true
	run(x.srv)
	t.Cleanup(x.srv.Close)
	x.addr, x.url = x.srv.Listener.Addr().String(), x.srv.URL
	return x
}

// client is a raw connection.
type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (x *fixture) dial() *client {
	x.t.Helper()
	conn, err := net.Dial("tcp", x.addr)
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &client{x.t, conn, bufio.NewReader(conn)}
}

// request dials and writes.
func (x *fixture) request(text string) *client {
	x.t.Helper()
	c := x.dial()
	c.write("%s", text)
	return c
}

func (c *client) write(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c, format, args...); err != nil {
		c.t.Fatal(err)
	}
}

// response reads one response to a request of the given method.
func (c *client) response(method string) (*http.Response, string) {
	c.t.Helper()
	res, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("reading the response: %v", err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatalf("reading the response body: %v (so far %q)", err, body)
	}
	return res, string(body)
}

// rest reads until the server closes.
func (c *client) rest() string {
	c.t.Helper()
	b, err := io.ReadAll(c.r)
	if err != nil {
		c.t.Fatalf("reading to the end: %v (so far %q)", err, b)
	}
	return string(b)
}

// closed checks that the server closes the connection without another byte.
func (c *client) closed() {
	c.t.Helper()
	if b, err := io.ReadAll(c.r); err != nil || len(b) > 0 {
		c.t.Fatalf("connection: %q, %v; want it closed", b, err)
	}
}

// record waits for the end of a request.
func (x *fixture) record() HTTPRecord {
	x.t.Helper()
	return await(x.t, x.done)
}

func await[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("it did not happen in time")
		panic("unreachable")
	}
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

// logged waits for a log line that contains all parts.
func (x *fixture) logged(parts ...string) {
	x.t.Helper()
	eventually(x.t, "log line with "+strings.Join(parts, ", "), func() bool {
		for line := range strings.Lines(x.log.String()) {
			all := true
			for _, p := range parts {
				all = all && strings.Contains(line, p)
			}
			if all {
				return true
			}
		}
		return false
	})
}
