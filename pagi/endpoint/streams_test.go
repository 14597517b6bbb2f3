package endpoint_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/response"
	"github.com/pagi-go/pagi-bridge/pagi/sse"
	"github.com/pagi-go/pagi-bridge/pagi/websocket"
)

type message struct {
	Text string `json:"text"`
	N    int    `json:"n"`
}

func TestWebSocketGetsMessagesOfItsType(t *testing.T) {
	text := endpoint.WebSocket[string]{Receive: func(conn *websocket.Conn, m string) error { return conn.SendText("text " + m) }}
	binary := endpoint.WebSocket[[]byte]{Receive: func(conn *websocket.Conn, m []byte) error { return conn.SendText(fmt.Sprint("bytes ", m)) }}
	values := endpoint.WebSocket[message]{Receive: func(conn *websocket.Conn, m message) error { return conn.SendText(fmt.Sprint("json ", m)) }}
	anything := endpoint.WebSocket[any]{Receive: func(conn *websocket.Conn, m any) error { return conn.SendText(fmt.Sprint("any ", m)) }}
	for _, c := range []struct {
		name, data string
		isText     bool
		app        pagi.App
		want       string // "" for a close
		code       int
	}{
		{"text", "a", true, text, "text a", 0},
		{"text for an endpoint of bytes", "a", true, binary, "", 1003},
		{"bytes", "\x01\x02", false, binary, "bytes [1 2]", 0},
		{"bytes for an endpoint of text", "\x01", false, text, "", 1003},
		{"JSON", `{"text":"a","n":2}`, true, values, "json {a 2}", 0},
		{"JSON as bytes", `{"n":3}`, false, values, "json { 3}", 0},
		{"JSON of any kind", `[1]`, true, anything, "any [1]", 0},
		{"what is no JSON", "{", true, values, "", 1007},
	} {
		ws := pagitest.New(c.app).WebSocket("/")
		send := func() error { return ws.SendBytes([]byte(c.data)) }
		if c.isText {
			send = func() error { return ws.SendText(c.data) }
		}
		if err := send(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got, err := ws.ReceiveText(); c.want != "" && (got != c.want || err != nil) {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
		err := ws.Finish()
		var wrong *websocket.MessageError
		if c.want == "" && (!errors.As(err, &wrong) || wrong.Code != c.code) || c.want != "" && err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestTheLifeOfAWebSocketEndpoint(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name    string
		connect func(conn *websocket.Conn) error
		receive func(conn *websocket.Conn, text string) error
		client  func(ws *pagitest.WebSocket) error
		want    string // what the hooks have seen
		err     error
	}{
		{"the client closes", nil, nil, func(ws *pagitest.WebSocket) error { return ws.Close(1000, "bye") }, "connect, got hello, end 1000 bye", nil},
		{"the client is cut off", nil, nil, func(ws *pagitest.WebSocket) error { ws.Disconnect(pagi.ReasonClientClosed); return nil }, "connect, got hello, end 1006 client_closed", nil},
		{"Receive fails", nil, func(*websocket.Conn, string) error { return broken }, nil, "connect, got hello, end 1011 ", broken},
		{"Receive closes", nil, func(conn *websocket.Conn, _ string) error { return conn.Close(4000, "enough") }, nil, "connect, got hello, end 4000 enough", nil},
		{"Connect accepts and greets", func(conn *websocket.Conn) error {
			return errors.Join(conn.Accept(websocket.Accept{Subprotocols: []string{"other"}}), conn.SendText("welcome"))
		}, nil, func(ws *pagitest.WebSocket) error { _, err := ws.ReceiveText(); return err }, "connect, got hello, end 1006 client_closed", nil},
		{"Connect denies", func(conn *websocket.Conn) error { return conn.Deny(response.Text("go away").Status(403)) }, nil, nil, "connect, end 0 ", nil},
		{"Connect closes", func(conn *websocket.Conn) error { return conn.Close(4001, "no") }, nil, nil, "connect, end 4001 no", nil},
		{"Connect fails", func(*websocket.Conn) error { return broken }, nil, nil, "connect", broken},
	} {
		var seen []string
		app := endpoint.WebSocket[string]{
			Accept: websocket.Accept{Subprotocols: []string{"chat"}},
			Connect: func(conn *websocket.Conn) error {
				seen = append(seen, "connect")
				if c.connect != nil {
					return c.connect(conn)
				}
				return nil
			},
			Receive: func(conn *websocket.Conn, text string) error {
				seen = append(seen, "got "+text)
				if c.receive != nil {
					return c.receive(conn, text)
				}
				return conn.SendText("echo")
			},
			Disconnect: func(_ *websocket.Conn, end *websocket.CloseError) {
				seen = append(seen, fmt.Sprintf("end %d %s", end.Code, end.Reason))
			},
		}
		ws := pagitest.New(app).WebSocket("/", pagitest.Subprotocols("chat", "other"))
		if ws.Accepted {
			if want := map[bool]string{true: "other", false: "chat"}[c.connect != nil]; ws.Subprotocol != want {
				t.Errorf("%s: subprotocol %q", c.name, ws.Subprotocol)
			}
			if err := ws.SendText("hello"); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			if _, err := ws.ReceiveText(); err != nil && c.receive == nil {
				t.Errorf("%s: %v", c.name, err)
			}
			if c.client != nil {
				if err := c.client(ws); err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
			}
		}
		err := ws.Finish()
		if got := strings.Join(seen, ", "); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %q, want %q, %v", c.name, got, c.want, err)
		}
	}
}

func TestAWebSocketEndpointWithoutHooksDropsMessages(t *testing.T) {
	ws := pagitest.New(endpoint.WebSocket[string]{KeepAlive: time.Millisecond}).WebSocket("/")
	if err := errors.Join(ws.SendText("a"), ws.SendBytes([]byte("b"))); err != nil || !ws.Accepted {
		t.Error(err)
	}
	testkit.Eventually(t, "a ping", func() bool { return ws.Pings() > 0 })
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
}

func TestTheLifeOfAnEventStreamEndpoint(t *testing.T) {
	head := func(stream *pagitest.EventStream) { stream.Exchange.Next() }
	event := func(stream *pagitest.EventStream) { stream.Next() }
	broken := errors.New("broken")
	for _, c := range []struct {
		name    string
		connect func(stream *sse.Stream) error
		leave   func(stream *pagitest.EventStream) // waits until the client may leave; nil: it stays
		want    string                             // the status, the type and the body
		ends    int                                // how often Disconnect is called
		err     error
	}{
		{"the client leaves", func(s *sse.Stream) error { return s.SendData("hello") }, event, "200 text/event-stream data: hello\n\n", 1, nil},
		{"the stream is closed", func(s *sse.Stream) error { return errors.Join(s.SendData("bye"), s.Close("enough")) }, nil, "200 text/event-stream data: bye\n\n", 1, nil},
		{"Connect begins the stream", func(s *sse.Stream) error { return s.Start(202, nil) }, head, "202 text/event-stream ", 1, nil},
		{"Connect declines", func(s *sse.Stream) error { return s.Decline(response.Text("no").Status(403)) }, nil, "403 text/plain; charset=utf-8 no", 1, nil},
		{"Connect fails", func(*sse.Stream) error { return broken }, nil, "", 0, broken},
		{"there is no Connect", nil, head, "200 text/event-stream ", 1, nil},
	} {
		ends := 0
		app := endpoint.SSE{Connect: c.connect, Disconnect: func(*sse.Stream, string) { ends++ }}
		stream := pagitest.New(app).Events("/")
		if c.leave != nil {
			c.leave(stream)
			stream.Disconnect(pagi.ReasonClientClosed)
		}
		res := stream.Finish()
		got := fmt.Sprint(res.Status, " ", res.Header("content-type"), " ", res.Text())
		if !strings.HasPrefix(got, c.want) || ends != c.ends || !errors.Is(res.Err, c.err) {
			t.Errorf("%s: %q, %d ends, %v", c.name, got, ends, res.Err)
		}
	}
}

func TestAnEventStreamEndpointIsKeptAlive(t *testing.T) {
	var sent []pagi.Event
	send := func(_ context.Context, ev pagi.Event) error { sent = append(sent, ev); return nil }
	receive := func(context.Context) (pagi.Event, error) { return pagi.SSEDisconnect{}, nil }
	err := endpoint.SSE{KeepAlive: time.Minute}.Serve(t.Context(), &pagi.Scope{Type: pagi.TypeSSE}, receive, send)
	if want := []pagi.Event{pagi.SSEStart{}, pagi.SSEKeepalive{Interval: time.Minute}}; err != nil || !cmp.Equal(sent, want) {
		t.Errorf("%v, %v", sent, err)
	}
}

func TestStreamEndpointsDeclineOtherScopes(t *testing.T) {
	for _, kind := range []string{pagi.TypeHTTP, pagi.TypeLifespan} {
		for _, app := range []pagi.App{endpoint.SSE{}, endpoint.WebSocket[string]{}} {
			if err := app.Serve(t.Context(), &pagi.Scope{Type: kind}, nil, nil); !errors.Is(err, pagi.ErrUnsupported) {
				t.Errorf("%T in a scope of type %s: %v", app, kind, err)
			}
		}
	}
	for _, app := range []pagi.App{endpoint.SSE{KeepAlive: -1}, endpoint.WebSocket[string]{KeepAlive: -1}} {
		if err := pagi.Check(app); err == nil || !strings.Contains(err.Error(), "keep_alive: must not be negative") {
			t.Errorf("%T: %v", app, err)
		}
	}
	if err := errors.Join(pagi.Check(endpoint.SSE{}), pagi.Check(endpoint.WebSocket[int]{})); err != nil {
		t.Error(err)
	}
}

func ExampleWebSocket() {
	type move struct {
		From string `json:"from"`
		To   string `json:"to"`
	}
	app := endpoint.WebSocket[move]{
		Receive: func(conn *websocket.Conn, m move) error {
			return conn.SendJSON(map[string]string{"seen": m.From + m.To})
		},
	}
	ws := pagitest.New(app).WebSocket("/game")
	_ = ws.SendText(`{"from": "e2", "to": "e4"}`)
	fmt.Println(ws.ReceiveText())
	_ = ws.Finish()
	// Output: {"seen":"e2e4"} <nil>
}

func ExampleSSE() {
	app := endpoint.SSE{
		Connect: func(stream *sse.Stream) error {
			// A real one adds the stream to a list, and whoever has news sends them to all of the list.
			return errors.Join(stream.SendData("welcome"), stream.Close("shop closed"))
		},
		Disconnect: func(_ *sse.Stream, reason string) { fmt.Println(reason) },
	}
	fmt.Print(pagitest.New(app).Events("/news").Finish().Text())
	// Output:
	// shop closed
	// data: welcome
}
