package apps_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/server"
)

// served starts a server and returns its host and port.
func served(t *testing.T, app pagi.App) string {
	t.Helper()
	return run(t, &server.Server{App: app})
}

// run is served for a server with options.
func run(t *testing.T, s *server.Server) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan net.Addr, 1), make(chan error, 1)
	if len(s.Listeners) == 0 {
		s.Listen = []string{"127.0.0.1:0"}
	}
	s.H2C, s.Logger, s.AccessLog = true, quiet, io.Discard
	s.Ready = func(addrs []net.Addr) error { ready <- addrs[0]; return nil }
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := testkit.Await(t, done); err != nil {
			t.Error(err)
		}
	})
	return testkit.Await(t, ready).String()
}

// pipedFront serves a proxy in a bubble, with pipes for sockets on both sides, and returns its
// listener. serve is its backend, whatever its address is, and returns when its listener is closed.
func pipedFront(t *testing.T, p *apps.Proxy, serve func(net.Listener)) *testkit.Pipes {
	t.Helper()
	back, front := testkit.NewPipes(t), testkit.NewPipes(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		serve(back)
	}()
	t.Cleanup(func() {
		back.Close()
		<-ended
	})
	p.SetDial(back.DialContext)
	run(t, &server.Server{App: p, Listeners: []net.Listener{front}})
	return front
}

// piped is pipedFront, and connects to it.
func piped(t *testing.T, p *apps.Proxy, serve func(net.Listener)) *testkit.Conn {
	t.Helper()
	conn, err := pipedFront(t, p, serve).DialContext(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	return testkit.NewConn(t, conn)
}

func TestProxyNoRequestIsSmuggled(t *testing.T) {
	var mu sync.Mutex
	var saw []string
	url := backend(t, func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, err := io.ReadAll(r.Body)
		saw = append(saw, fmt.Sprint(r.Method, " ", r.Host, r.RequestURI, " ", len(body), " ", err))
	})
	address := served(t, &apps.Proxy{To: []string{url}, Logger: quiet})
	const inner = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, framing := range map[string]string{
		"a length and chunks":           fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 5+len(inner)),
		"chunks and a length":           fmt.Sprintf("Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n", 5+len(inner)),
		"two lengths":                   fmt.Sprintf("Content-Length: 0\r\nContent-Length: %d\r\n\r\n", len(inner)),
		"a list of lengths":             fmt.Sprintf("Content-Length: 0, %d\r\n\r\n", len(inner)),
		"a length with a sign":          "Content-Length: +0\r\n\r\n",
		"a blank before the colon":      "Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n",
		"a strange coding":              "Transfer-Encoding: xchunked\r\nContent-Length: 0\r\n\r\n",
		"two codings":                   "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
		"a tab before the coding":       "Transfer-Encoding:\tchunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
		"a line that is folded":         "X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
		"a line that ends without CR":   "X: y\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
		"a chunk size with rubbish":     "Transfer-Encoding: chunked\r\n\r\n0;x\ny\r\n\r\n",
		"a length that goes no further": fmt.Sprintf("Connection: content-length\r\nContent-Length: %d\r\n\r\n", len(inner)),
	} {
		mu.Lock()
		saw = nil
		mu.Unlock()
		c := testkit.Dial(t, address)
		c.Say("POST /outer HTTP/1.1\r\nHost: x\r\n" + framing + inner + "GET /after HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		answers := c.Rest()
		mu.Lock()
		for _, line := range saw {
			// A second request is right where the framing has said so to our server alone: then the server has
			// counted two requests as well.
			if strings.Contains(line, "smuggled") && strings.Count(answers, "HTTP/1.1 ") < len(saw) {
				t.Errorf("%s: the backend saw %q, the client got %q", name, saw, answers)
			}
		}
		mu.Unlock()
	}
}

func TestProxyAnAbsoluteTargetLeadsToTheBackend(t *testing.T) {
	url := backend(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host, r.RequestURI) })
	address := served(t, &apps.Proxy{To: []string{url}})
	for target, want := range map[string]string{
		"http://evil.example/x?y":      "evil.example/x?y",
		"http://169.254.169.254/x":     "169.254.169.254/x",
		"//evil.example/x":             "x//evil.example/x",
		"/http://evil.example":         "x/http://evil.example",
		"http://evil.example//other/x": "evil.example//other/x",
	} {
		res, body, err := testkit.Exchange(t, address, "GET "+target+" HTTP/1.1\r\nHost: x\r\n\r\n")
		if err != nil || res.StatusCode != 200 || body != want {
			t.Errorf("%s: %v %q, want %q", target, err, body, want)
		}
	}
	for _, request := range []string{"CONNECT evil.example:80 HTTP/1.1\r\nHost: evil.example:80\r\n\r\n", "GET evil.example HTTP/1.1\r\nHost: x\r\n\r\n", "TRACE / HTTP/1.1\r\nHost: x\r\n\r\n"} {
		if res, _, err := testkit.Exchange(t, address, request); err != nil || res.StatusCode < 400 {
			t.Errorf("%q: %v %v", request, res, err)
		}
	}
}

func TestProxyAnEventStreamPassesByteByByte(t *testing.T) {
	const stream = ": comment\n\nid: 1\nevent: x\ndata: a\ndata: b\n\nretry: 5\n\ndata:c\n\n"
	url := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, stream, "id: ", r.Header.Get("Last-Event-ID"), "\n\n")
	})
	req := testkit.NewRequest(t, "GET", "http://"+served(t, &apps.Proxy{To: []string{url}})+"/", nil)
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Last-Event-ID", "7")
	res, body := testkit.Do(t, http.DefaultClient, req)
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" || body != stream+"id: 7\n\n" {
		t.Errorf("%v %q", res, body)
	}
}

// No limit ends an event stream that is quiet: neither those of the server nor that of the proxy.
func TestProxyAnEventStreamMayBeQuiet(t *testing.T) {
	const limit = time.Second
	for name, version2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		inBubble(t, name, func(t *testing.T) {
			s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				for _, data := range []string{"first", "second"} {
					fmt.Fprintf(w, "data: %s\nid: %s\n\n", data, r.Header.Get("Last-Event-ID"))
					w.(http.Flusher).Flush()
					select {
					case <-r.Context().Done():
					case <-time.After(5 * limit):
					}
				}
			})}
			defer s.Close()
			back, front := testkit.NewPipes(t), testkit.NewPipes(t)
			go func() { _ = s.Serve(back) }() // until it is closed
			app := &apps.Proxy{To: []string{"http://backend"}, ProxyLimits: apps.ProxyLimits{IdleTimeout: limit}}
			app.SetDial(back.DialContext)
			run(t, &server.Server{
				App: app, Listeners: []net.Listener{front},
				Timeouts: server.Timeouts{Timeouts: engine.Timeouts{RequestTimeout: limit, MaxRequestTime: limit}},
			})
			protocols := new(http.Protocols)
			protocols.SetHTTP1(!version2)
			protocols.SetUnencryptedHTTP2(version2)
			client := &http.Client{Transport: &http.Transport{Protocols: protocols, DialContext: front.DialContext}}
			defer client.CloseIdleConnections()
			req := testkit.NewRequest(t, "GET", "http://front/", nil)
			req.Header.Set("Accept", "text/event-stream")
			req.Header.Set("Last-Event-ID", "7")
			res, body := testkit.Do(t, client, req)
			if res.StatusCode != 200 || res.Proto != map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[version2] || body != "data: first\nid: 7\n\ndata: second\nid: 7\n\n" {
				t.Errorf("%s %s %q", res.Proto, res.Status, body)
			}
		})
	}
}

func TestProxyForClientsOfHTTP2(t *testing.T) {
	url := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/socket" {
			conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			echoes(conn, r)
			return
		}
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		w.(http.Flusher).Flush()
		_, _ = io.Copy(flushing{w}, r.Body)
	})
	address := served(t, &apps.Proxy{To: []string{url}})
	transport := testkit.HTTP2(t, nil)
	for _, tt := range []struct{ method, path, say, want string }{
		{"CONNECT", "/socket", "\x81\x82\x00\x00\x00\x00hi", "\x81\x02hi"},
		{"POST", "/stream", "hello", "hello"}, // which waits for the response before it sends anything
	} {
		body, says := io.Pipe()
		req := testkit.NewRequest(t, tt.method, "http://"+address+tt.path, body)
		if tt.method == "CONNECT" {
			req.Header.Set(":protocol", "websocket")
			req.Header.Set("Sec-WebSocket-Version", "13")
		}
		res, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != 200 {
			t.Errorf("%s: %s", tt.path, res.Status)
		}
		if _, err := io.WriteString(says, tt.say); err != nil {
			t.Error(err)
		}
		got := make([]byte, len(tt.want))
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != tt.want {
			t.Errorf("%s: %q %v", tt.path, got, err)
		}
		says.Close()
		res.Body.Close()
	}
}

type flushing struct{ http.ResponseWriter }

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	f.ResponseWriter.(http.Flusher).Flush()
	return n, err
}
