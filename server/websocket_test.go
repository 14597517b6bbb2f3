package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	xhttp2 "golang.org/x/net/http2"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// echoSocket sends back each message. It reports the scope and how the connection ended.
func echoSocket(scopes chan<- *pagi.Scope, ends chan<- pagi.WebSocketDisconnect) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeWebSocket {
			return pagi.Unsupported(scope)
		}
		scopes <- scope
		for {
			ev, err := receive(ctx)
			if err != nil {
				return err
			}
			switch ev := ev.(type) {
			case pagi.WebSocketConnect:
				err = send(ctx, pagi.WebSocketAccept{})
			case pagi.WebSocketReceive:
				err = send(ctx, pagi.WebSocketSend(ev))
			case pagi.WebSocketDisconnect:
				ends <- ev
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
}

// TestWebSocketByAnotherClient speaks to gorilla/websocket's client, plain and by TLS,
// with compression and without.
func TestWebSocketByAnotherClient(t *testing.T) {
	pair := testkit.Certificate(t)
	for _, secure := range []bool{false, true} {
		scopes, ends := make(chan *pagi.Scope, 9), make(chan pagi.WebSocketDisconnect, 9)
		s, url := &Server{App: echoSocket(scopes, ends)}, "ws://"
		if secure {
			s.TLSCert, s.TLSKey, url = pair.CertFile, pair.KeyFile, "wss://"
		}
		x := launch(t, s)
		for _, compressed := range []bool{false, true} {
			dialer := websocket.Dialer{EnableCompression: compressed, TLSClientConfig: &tls.Config{RootCAs: pair.Pool}}
			c, res, err := dialer.Dial(url+x.addr+"/a", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if agreed := res.Header.Get("Sec-WebSocket-Extensions") != ""; agreed != compressed {
				t.Errorf("compression agreed: %v, offered: %v", agreed, compressed)
			}
			if scope := testkit.Await(t, scopes); scope.Scheme+"://" != url || (scope.TLS() != nil) != secure {
				t.Errorf("scheme %s, TLS %v", scope.Scheme, scope.TLS())
			}
			for _, size := range []int{0, 1, 200, 60_000} {
				message := strings.Repeat("äx", size/3)
				if err := c.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
					t.Fatal(err)
				}
				if _, got, err := c.ReadMessage(); err != nil || string(got) != message {
					t.Fatalf("%d bytes, %v, want %d", len(got), err, len(message))
				}
			}
			closing := websocket.FormatCloseMessage(4000, "bye")
			if err := c.WriteControl(websocket.CloseMessage, closing, time.Now().Add(testkit.Patience)); err != nil {
				t.Fatal(err)
			}
			if end := testkit.Await(t, ends); end != (pagi.WebSocketDisconnect{Code: 4000, Reason: "bye"}) {
				t.Errorf("told %+v", end)
			}
		}
	}
}

// TestWebSocketByHTTP2 shares its connection with an ordinary request.
func TestWebSocketByHTTP2(t *testing.T) {
	for _, secure := range []bool{true, false} {
		t.Run(map[bool]string{true: "TLS", false: "h2c"}[secure], func(t *testing.T) { testWebSocketByHTTP2(t, secure) })
	}
}

func testWebSocketByHTTP2(t *testing.T, secure bool) {
	scopes, ends := make(chan *pagi.Scope, 1), make(chan pagi.WebSocketDisconnect, 1)
	socket := echoSocket(scopes, ends)
	s := &Server{H2C: !secure, App: pagi.AppFunc(
		func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
			if scope.Type == pagi.TypeHTTP {
				return reply(ctx, send, "plain")
			}
			return socket.Serve(ctx, scope, receive, send)
		})}
	url, scheme := "http://", "ws"
	var config *tls.Config
	if secure {
		pair := testkit.Certificate(t)
		s.TLSCert, s.TLSKey = pair.CertFile, pair.KeyFile
		url, scheme, config = "https://", "wss", &tls.Config{RootCAs: pair.Pool}
	}
	x := launch(t, s)
	transport := testkit.HTTP2(t, config)
	body, says := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), "CONNECT", url+x.addr+"/a", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(":protocol", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	res, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if scope := testkit.Await(t, scopes); scope.HTTPVersion != "2" || scope.Scheme != scheme || res.StatusCode != 200 {
		t.Errorf("HTTP %s, %s, %s", scope.HTTPVersion, scope.Scheme, res.Status)
	}
	if _, err := io.WriteString(says, "\x81\x82\x00\x00\x00\x00hi"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != "\x81\x02hi" {
		t.Errorf("%q, %v", got, err)
	}
	if _, text := testkit.Get(t, &http.Client{Transport: transport}, url+x.addr+"/"); text != "plain" {
		t.Errorf("%q", text)
	}
	says.Close()
	if end := testkit.Await(t, ends); end != (pagi.WebSocketDisconnect{Code: 1006, Reason: pagi.ReasonClientClosed}) {
		t.Errorf("told %+v", end)
	}
}

// TestExtendedConnectIsOffered checks that the server's first frame offers it: without that no
// client sends one (RFC 8441 section 3).
func TestExtendedConnectIsOffered(t *testing.T) {
	pair := testkit.Certificate(t)
	for name, pair := range map[string]*testkit.Pair{"TLS": pair, "h2c": nil} {
		t.Run(name, func(t *testing.T) {
			s := &Server{App: echo, H2C: pair == nil}
			if pair != nil {
				s.TLSCert, s.TLSKey = pair.CertFile, pair.KeyFile
			}
			frame, err := h2(t, launch(t, s), pair).ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			settings, is := frame.(*xhttp2.SettingsFrame)
			if !is {
				t.Fatalf("got %v", frame)
			}
			if v, ok := settings.Value(xhttp2.SettingEnableConnectProtocol); !ok || v != 1 {
				t.Errorf("got %v", settings)
			}
		})
	}
}

// TestStopTellsWebSockets checks that a stop closes WebSockets with 1001, waits for no client
// longer than needed, and logs the request.
func TestStopTellsWebSockets(t *testing.T) {
	scopes, ends := make(chan *pagi.Scope, 2), make(chan pagi.WebSocketDisconnect, 2)
	x := launch(t, &Server{App: echoSocket(scopes, ends)})
	var clients []*websocket.Conn
	for range 2 {
		c, _, err := websocket.DefaultDialer.Dial("ws://"+x.addr+"/live", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		testkit.Await(t, scopes)
		clients = append(clients, c)
	}
	begin := time.Now()
	stopped := make(chan error, 1)
	go func() { stopped <- x.stop() }()
	for _, c := range clients {
		_, _, err := c.ReadMessage()
		var closed *websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != 1001 {
			t.Errorf("got %v, want Close with 1001", err)
		}
		if end := testkit.Await(t, ends); end != (pagi.WebSocketDisconnect{Code: 1006, Reason: pagi.ReasonServerShutdown}) {
			t.Errorf("told %+v", end)
		}
	}
	if err := testkit.Await(t, stopped); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	x.access.WaitFor(t, `"GET /live HTTP/1.1" 101 `)
}

// TestReloadTellsWebSockets checks that a reload closes the WebSockets of the old application with
// 1001. The new application gets the new ones.
func TestReloadTellsWebSockets(t *testing.T) {
	scopes, ends := make(chan *pagi.Scope, 2), make(chan pagi.WebSocketDisconnect, 2)
	newScopes, newEnds := make(chan *pagi.Scope, 2), make(chan pagi.WebSocketDisconnect, 2)
	s := &Server{App: echoSocket(scopes, ends)}
	x := launch(t, s)
	c, _, err := websocket.DefaultDialer.Dial("ws://"+x.addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	testkit.Await(t, scopes)
	if err := s.Reload(t.Context(), &Server{App: echoSocket(newScopes, newEnds), Logger: x.log.Logger()}); err != nil {
		t.Fatal(err)
	}
	_, _, err = c.ReadMessage()
	var closed *websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != 1001 {
		t.Errorf("got %v, want Close with 1001", err)
	}
	if end := testkit.Await(t, ends); end.Reason != pagi.ReasonServerShutdown {
		t.Errorf("told %+v", end)
	}
	c2, _, err := websocket.DefaultDialer.Dial("ws://"+x.addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c2.Close()
	testkit.Await(t, newScopes)
}

// TestWebSocketOptions checks that the options reach package ws.
func TestWebSocketOptions(t *testing.T) {
	scopes, ends := make(chan *pagi.Scope, 9), make(chan pagi.WebSocketDisconnect, 9)
	x := launch(t, &Server{
		App: echoSocket(scopes, ends), Limits: Limits{MaxWSFrameSize: 100, MaxWSMessageSize: 150, Limits: engine.Limits{MaxReceiveQueue: 5}}, Timeouts: Timeouts{WSIdleTimeout: 300 * time.Millisecond}, WSCompression: WSCompressionOff,
	})
	dial := func() *websocket.Conn {
		dialer := websocket.Dialer{EnableCompression: true, WriteBufferSize: 100}
		c, res, err := dialer.Dial("ws://"+x.addr+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if res.Header.Get("Sec-WebSocket-Extensions") != "" {
			t.Error("compression was agreed to")
		}
		return c
	}
	for name, c := range map[string]struct {
		send []byte
		code int
	}{
		"a large message": {make([]byte, 200), 1009}, // in frames of 90 bytes or so
		"nothing":         {nil, 1001},
	} {
		conn := dial()
		if c.send != nil {
			if err := conn.WriteMessage(websocket.BinaryMessage, c.send); err != nil {
				t.Fatal(err)
			}
		}
		_, _, err := conn.ReadMessage()
		var closed *websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != c.code {
			t.Errorf("%s: got %v, want Close with %d", name, err, c.code)
		}
	}
}

// TestHTTPApplicationDeclinesWebSockets checks that it does so with 403, and that no failure is
// logged.
func TestHTTPApplicationDeclinesWebSockets(t *testing.T) {
	x := launch(t, &Server{App: echo})
	_, res, err := websocket.DefaultDialer.Dial("ws://"+x.addr+"/", nil)
	if !errors.Is(err, websocket.ErrBadHandshake) || res.StatusCode != 403 {
		t.Errorf("%v, %v", res, err)
	}
	if strings.Contains(x.log.String(), "ERROR") {
		t.Error(x.log)
	}
}
