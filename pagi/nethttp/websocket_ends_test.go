package nethttp_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// dial opens a WebSocket to a handler that hijacks, below App and Handler.
func dial(t *testing.T, h http.HandlerFunc) *websocket.Conn {
	t.Helper()
	srv := httptest.NewServer(nethttp.Handler(nethttp.App(h)))
	t.Cleanup(srv.Close)
	c, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(srv.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(testkit.Patience))
	return c
}

// upgrade upgrades with gorilla/websocket; nil where it fails.
func upgrade(t *testing.T, w http.ResponseWriter, r *http.Request) *websocket.Conn {
	upgrader := websocket.Upgrader{}
	c, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		t.Error(err)
	}
	return c
}

// A handler may ping and then write before it reads: the pong waits in the connection.
func TestAHandlerThatPings(t *testing.T) {
	c := dial(t, func(w http.ResponseWriter, r *http.Request) {
		c := upgrade(t, w, r)
		defer c.Close()
		if err := errors.Join(c.WriteControl(websocket.PingMessage, []byte("p"), time.Now().Add(testkit.Patience)),
			c.WriteMessage(websocket.TextMessage, []byte("behind the ping"))); err != nil {
			t.Error(err)
		}
		if _, data, err := c.ReadMessage(); string(data) != "hello" || err != nil {
			t.Errorf("the handler read %q, %v", data, err)
		}
	})
	if _, data, err := c.ReadMessage(); string(data) != "behind the ping" || err != nil {
		t.Errorf("read %q, %v", data, err)
	}
	if err := c.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		t.Error(err)
	}
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, 1000) {
		t.Errorf("the end is %v", err)
	}
}

// A handler that only writes learns that the client has left, though a message for it waits.
func TestAHandlerThatOnlyWrites(t *testing.T) {
	ended := make(chan error, 1)
	c := dial(t, func(w http.ResponseWriter, r *http.Request) {
		c := upgrade(t, w, r)
		defer c.Close()
		for {
			if err := c.WriteMessage(websocket.TextMessage, []byte("tick")); err != nil {
				ended <- err
				return
			}
		}
	})
	if err := c.WriteMessage(websocket.TextMessage, []byte("never read")); err != nil {
		t.Error(err)
	}
	if _, _, err := c.ReadMessage(); err != nil {
		t.Error(err)
	}
	_ = c.Close()
	if err := testkit.Await(t, ended); err == nil {
		t.Error("no error")
	}
}

// What a handler answers to messages before a Close frame still reaches the client.
func TestAnswersOfAHandlerBeforeTheEnd(t *testing.T) {
	c := dial(t, func(w http.ResponseWriter, r *http.Request) {
		c := upgrade(t, w, r)
		defer c.Close()
		for {
			kind, data, err := c.ReadMessage()
			if err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond) // the Close frame has come by now
			if c.WriteMessage(kind, data) != nil {
				return
			}
		}
	})
	for _, m := range []string{"one", "two"} {
		if err := c.WriteMessage(websocket.TextMessage, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4000, "")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"one", "two"} {
		if _, data, err := c.ReadMessage(); string(data) != want || err != nil {
			t.Errorf("read %q, %v, want %q", data, err, want)
		}
	}
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, 4000) {
		t.Errorf("the end is %v", err)
	}
}

// A handler that writes without end still gets the messages of a client that does not read.
func TestAHandlerThatFloodsGetsMessages(t *testing.T) {
	const messages = 4
	got, stalled := make(chan string, messages), make(chan struct{})
	c := dial(t, func(w http.ResponseWriter, r *http.Request) {
		c := upgrade(t, w, r)
		defer c.Close()
		flooded := make(chan struct{})
		var written atomic.Int64
		go func() {
			defer close(flooded)
			for c.WriteMessage(websocket.BinaryMessage, make([]byte, 64<<10)) == nil {
				written.Add(1)
			}
		}()
		for last := int64(-1); last != written.Load(); { // the client takes nothing more
			last = written.Load()
			time.Sleep(100 * time.Millisecond)
		}
		close(stalled)
		for range messages {
			_, data, err := c.ReadMessage()
			if err != nil {
				t.Error(err)
			}
			got <- string(data)
		}
		_ = c.NetConn().Close()
		<-flooded
	})
	testkit.Await(t, stalled)
	for _, want := range []string{"one", "two", "three", "stop"} {
		if err := c.WriteMessage(websocket.TextMessage, []byte(want)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"one", "two", "three", "stop"} {
		if m := testkit.Await(t, got); m != want {
			t.Errorf("the handler got %q, want %q", m, want)
		}
	}
}

// A client that leaves during the handshake ends it, whatever the handler waits for.
func TestAClientThatLeavesDuringTheHandshake(t *testing.T) {
	for name, wait := range map[string]func(net.Conn, *http.Request) error{
		"the handler reads the connection":  func(c net.Conn, _ *http.Request) error { _, err := c.Read(make([]byte, 1)); return err },
		"the handler waits for its request": func(_ net.Conn, r *http.Request) error { <-r.Context().Done(); return r.Context().Err() },
	} {
		t.Run(name, func(t *testing.T) {
			taken, ended := make(chan struct{}), make(chan error, 1)
			srv := httptest.NewServer(nethttp.Handler(nethttp.App(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
				}
				defer c.Close()
				close(taken)
				ended <- wait(c, r)
			}))))
			defer srv.Close()
			c := testkit.Dial(t, srv.Listener.Addr().String())
			c.Say("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
			testkit.Await(t, taken)
			_ = c.Close()
			if err := testkit.Await(t, ended); err == nil {
				t.Error("no error")
			}
		})
	}
}

// A handshake that fails here ends the context of the handler's request.
func TestAHandlerThatAgreesToWhatWasNotOffered(t *testing.T) {
	ws := pagitest.New(nethttp.App(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		upgrader := websocket.Upgrader{}
		if _, err := upgrader.Upgrade(w, r, http.Header{"Sec-WebSocket-Protocol": {"never-offered"}}); err != nil {
			t.Error(err)
		}
		<-r.Context().Done()
	}))).WebSocket("/")
	if err := ws.Finish(); err == nil || ws.Accepted {
		t.Errorf("accepted %v, error %v", ws.Accepted, err)
	}
}

// A handler that ends its goroutine fails.
func TestAHandlerThatExits(t *testing.T) {
	ws := pagitest.New(nethttp.App(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { runtime.Goexit() }))).WebSocket("/")
	if err := ws.Finish(); err == nil || ws.Accepted {
		t.Errorf("accepted %v, error %v", ws.Accepted, err)
	}
}

// The connection that a handler gets has the client's address, room for what is not read yet,
// and deadlines.
func TestAHijackedConnection(t *testing.T) {
	done := make(chan struct{})
	dial(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		c := upgrade(t, w, r)
		defer c.Close()
		if got := c.RemoteAddr().String(); got != r.RemoteAddr || c.RemoteAddr().Network() != "tcp" {
			t.Errorf("remote address %s, want %s", got, r.RemoteAddr)
		}
		raw := c.NetConn()
		if err := raw.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
			t.Error(err)
		}
		if _, err := raw.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read with %v", err)
		}
		if err := raw.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			t.Error(err)
		}
		if _, err := raw.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read with %v", err)
		}
		if err := raw.Close(); err != nil {
			t.Error(err)
		}
		if _, err := raw.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("read of a closed one with %v", err)
		}
		if _, err := raw.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("written to a closed one with %v", err)
		}
	})
	testkit.Await(t, done)
}
