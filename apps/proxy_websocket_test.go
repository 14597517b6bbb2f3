package apps_test

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// socketBackend starts a server that calls serve with each WebSocket.
func socketBackend(t testing.TB, serve func(*websocket.Conn, *http.Request)) string {
	t.Helper()
	return backend(t, upgrading(t, serve))
}

// upgrading gives each WebSocket to serve.
func upgrading(t testing.TB, serve func(*websocket.Conn, *http.Request)) http.HandlerFunc {
	upgrader := websocket.Upgrader{Subprotocols: []string{"v2", "v1"}, CheckOrigin: func(*http.Request) bool { return true }}
	return func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, http.Header{"Set-Cookie": {"a=1", "b=2"}, "X-Saw": {r.Host + " " + r.RequestURI}})
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		serve(conn, r)
	}
}

// echoes sends each message back.
func echoes(conn *websocket.Conn, _ *http.Request) {
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil {
			return
		}
		if conn.WriteMessage(kind, message) != nil {
			return
		}
	}
}

func TestProxyWebSockets(t *testing.T) {
	headers := make(chan http.Header, 1)
	url := socketBackend(t, func(conn *websocket.Conn, r *http.Request) {
		headers <- r.Header
		echoes(conn, r)
	})
	ws := mounted("/live", &apps.Proxy{To: []string{url + "/inner"}}).WebSocket("/live/a%2Fb?c", pagitest.Subprotocols("v1", "v0"),
		pagitest.Header("origin", "https://example.com"), pagitest.Header("cookie", "a=b"), pagitest.Header("x-forwarded-for", "10.0.0.1"),
		pagitest.Edit(func(s *pagi.Scope) {
			s.Headers = s.Headers.Clone()
			s.Headers.Set("sec-websocket-extensions", "permessage-deflate")
		}))
	if !ws.Accepted || ws.Subprotocol != "v1" || ws.Headers.Get("x-saw") != "testserver /inner/a%2Fb?c" || ws.Headers.Joined("set-cookie") != "a=1, b=2" {
		t.Fatalf("%v %q %v %+v", ws.Accepted, ws.Subprotocol, ws.Headers, ws.Response)
	}
	h := <-headers
	if h.Get("Origin") != "https://example.com" || h.Get("Cookie") != "a=b" || h.Get("X-Forwarded-For") == "10.0.0.1" || h.Get("X-Forwarded-Proto") != "http" || h.Get("Sec-Websocket-Extensions") != "" {
		t.Errorf("%v", h)
	}
	for _, text := range []string{"hello", "", "gr\u00fc\u00dfe", strings.Repeat("x", 100_000)} {
		if err := ws.SendText(text); err != nil {
			t.Fatal(err)
		}
		if got, err := ws.ReceiveText(); err != nil || got != text {
			t.Fatalf("%q %v", got, err)
		}
	}
	if err := ws.SendBytes([]byte{0, 255}); err != nil {
		t.Fatal(err)
	}
	if got, err := ws.ReceiveBytes(); err != nil || string(got) != "\x00\xff" {
		t.Errorf("%q %v", got, err)
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
}

func TestProxyWebSocketsByOtherWays(t *testing.T) {
	upgrader := websocket.Upgrader{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, err := upgrader.Upgrade(w, r, nil); err == nil {
			defer conn.Close()
			echoes(conn, r)
		}
	})
	pair := testkit.Certificate(t)
	secure := httptest.NewUnstartedServer(handler)
	secure.TLS = tlsOf(t, pair)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	local := &httptest.Server{Listener: l, Config: &http.Server{Handler: handler}}
	local.Start()
	t.Cleanup(local.Close)
	for name, p := range map[string]*apps.Proxy{
		"TLS":                   {To: []string{secure.URL}, ProxyTLS: apps.ProxyTLS{CA: pair.CertFile}},
		"a Unix socket":         {To: []string{"unix:" + socket}},
		"the second of two":     {To: []string{unusedPort(t), "unix:" + socket}, Logger: quiet},
		"a backend with a host": {To: []string{"unix:" + socket}, ProxyHeaders: apps.ProxyHeaders{SendHost: "backend"}},
	} {
		ws := pagitest.New(p).WebSocket("/")
		if err := ws.SendText("hello"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := ws.ReceiveText(); err != nil || got != "hello" {
			t.Errorf("%s: %q %v", name, got, err)
		}
		if err := ws.Finish(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProxyWebSocketsThatTheBackendCloses(t *testing.T) {
	for name, tt := range map[string]struct {
		serve  func(*websocket.Conn)
		code   int
		reason string
		logged string
	}{
		"with a code and a reason": {func(c *websocket.Conn) {
			_ = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4001, "enough"), time.Now().Add(time.Second))
			_, _, _ = c.ReadMessage()
		}, 4001, "enough", ""},
		"going away": {func(c *websocket.Conn) {
			_ = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1001, ""), time.Now().Add(time.Second))
			_, _, _ = c.ReadMessage()
		}, 1001, "", ""},
		"without a code": {func(c *websocket.Conn) {
			_ = c.WriteControl(websocket.CloseMessage, nil, time.Now().Add(time.Second))
			_, _, _ = c.ReadMessage()
		}, 1000, "", ""},
		"by dying":                  {func(c *websocket.Conn) { c.NetConn().Close() }, 1011, "", "broken off"},
		"with a frame that is none": {func(c *websocket.Conn) { _, _ = c.NetConn().Write([]byte{0xff, 0xff}) }, 1011, "", "broken off"},
		"with a text that is not UTF-8": {func(c *websocket.Conn) {
			_ = c.WriteMessage(websocket.TextMessage, []byte("\xff"))
			if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, 1007) {
				t.Errorf("the backend got %v", err)
			}
		}, 1011, "", "UTF-8"},
		"with a message that is too large": {func(c *websocket.Conn) {
			_ = c.WriteMessage(websocket.BinaryMessage, make([]byte, 11))
			if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, 1009) {
				t.Errorf("the backend got %v", err)
			}
		}, 1011, "", "read limit exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			var log testkit.Log
			url := socketBackend(t, func(conn *websocket.Conn, _ *http.Request) { tt.serve(conn) })
			p := &apps.Proxy{To: []string{url}, ProxyLimits: apps.ProxyLimits{MaxMessageSize: 10}, Logger: log.Logger()}
			ws := pagitest.New(p).WebSocket("/")
			_, err := ws.Receive()
			var end *engine.WebSocketEnd
			if !errors.As(err, &end) || end.Code != tt.code || end.Reason != tt.reason {
				t.Errorf("%+v %v", end, err)
			}
			if err := ws.Finish(); err != nil {
				t.Error(err)
			}
			if tt.logged != "" {
				log.WaitFor(t, url, tt.logged)
			} else if log.String() != "" {
				t.Error(log.String())
			}
		})
	}
}

// A backend that answers pings may be quiet. One that does not has gone.
func TestProxyWebSocketsArePinged(t *testing.T) {
	inBubble(t, "a backend that answers", func(t *testing.T) {
		const interval, pings = time.Second, 5
		var pinged atomic.Int32
		p := &apps.Proxy{To: []string{"http://backend"}, ProxyLimits: apps.ProxyLimits{PingInterval: interval}}
		front := pipedFront(t, p, func(l net.Listener) {
			_ = http.Serve(l, upgrading(t, func(conn *websocket.Conn, r *http.Request) { // until the listener is closed
				answer := conn.PingHandler()
				conn.SetPingHandler(func(data string) error {
					pinged.Add(1)
					return answer(data)
				})
				echoes(conn, r)
			}))
		})
		c, _, err := (&websocket.Dialer{NetDialContext: front.DialContext}).DialContext(t.Context(), "ws://front/", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		said := make(chan error, 1)
		time.AfterFunc(pings*interval+interval/2, func() { said <- c.WriteMessage(websocket.TextMessage, []byte("still there")) })
		if _, text, err := c.ReadMessage(); err != nil || string(text) != "still there" || pinged.Load() != pings {
			t.Errorf("%q %v after %d pings", text, err, pinged.Load())
		}
		if err := <-said; err != nil {
			t.Error(err)
		}
	})
	t.Run("a backend that does not", func(t *testing.T) {
		const interval = 20 * time.Millisecond
		var log testkit.Log
		done := make(chan struct{})
		url := socketBackend(t, func(*websocket.Conn, *http.Request) { <-done })
		ws := pagitest.New(&apps.Proxy{To: []string{url}, ProxyLimits: apps.ProxyLimits{PingInterval: interval}, Logger: log.Logger()}).WebSocket("/")
		_, err := ws.Receive()
		close(done)
		var end *engine.WebSocketEnd
		if !errors.As(err, &end) || end.Code != 1011 {
			t.Errorf("%+v %v", end, err)
		}
		if err := ws.Finish(); err != nil {
			t.Error(err)
		}
		log.WaitFor(t, "answer to a ping (option ping_interval)")
	})
}

func TestProxyWebSocketsThatTheClientCloses(t *testing.T) {
	for name, tt := range map[string]struct {
		end    func(*pagitest.WebSocket) error
		code   int
		reason string
	}{
		"with a code and a reason": {func(ws *pagitest.WebSocket) error { return ws.Close(4002, "bye") }, 4002, "bye"},
		"without a code":           {func(ws *pagitest.WebSocket) error { return ws.Close(1005, "") }, 1005, ""},
		"by leaving":               {func(ws *pagitest.WebSocket) error { ws.Disconnect(pagi.ReasonClientClosed); return nil }, 1006, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var log testkit.Log
			ended := make(chan error, 1)
			url := socketBackend(t, func(conn *websocket.Conn, _ *http.Request) {
				_, _, err := conn.ReadMessage()
				ended <- err
			})
			ws := pagitest.New(&apps.Proxy{To: []string{url}, Logger: log.Logger()}).WebSocket("/")
			if err := tt.end(ws); err != nil {
				t.Error(err)
			}
			err := testkit.AtOnce(t, ended)
			var end *websocket.CloseError
			if !errors.As(err, &end) || end.Code != tt.code || tt.reason != "" && end.Text != tt.reason {
				t.Errorf("the backend got %v", err)
			}
			if err := ws.Finish(); err != nil {
				t.Error(err)
			}
			if log.String() != "" {
				t.Errorf("the backend is blamed: %s", log.String())
			}
		})
	}
}

func TestProxyWebSocketsThatTheBackendRefuses(t *testing.T) {
	page := strings.Repeat("no ", 5000)
	for _, tt := range []struct {
		name    string
		backend func(t *testing.T) string
		status  int
		body    string
		header  string
	}{
		{"with a page", func(t *testing.T) string {
			return backend(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Why", "because")
				w.WriteHeader(http.StatusUnauthorized)
				fmt.Fprint(w, page)
			})
		}, 401, page, "because"},
		{"with a redirect", func(t *testing.T) string {
			return backend(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) })
		}, 302, "", ""},
		{"with a page of a length", func(t *testing.T) string {
			return rawBackend(t, says("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"))
		}, 403, "no", ""},
		{"because it knows no WebSockets", func(t *testing.T) string {
			return backend(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })
		}, 200, "hello", ""},
		{"by silence", func(t *testing.T) string { return rawBackend(t, hangs) }, 504, "Gateway Timeout\n", ""},
		{"by closing", func(t *testing.T) string { return rawBackend(t, says("")) }, 502, "Bad Gateway\n", ""},
		{"by not being there", func(t *testing.T) string { return unusedPort(t) }, 502, "Bad Gateway\n", ""},
		{"with a wrong key", func(t *testing.T) string {
			return rawBackend(t, says("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"))
		}, 502, "Bad Gateway\n", ""},
		{"with a head without end", func(t *testing.T) string {
			return rawBackend(t, func(conn net.Conn, r *bufio.Reader) {
				head(r)
				_, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n")
				for err == nil {
					_, err = io.WriteString(conn, "X: "+strings.Repeat("y", 1000)+"\r\n")
				}
			})
		}, 502, "Bad Gateway\n", ""},
		{"with a subprotocol of its own", func(t *testing.T) string {
			return backend(t, func(w http.ResponseWriter, r *http.Request) {
				conn, err := (&websocket.Upgrader{}).Upgrade(w, r, http.Header{"Sec-Websocket-Protocol": {"other"}})
				if err == nil {
					conn.Close()
				}
			})
		}, 502, "Bad Gateway\n", ""},
		{"with an extension of its own", func(t *testing.T) string {
			return rawBackend(t, func(conn net.Conn, r *bufio.Reader) {
				req, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Extensions: x-own\r\nSec-WebSocket-Accept: %s\r\n\r\n",
					acceptKey(req.Header.Get("Sec-Websocket-Key")))
				_, _ = io.Copy(io.Discard, r)
			})
		}, 502, "Bad Gateway\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &apps.Proxy{To: []string{tt.backend(t)}, Logger: quiet}
			if tt.status == http.StatusGatewayTimeout {
				p.ConnectTimeout, p.ResponseTimeout = 50*time.Millisecond, 50*time.Millisecond
			}
			ws := mounted("/live", p).WebSocket("/live/")
			res := ws.Response
			if err := ws.Finish(); err != nil || ws.Accepted || res == nil {
				t.Fatalf("%v %v %v", ws.Accepted, res, err)
			}
			if res.Status != tt.status || tt.body != "" && res.Text() != tt.body || tt.header != "" && res.Header("x-why") != tt.header {
				t.Errorf("%d %q %v", res.Status, res.Text(), res.Headers)
			}
			if tt.status == 302 && res.Header("location") != "/live/login" {
				t.Errorf("location %q", res.Header("location"))
			}
		})
	}
}

func TestProxyARefusalWithoutTheServersHelpIsForbidden(t *testing.T) {
	url := backend(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	ws := pagitest.New(&apps.Proxy{To: []string{url}}).WebSocket("/", pagitest.Edit(func(s *pagi.Scope) { s.Extensions = nil }))
	if ws.Accepted || ws.Response == nil || ws.Response.Status != 403 {
		t.Errorf("%v %+v", ws.Accepted, ws.Response)
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
}

func TestProxyWebSocketsHaveALimit(t *testing.T) {
	url := socketBackend(t, echoes)
	c := pagitest.New(&apps.Proxy{To: []string{url}, ProxyLimits: apps.ProxyLimits{MaxConns: 1}, Logger: quiet})
	first := c.WebSocket("/")
	if second := c.WebSocket("/"); second.Accepted || second.Response.Status != 503 || second.Response.Header("retry-after") == "" {
		t.Errorf("%+v", second.Response)
	}
	if err := first.Finish(); err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, "room for another one", func() bool {
		third := c.WebSocket("/")
		defer func() { _ = third.Finish() }() // its end is not what is tested
		return third.Accepted
	})
}

func TestProxyAClientThatLeavesDuringTheHandshake(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	url := rawBackend(t, func(_ net.Conn, r *bufio.Reader) {
		head(r)
		close(begun)
		_, _ = io.Copy(io.Discard, r)
		close(ended)
	})
	c := pagitest.New(&apps.Proxy{To: []string{url}, Logger: quiet})
	c.Timeout = 500 * time.Millisecond
	ws := c.WebSocket("/")
	testkit.Await(t, begun)
	testkit.AtOnce(t, ended)
	_ = ws.Finish() // reports the time limit
}

// A client that does not read makes the backend wait, and costs no memory here.
func TestProxyWebSocketsPushBack(t *testing.T) {
	sent := make(chan int, 1)
	url := socketBackend(t, func(conn *websocket.Conn, _ *http.Request) {
		n := 0
		for ; n < 10_000; n++ {
			_ = conn.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
			if conn.WriteMessage(websocket.BinaryMessage, make([]byte, 64<<10)) != nil {
				break
			}
		}
		sent <- n
	})
	pagitest.InMemory(t, "a slow reader")
	ws := pagitest.New(&apps.Proxy{To: []string{url}, Logger: quiet}).WebSocket("/", pagitest.SlowReader(0, 0))
	if n := testkit.Await(t, sent); n == 10_000 {
		t.Error("the backend could send 640 MB that the client has not read")
	}
	_ = ws.Finish() // the backend has broken off
}

// acceptKey is the answer to a Sec-WebSocket-Key (RFC 6455 section 4.2.2).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
