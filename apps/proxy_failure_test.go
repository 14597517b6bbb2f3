package apps_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// hangs reads the head of a request and then waits until the other side has gone.
func hangs(_ net.Conn, r *bufio.Reader) {
	head(r)
	_, _ = io.Copy(io.Discard, r)
}

func TestProxyBackendsThatFail(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(net.Conn, *bufio.Reader)
		cause  string
	}{
		{"that is not HTTP", says("220 mail ESMTP\r\n"), "malformed HTTP"},
		{"that closes without an answer", says(""), "EOF"},
		{"that breaks off in its head", says("HTTP/1.1 200 OK\r\nX: y"), "unexpected EOF"},
		{"that switches protocols unasked", says("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), "another protocol"},
		{"with a status that is none", says("HTTP/1.1 007 Bond\r\nContent-Length: 0\r\n\r\n"), "status 7"},
		{"with two lengths", says("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), "Content-Length"},
		{"with a header that has a control character", says("HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 0\r\n\r\n"), ""},
		{"with a carriage return in a header", says("HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b=c\r\nContent-Length: 0\r\n\r\n"), ""},
		{"with a head without end", func(conn net.Conn, r *bufio.Reader) {
			head(r)
			_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
			for err == nil {
				_, err = io.WriteString(conn, "X: "+strings.Repeat("y", 1000)+"\r\n")
			}
		}, "exceed"},
		{"with interim responses without end", func(conn net.Conn, r *bufio.Reader) {
			head(r)
			var err error
			for err == nil {
				_, err = io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("y", 1000)+"\r\n\r\n")
			}
		}, "interim"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log testkit.Log
			url := rawBackend(t, tt.answer)
			res := pagitest.New(&apps.Proxy{To: []string{url}, Logger: log.Logger()}).Get("/x")
			if res.Err != nil || res.Status != 502 || res.Text() != "Bad Gateway\n" {
				t.Errorf("%d %q %v, want 502", res.Status, res.Text(), res.Err)
			}
			log.WaitFor(t, "level=WARN", url, "path=/x", tt.cause)
		})
	}
}

func TestProxyBackendsThatAreSlow(t *testing.T) {
	const limit = time.Second
	for name, answer := range map[string]func(net.Conn, *bufio.Reader){
		"that do not answer": hangs,
		"with a slow head": func(conn net.Conn, r *bufio.Reader) { // until the proxy has had enough
			head(r)
			_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
			for err == nil {
				time.Sleep(limit / 10)
				_, err = io.WriteString(conn, "X: y\r\n")
			}
		},
	} {
		inBubble(t, name, func(t *testing.T) {
			var log testkit.Log
			p := &apps.Proxy{To: []string{"http://backend"}, ProxyLimits: apps.ProxyLimits{ResponseTimeout: limit}, Logger: log.Logger()}
			begun := time.Now()
			c := piped(t, p, func(l net.Listener) { answerAll(l, answer) })
			c.Say("GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			if res, body := c.Response("GET"); res.StatusCode != 504 || body != "Gateway Timeout\n" || time.Since(begun) != limit {
				t.Errorf("%d %q after %v", res.StatusCode, body, time.Since(begun))
			}
			log.WaitFor(t, "level=WARN", "http://backend", "path=/x", "option response_timeout")
		})
	}
}

func TestProxyCannotConnect(t *testing.T) {
	for _, tt := range []struct {
		name, url string
		status    int
	}{
		{"to a port without a server", unusedPort(t), 502},
		{"to a socket that is not there", "unix:/nowhere/s", 502},
		{"by TLS to a server without an answer", "https" + strings.TrimPrefix(rawBackend(t, hangs), "http"), 504},
	} {
		var log testkit.Log
		p := &apps.Proxy{To: []string{tt.url}, Logger: log.Logger()}
		if tt.status == http.StatusGatewayTimeout {
			p.ConnectTimeout = 30 * time.Millisecond
		}
		res := pagitest.New(p).Post("/", pagitest.Body("x"))
		if res.Err != nil || res.Status != tt.status || res.Text() != http.StatusText(tt.status)+"\n" {
			t.Errorf("%s: %d %q %v, want %d", tt.name, res.Status, res.Text(), res.Err, tt.status)
		}
		log.WaitFor(t, tt.url)
	}
}

func TestProxyResponsesThatBreakOff(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		hangs        bool
		body, cause  string
	}{
		{"by length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegun", false, "begun", "unexpected EOF"},
		{"in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n", false, "begun", "unexpected EOF"},
		{"by a broken chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\nx\r\n", false, "begun", "invalid byte"},
		{"by silence", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegun", true, "begun", "option idle_timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log testkit.Log
			url := rawBackend(t, func(conn net.Conn, r *bufio.Reader) {
				says(tt.answer)(conn, r)
				if tt.hangs {
					_, _ = io.Copy(io.Discard, r)
				}
			})
			p := &apps.Proxy{To: []string{url}, Logger: log.Logger()}
			if tt.hangs {
				p.IdleTimeout = 30 * time.Millisecond
			}
			res := pagitest.New(p).Get("/")
			if res.Err == nil || res.Status != 200 || res.Text() != tt.body {
				t.Errorf("%d %q %v", res.Status, res.Text(), res.Err)
			}
			log.WaitFor(t, "broken off", tt.cause)
		})
	}
}

// What frames the message on one side never reaches the other.
func TestProxyFramesMessagesItself(t *testing.T) {
	heads := make(chan string, 1)
	url := rawBackend(t, func(conn net.Conn, r *bufio.Reader) {
		heads <- head(r)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nConnection: x-inner\r\nX-Inner: 1\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
	})
	for _, tt := range []struct {
		name    string
		headers []string
		want    string
	}{
		{"a length and chunks", []string{"content-length", "4", "transfer-encoding", "chunked"}, "Content-Length: 4\r\n"},
		{"chunks in a strange coding", []string{"content-length", "4", "transfer-encoding", "xchunked"}, "Content-Length: 4\r\n"},
		{"a length that is declared a header of the connection", []string{"content-length", "4", "connection", "content-length"}, "Content-Length: 4\r\n"},
		{"the same length twice", []string{"content-length", "4", "content-length", "4"}, "Content-Length: 4\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pagitest.InMemory(t, "the server refuses some of these itself")
			res := pagitest.New(&apps.Proxy{To: []string{url}}).Post("/", pagitest.Body("a=bc"), pagitest.Edit(func(s *pagi.Scope) {
				s.Headers.Del("content-length")
				s.Headers = append(s.Headers, pagi.NewHeaders(tt.headers...)...)
			}))
			got := <-heads
			if strings.Count(got, tt.want) != 1 || strings.Contains(strings.ToLower(got), "transfer-encoding") {
				t.Errorf("the backend got %q", got)
			}
			if res.Err != nil || res.Text() != "hello" || res.Headers.Has("content-length") || res.Headers.Has("transfer-encoding") || res.Headers.Has("x-inner") {
				t.Errorf("%v %q %v", res.Headers, res.Text(), res.Err)
			}
		})
	}
}

func TestProxyAsksAnotherBackendWhereThatIsSafe(t *testing.T) {
	var asked atomic.Int64
	good := backend(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %q %v", r.Method, body, err)
	})
	closes := rawBackend(t, func(conn net.Conn, r *bufio.Reader) { asked.Add(1); says("")(conn, r) })
	begins := rawBackend(t, func(conn net.Conn, r *bufio.Reader) { says("HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n")(conn, r) })
	for _, tt := range []struct {
		name, bad, method string
		options           []pagitest.Option
		status            int
		want              string
	}{
		{"a GET without a connection", unusedPort(t), "GET", nil, 200, `GET "" <nil>`},
		{"a POST without a connection", unusedPort(t), "POST", []pagitest.Option{pagitest.Body("x")}, 200, `POST "x" <nil>`},
		{"a POST in pieces without a connection", unusedPort(t), "POST", []pagitest.Option{pagitest.Chunks("x", "y")}, 200, `POST "xy" <nil>`},
		{"a GET without a response", closes, "GET", nil, 200, `GET "" <nil>`},
		{"a GET with a body without a response", closes, "GET", []pagitest.Option{pagitest.Body("x")}, 502, ""},
		{"a POST without a response", closes, "POST", nil, 502, ""},
		{"a DELETE without a response", closes, "DELETE", nil, 502, ""},
		{"a GET with an interim response", begins, "GET", nil, 502, ""},
	} {
		p := &apps.Proxy{To: []string{tt.bad, good}, ProxyHealth: apps.ProxyHealth{MaxFails: -1}, Logger: quiet}
		c := pagitest.New(p)
		if res := c.Do(tt.method, "/", tt.options...); res.Err != nil || res.Status != tt.status || tt.want != "" && res.Text() != tt.want {
			t.Errorf("%s: %d %q %v, want %d", tt.name, res.Status, res.Text(), res.Err, tt.status)
		}
	}
	asked.Store(0)
	p := &apps.Proxy{To: []string{closes + " weight=3", unusedPort(t), unusedPort(t)}, ProxyBalance: apps.ProxyBalance{Tries: 2}, Logger: quiet}
	pagitest.New(p).Get("/").Expect(t, 502)
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
}

func TestProxyWithoutABackendThatIsUp(t *testing.T) {
	var log testkit.Log
	one, other := unusedPort(t), unusedPort(t)
	p := &apps.Proxy{To: []string{one, other}, ProxyHealth: apps.ProxyHealth{MaxFails: 2, FailTimeout: time.Hour}, Logger: log.Logger()}
	c := pagitest.New(p)
	for range 2 {
		c.Get("/").Expect(t, 502)
	}
	res := c.Get("/").Expect(t, 503, "Service Unavailable")
	if after := res.Header("retry-after"); after != "3600" {
		t.Errorf("retry-after %q", after)
	}
	if n := strings.Count(log.String(), "gets no requests"); n != 2 {
		t.Errorf("%d backends went down:\n%s", n, log.String())
	}
}

func TestProxyASingleBackendIsAlwaysTried(t *testing.T) {
	c := pagitest.New(&apps.Proxy{To: []string{unusedPort(t)}, ProxyHealth: apps.ProxyHealth{MaxFails: 1, FailTimeout: time.Hour}, Logger: quiet})
	for range 3 {
		c.Get("/").Expect(t, 502)
	}
}

func TestProxyHealthChecks(t *testing.T) {
	var well atomic.Bool
	sick := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" && r.URL.RawQuery == "full" && !well.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprint(w, "one")
	})
	other := backend(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "other") })
	var log testkit.Log
	p := &apps.Proxy{To: []string{sick + "/p", other + "/p"}, ProxyHealth: apps.ProxyHealth{HealthPath: "/healthz?full", HealthInterval: time.Millisecond}, Logger: log.Logger()}
	c := pagitest.Start(t, p)
	log.WaitFor(t, "is down", sick, "status 500")
	for range 4 {
		c.Get("/").Expect(t, 200, "other")
	}
	well.Store(true)
	log.WaitFor(t, "is up again", sick)
	testkit.Eventually(t, "the backend that is well again", func() bool { return c.Get("/").Text() == "one" })
}

func TestProxyConnectionsHaveALimit(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	url := backend(t, func(http.ResponseWriter, *http.Request) {
		begun <- struct{}{}
		<-end
	})
	c := pagitest.New(&apps.Proxy{To: []string{url}, ProxyLimits: apps.ProxyLimits{MaxConns: 1, ConnectTimeout: 300 * time.Millisecond}, Logger: quiet})
	first := c.Begin("GET", "/")
	<-begun
	if res := c.Get("/"); res.Status != 503 || res.Header("retry-after") != "1" {
		t.Errorf("%d %v", res.Status, res.Headers)
	}
	close(end)
	first.Finish().Expect(t, 200)
}

func TestProxyAClientThatLeavesEndsTheRequest(t *testing.T) {
	for name, method := range map[string]string{"before the response": "GET", "while its body is awaited": "POST"} {
		t.Run(name, func(t *testing.T) {
			begun, ended := make(chan struct{}), make(chan struct{})
			url := rawBackend(t, func(_ net.Conn, r *bufio.Reader) {
				head(r)
				close(begun)
				_, _ = io.Copy(io.Discard, r)
				close(ended)
			})
			var log testkit.Log
			var options []pagitest.Option
			if method == "POST" {
				options = append(options, pagitest.Stream())
			}
			x := pagitest.New(&apps.Proxy{To: []string{url}, Logger: log.Logger()}).Begin(method, "/", options...)
			if method == "POST" {
				if err := x.Write("begun"); err != nil {
					t.Fatal(err)
				}
			}
			testkit.Await(t, begun)
			x.Disconnect(pagi.ReasonClientClosed)
			testkit.AtOnce(t, ended)
			x.Finish()
			if log.String() != "" {
				t.Errorf("the backend is blamed: %s", log.String())
			}
		})
	}
	t.Run("in the middle of the response", func(t *testing.T) {
		ended := make(chan struct{})
		url := backend(t, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "begun")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			close(ended)
		})
		var log testkit.Log
		pagitest.New(&apps.Proxy{To: []string{url}, Logger: log.Logger()}).Get("/", pagitest.DisconnectAfterBytes(5, pagi.ReasonClientClosed))
		testkit.AtOnce(t, ended)
		if log.String() != "" {
			t.Errorf("the backend is blamed: %s", log.String())
		}
	})
}

// A backend may answer, or die, without having read the body. Neither waits for the client.
func TestProxyDoesNotWaitForABodyThatIsNotWanted(t *testing.T) {
	for name, tt := range map[string]struct {
		answer string
		status int
	}{
		"a refusal": {"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno", 413},
		"a death":   {"", 502},
	} {
		t.Run(name, func(t *testing.T) {
			url := rawBackend(t, func(conn net.Conn, r *bufio.Reader) {
				head(r)
				_, _ = io.ReadFull(r, make([]byte, len("5\r\nbegun\r\n")))
				_, _ = io.WriteString(conn, tt.answer)
			})
			x := pagitest.New(&apps.Proxy{To: []string{url}, Logger: quiet}).Begin("POST", "/", pagitest.Stream())
			if err := x.Write("begun"); err != nil {
				t.Fatal(err)
			}
			if ev, ok := x.Next(); !ok || ev.(pagi.HTTPResponseStart).Status != tt.status {
				t.Errorf("%v", ev)
			}
			x.Finish()
		})
	}
}

// A backend that refuses a request with "Expect: 100-continue" spares the client its body.
func TestProxyPassesExpectationsOn(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		receives     bool
	}{
		{"refused", "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n", false},
		{"met", "HTTP/1.1 100 Continue\r\n\r\n", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := rawBackend(t, func(conn net.Conn, r *bufio.Reader) {
				if h := head(r); !strings.Contains(h, "Expect: 100-continue\r\n") {
					t.Errorf("%q", h)
				}
				_, _ = io.WriteString(conn, tt.answer)
				if tt.receives {
					body := make([]byte, 5)
					_, _ = io.ReadFull(r, body)
					fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n%s", body)
				}
			})
			var received atomic.Int64
			counts := pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
				return (&apps.Proxy{To: []string{url}}).Serve(ctx, s, func(ctx context.Context) (pagi.Event, error) {
					received.Add(1)
					return receive(ctx)
				}, send)
			})
			res := pagitest.New(counts).Post("/", pagitest.Body("hello"), pagitest.Header("expect", "100-continue"))
			if res.Err != nil || (res.Status == 200) != tt.receives || (received.Load() > 0) != tt.receives {
				t.Errorf("%d %v, received %d times", res.Status, res.Err, received.Load())
			}
		})
	}
}

func TestProxyABodyOverALimitIsTheClientsFault(t *testing.T) {
	url := backend(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	var log testkit.Log
	p := &apps.Proxy{To: []string{url}, Logger: log.Logger()}
	limited := pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		receive, err := reply.LimitBody(ctx, s, receive, 5, quiet)
		if err != nil {
			return err
		}
		return p.Serve(ctx, s, receive, send)
	})
	res := pagitest.New(limited).Post("/", pagitest.Chunks("1234", "5678"))
	var status *pagi.StatusError
	if !errors.As(res.Err, &status) || status.Status != 413 || log.String() != "" {
		t.Errorf("%d %v %s", res.Status, res.Err, log.String())
	}
}
