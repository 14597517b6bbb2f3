package websocket_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/websocket"
)

// app makes an application of a function that gets a Conn.
func app(f func(*websocket.Conn) error) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		return f(websocket.New(ctx, scope, receive, send))
	})
}

// accepted makes an application of a function that gets an accepted Conn.
func accepted(f func(*websocket.Conn) error) pagi.App {
	return app(func(conn *websocket.Conn) error {
		if err := conn.Accept(websocket.Accept{}); err != nil {
			return err
		}
		return f(conn)
	})
}

func TestAcceptChoosesASubprotocol(t *testing.T) {
	for name, c := range map[string]struct {
		offered, speaks []string
		want            string
	}{
		"the application's first": {[]string{"a", "b"}, []string{"b", "a"}, "b"},
		"the only common one":     {[]string{"a", "b"}, []string{"x", "b"}, "b"},
		"none in common":          {[]string{"a"}, []string{"x"}, ""},
		"none offered":            {nil, []string{"x"}, ""},
	} {
		ws := pagitest.New(app(func(conn *websocket.Conn) error {
			if err := conn.Accept(websocket.Accept{Subprotocols: c.speaks, Headers: pagi.NewHeaders("x-room", "1")}); err != nil {
				return err
			}
			return conn.Wait()
		})).WebSocket("/", pagitest.Subprotocols(c.offered...))
		if !ws.Accepted || ws.Subprotocol != c.want || ws.Headers.Get("x-room") != "1" {
			t.Errorf("%s: %v, %q, %v", name, ws.Accepted, ws.Subprotocol, ws.Headers)
		}
		if err := ws.Finish(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMessagesOfEveryKind(t *testing.T) {
	ws := pagitest.New(accepted(func(conn *websocket.Conn) error {
		text, err := conn.ReceiveText()
		if err != nil {
			return err
		}
		b, err := conn.ReceiveBytes()
		if err != nil {
			return err
		}
		var v struct{ N int }
		if err := conn.ReceiveJSON(&v); err != nil {
			return err
		}
		return errors.Join(conn.SendText(text), conn.SendBytes(b), conn.SendJSON(v), conn.Close(0, "bye"))
	})).WebSocket("/")
	if err := errors.Join(ws.SendText("é"), ws.SendBytes([]byte{0, 1}), ws.SendJSON(map[string]int{"N": 7})); err != nil {
		t.Fatal(err)
	}
	text, err := ws.ReceiveText()
	if text != "é" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	b, err := ws.ReceiveBytes()
	if !slices.Equal(b, []byte{0, 1}) || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if text, err := ws.ReceiveText(); text != `{"N":7}` || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	var end *engine.WebSocketEnd
	if _, err := ws.Receive(); !errors.As(err, &end) || end.Code != 1000 || end.Reason != "bye" {
		t.Errorf("%v", err)
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
}

// The wrong kind of message is an error that leaves the connection open; a loop closes it.
func TestMessagesOfTheWrongKind(t *testing.T) {
	for name, c := range map[string]struct {
		receive, loop func(*websocket.Conn) error
		send          func(*pagitest.WebSocket) error
		code          int
	}{
		"binary instead of text": {
			func(c *websocket.Conn) error { _, err := c.ReceiveText(); return err },
			func(c *websocket.Conn) error { return c.EachText(func(string) error { return nil }) },
			func(ws *pagitest.WebSocket) error { return ws.SendBytes([]byte("x")) }, 1003,
		},
		"text instead of binary": {
			func(c *websocket.Conn) error { _, err := c.ReceiveBytes(); return err },
			func(c *websocket.Conn) error { return c.EachBytes(func([]byte) error { return nil }) },
			func(ws *pagitest.WebSocket) error { return ws.SendText("x") }, 1003,
		},
		"no JSON": {
			func(c *websocket.Conn) error { var v any; return c.ReceiveJSON(&v) },
			func(c *websocket.Conn) error { return websocket.EachJSON(c, func(any) error { return nil }) },
			func(ws *pagitest.WebSocket) error { return ws.SendText("{") }, 1007,
		},
		"JSON of another shape": {
			func(c *websocket.Conn) error { var v struct{ N int }; return c.ReceiveJSON(&v) },
			func(c *websocket.Conn) error {
				return websocket.EachJSON(c, func(struct{ N int }) error { return nil })
			},
			func(ws *pagitest.WebSocket) error { return ws.SendText(`{"N":"x"}`) }, 1007,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var first, second error
			ws := pagitest.New(accepted(func(conn *websocket.Conn) error {
				first = c.receive(conn)
				if err := conn.SendText("still open"); err != nil {
					return err
				}
				second = c.loop(conn)
				return nil
			})).WebSocket("/")
			if err := c.send(ws); err != nil {
				t.Fatal(err)
			}
			if text, err := ws.ReceiveText(); text != "still open" || err != nil {
				t.Errorf("%q, %v", text, err)
			}
			if err := c.send(ws); err != nil {
				t.Fatal(err)
			}
			var end *engine.WebSocketEnd
			if _, err := ws.Receive(); !errors.As(err, &end) || end.Code != c.code {
				t.Errorf("the client: %v", err)
			}
			if err := ws.Finish(); err != nil {
				t.Error(err)
			}
			for _, err := range []error{first, second} {
				var wrong *websocket.MessageError
				if !errors.As(err, &wrong) || wrong.Code != c.code {
					t.Errorf("the application: %v", err)
				}
			}
		})
	}
}

func TestCallsInTheWrongOrder(t *testing.T) {
	ws := pagitest.New(app(func(conn *websocket.Conn) error {
		if err := conn.SendText("x"); !errors.Is(err, websocket.ErrNotAccepted) {
			t.Errorf("send before Accept: %v", err)
		}
		if _, err := conn.Receive(); !errors.Is(err, websocket.ErrNotAccepted) {
			t.Errorf("receive before Accept: %v", err)
		}
		if conn.TrySendText("x") || conn.IsWritable() {
			t.Error("writable before Accept")
		}
		if err := conn.Accept(websocket.Accept{}); err != nil {
			return err
		}
		if err := conn.Accept(websocket.Accept{}); !errors.Is(err, websocket.ErrAccepted) {
			t.Errorf("a second Accept: %v", err)
		}
		if err := conn.Deny(denial{}); !errors.Is(err, websocket.ErrAccepted) {
			t.Errorf("Deny after Accept: %v", err)
		}
		if !conn.IsWritable() || conn.Err() != nil {
			t.Error("not writable")
		}
		if err := errors.Join(conn.Close(4000, "done"), conn.Close(4001, "again")); err != nil {
			return err
		}
		var end *websocket.CloseError
		for name, err := range map[string]error{"SendText": conn.SendText("x"), "SendBytes": conn.SendBytes(nil), "SendJSON": conn.SendJSON(1), "KeepAlive": conn.KeepAlive(time.Second, 0), "Accept": conn.Accept(websocket.Accept{}), "Deny": conn.Deny(denial{}), "Err": conn.Err()} {
			if !errors.As(err, &end) || end.Code != 4000 || end.Reason != "done" {
				t.Errorf("%s after Close: %v", name, err)
			}
		}
		if _, err := conn.Receive(); !errors.As(err, &end) {
			t.Errorf("Receive after Close: %v", err)
		}
		if conn.TrySendText("x") || conn.TrySendBytes(nil) || conn.TrySendJSON(1) || conn.IsWritable() {
			t.Error("writable after Close")
		}
		if err := conn.SendJSON(func() {}); err == nil {
			t.Error("a function is no JSON")
		}
		return nil
	})).WebSocket("/")
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
}

// denial is a Responder.
type denial struct{}

func (denial) Send(ctx context.Context, scope *pagi.Scope, send pagi.Send) error {
	if !scope.HasExtension(pagi.ExtDenialResponse) {
		return send(ctx, pagi.WebSocketClose{})
	}
	if err := send(ctx, pagi.WebSocketHTTPResponseStart{Status: 401}); err != nil {
		return err
	}
	return send(ctx, pagi.WebSocketHTTPResponseBody{Body: []byte("who are you?")})
}

func TestDeny(t *testing.T) {
	for name, c := range map[string]struct {
		extensions map[string]any
		status     int
		body       string
	}{
		"with a response": {map[string]any{pagi.ExtDenialResponse: struct{}{}}, 401, "who are you?"},
		"without":         {map[string]any{}, 403, ""},
	} {
		client := pagitest.New(app(func(conn *websocket.Conn) error {
			closed := 0
			conn.OnClose(func(*websocket.CloseError) { closed++; _ = conn.SendText("late"); _ = conn.Close(0, "") })
			if conn.CanDeny() != (c.status == 401) {
				t.Errorf("%s: CanDeny", name)
			}
			err := conn.Deny(denial{})
			if closed != 1 {
				t.Errorf("%s: closed %d times", name, closed)
			}
			return err
		}))
		client.Extensions = c.extensions
		ws := client.WebSocket("/")
		if ws.Accepted || ws.Response.Status != c.status || !strings.Contains(ws.Response.Text(), c.body) {
			t.Errorf("%s: %+v", name, ws.Response)
		}
		if err := ws.Finish(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCloseBeforeAcceptRefuses(t *testing.T) {
	ws := pagitest.New(app(func(conn *websocket.Conn) error { return conn.Close(0, "") })).WebSocket("/")
	if ws.Accepted || ws.Response.Status != 403 {
		t.Errorf("%+v", ws)
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
}

// sendAndSeeTheEnd sends a message, and waits until the application has closed the connection.
func sendAndSeeTheEnd(ws *pagitest.WebSocket) error {
	err := ws.SendText("x")
	for err == nil {
		if _, end := ws.Receive(); end != nil {
			break
		}
	}
	return err
}

// The functions given to OnClose run once, in their order, before an error is returned, however the
// connection ends.
func TestOnCloseRunsOnce(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		run    func(conn *websocket.Conn) error
		client func(ws *pagitest.WebSocket) error
		end    websocket.CloseError
		err    error
	}{
		"the client closes": {
			func(conn *websocket.Conn) error { return conn.Wait() },
			func(ws *pagitest.WebSocket) error { return ws.Close(4001, "bye") },
			websocket.CloseError{Code: 4001, Reason: "bye"}, nil,
		},
		"the client drops": {
			func(conn *websocket.Conn) error { return conn.Wait() },
			func(ws *pagitest.WebSocket) error { ws.Disconnect(pagi.ReasonClientClosed); return nil },
			websocket.CloseError{Code: 1006, Reason: pagi.ReasonClientClosed}, nil,
		},
		"the application closes": {
			func(conn *websocket.Conn) error { return errors.Join(conn.Close(4002, "x"), conn.Wait()) },
			func(*pagitest.WebSocket) error { return nil },
			websocket.CloseError{Code: 4002, Reason: "x"}, nil,
		},
		"the application closes in a loop": {
			func(conn *websocket.Conn) error {
				return conn.EachText(func(string) error { return conn.Close(4002, "x") })
			},
			sendAndSeeTheEnd,
			websocket.CloseError{Code: 4002, Reason: "x"}, nil,
		},
		"a loop fails": {
			func(conn *websocket.Conn) error { return conn.EachText(func(string) error { return broken }) },
			sendAndSeeTheEnd,
			websocket.CloseError{Code: 1011}, broken,
		},
		"a loop panics": {
			func(conn *websocket.Conn) (err error) {
				defer func() { err = recover().(error) }()
				return conn.EachText(func(string) error { panic(broken) })
			},
			sendAndSeeTheEnd,
			websocket.CloseError{Code: 1011}, broken,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var calls []string
			var end *websocket.CloseError
			var err error
			var after []string
			ws := pagitest.New(accepted(func(conn *websocket.Conn) error {
				for _, name := range []string{"first", "second"} {
					conn.OnClose(func(e *websocket.CloseError) { calls, end = append(calls, name), e })
				}
				err = c.run(conn)
				after = slices.Clone(calls)
				conn.OnClose(func(*websocket.CloseError) { calls = append(calls, "late") })
				_ = conn.Close(0, "")
				return nil
			})).WebSocket("/")
			if err := c.client(ws); err != nil {
				t.Fatal(err)
			}
			if err := ws.Finish(); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff([]string{"first", "second"}, after); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{"first", "second", "late"}, calls); diff != "" {
				t.Error(diff)
			}
			if end == nil || *end != c.end || !errors.Is(err, c.err) {
				t.Errorf("%v, %v", end, err)
			}
		})
	}
}

func TestAPanicOfOnCloseIsTold(t *testing.T) {
	broken := errors.New("broken")
	var err error
	second := false
	ws := pagitest.New(accepted(func(conn *websocket.Conn) error {
		conn.OnClose(func(*websocket.CloseError) { panic(broken) })
		conn.OnClose(func(*websocket.CloseError) { second = true })
		err = conn.Wait()
		return nil
	})).WebSocket("/")
	ws.Disconnect(pagi.ReasonClientClosed)
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
	var panicked *pagi.PanicError
	if !errors.As(err, &panicked) || !errors.Is(err, broken) || !second {
		t.Errorf("%v, %v", err, second)
	}
}

func TestStopLeavesTheConnectionOpen(t *testing.T) {
	ws := pagitest.New(accepted(func(conn *websocket.Conn) error {
		if err := conn.EachText(func(string) error { return websocket.Stop }); err != nil {
			return err
		}
		return conn.SendText("still here")
	})).WebSocket("/")
	if err := ws.SendText("x"); err != nil {
		t.Fatal(err)
	}
	if text, err := ws.ReceiveText(); text != "still here" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
}

// Messages of many goroutines arrive whole, and Close ends them all.
func TestSendsOfManyGoroutines(t *testing.T) {
	const senders, each = 8, 50
	ws := pagitest.New(accepted(func(conn *websocket.Conn) error {
		var wg sync.WaitGroup
		for range senders {
			wg.Go(func() {
				for range each {
					if err := conn.SendText("x"); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		for range senders {
			wg.Go(func() { _ = conn.Close(0, "") })
		}
		wg.Wait()
		return conn.Wait()
	})).WebSocket("/")
	got := 0
	for {
		if _, err := ws.ReceiveText(); err != nil {
			break
		}
		got++
	}
	if err := ws.Finish(); err != nil || got != senders*each {
		t.Errorf("%d messages, %v", got, err)
	}
}

// transport is one that a test fills.
type transport struct{ amount int }

func (t *transport) BufferedAmount() int { return t.amount }
func (*transport) HighWaterMark() int    { return 100 }
func (*transport) LowWaterMark() int     { return 10 }
func (*transport) OnHighWater(func())    {}
func (*transport) OnDrain(func())        {}

// handmade returns an accepted Conn whose events go to send.
func handmade(t *testing.T, scope *pagi.Scope, send pagi.Send) *websocket.Conn {
	t.Helper()
	scope.Type = pagi.TypeWebSocket
	receive := func(context.Context) (pagi.Event, error) { return pagi.WebSocketConnect{}, nil }
	conn := websocket.New(t.Context(), scope, receive, send)
	if err := conn.Accept(websocket.Accept{}); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestTrySendDropsWhenTheClientIsBehind(t *testing.T) {
	client := &transport{amount: 100}
	var sent []pagi.Event
	conn := handmade(t, &pagi.Scope{Transport: client}, func(_ context.Context, ev pagi.Event) error {
		sent = append(sent, ev)
		return pagi.Validate(pagi.TypeWebSocket, ev)
	})
	if conn.IsWritable() || conn.TrySendText("dropped") || conn.TrySendJSON("dropped") {
		t.Error("writable while the client is behind")
	}
	client.amount = 99
	if !conn.TrySendText("sent") || conn.TrySendText("\xff") || conn.Err() != nil {
		t.Error("a failed TrySend must leave the connection open")
	}
	if len(sent) != 3 || !cmp.Equal(sent[1], pagi.Event(pagi.WebSocketSend{Text: "sent"})) { // the first is the accept
		t.Errorf("%v", sent)
	}
}

func TestTrySendDoesNotWaitForASend(t *testing.T) {
	inside, release := make(chan struct{}), make(chan struct{})
	conn := handmade(t, &pagi.Scope{}, func(_ context.Context, ev pagi.Event) error {
		if e, ok := ev.(pagi.WebSocketSend); ok && e.Text == "slow" {
			close(inside)
			<-release
		}
		return nil
	})
	done := make(chan error, 1)
	go func() { done <- conn.SendText("slow") }()
	testkit.Await(t, inside)
	if conn.TrySendText("quick") {
		t.Error("sent beside a running send")
	}
	close(release)
	if err := testkit.Await(t, done); err != nil {
		t.Error(err)
	}
	if !conn.TrySendText("quick") {
		t.Error("not sent afterwards")
	}
}

func TestKeepAlivePings(t *testing.T) {
	ws := pagitest.New(accepted(func(conn *websocket.Conn) error {
		if err := conn.KeepAlive(time.Millisecond, 0); err != nil {
			return err
		}
		return conn.Wait()
	})).WebSocket("/")
	testkit.Eventually(t, "a ping", func() bool { return ws.Pings() > 0 })
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
}

func TestReceivingErrorsAreReturned(t *testing.T) {
	broken := errors.New("broken")
	events := []pagi.Event{pagi.WebSocketConnect{}, pagi.HTTPRequest{}}
	receive := func(context.Context) (pagi.Event, error) {
		if len(events) == 0 {
			return nil, broken
		}
		ev := events[0]
		events = events[1:]
		return ev, nil
	}
	send := func(context.Context, pagi.Event) error { return nil }
	conn := websocket.New(t.Context(), &pagi.Scope{Type: pagi.TypeWebSocket}, receive, send)
	if err := conn.Accept(websocket.Accept{}); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Receive(); err == nil || errors.Is(err, broken) {
		t.Errorf("an event of another protocol: %v", err)
	}
	closed := 0
	conn.OnClose(func(*websocket.CloseError) { closed++ })
	if err := conn.Wait(); !errors.Is(err, broken) || closed != 1 {
		t.Errorf("a failing receive: %v, closed %d times", err, closed)
	}
	conn = websocket.New(t.Context(), &pagi.Scope{Type: pagi.TypeWebSocket}, receive, send)
	if err := conn.Accept(websocket.Accept{}); !errors.Is(err, broken) {
		t.Errorf("Accept: %v", err)
	}
}

// A client that has left is no fault of the application, whichever call notices it.
func TestADisconnectIsTheEndOfALoop(t *testing.T) {
	gone := &pagi.DisconnectError{Reason: pagi.ReasonWriteTimeout}
	for name, c := range map[string]struct {
		receive error
		f       func(pagi.WebSocketReceive) error
	}{
		"receiving": {gone, nil},
		"sending":   {nil, func(pagi.WebSocketReceive) error { return gone }},
	} {
		events := []pagi.Event{pagi.WebSocketConnect{}, pagi.WebSocketReceive{Text: "x"}}
		receive := func(context.Context) (pagi.Event, error) {
			if len(events) == 1 && c.receive != nil {
				return nil, c.receive
			}
			ev := events[0]
			events = events[1:]
			return ev, nil
		}
		conn := websocket.New(t.Context(), &pagi.Scope{Type: pagi.TypeWebSocket}, receive, func(context.Context, pagi.Event) error { return nil })
		if err := conn.Accept(websocket.Accept{}); err != nil {
			t.Fatal(err)
		}
		var end *websocket.CloseError
		conn.OnClose(func(e *websocket.CloseError) { end = e })
		if err := conn.Each(c.f); err != nil || end == nil || end.Code != 1006 || end.Reason != pagi.ReasonWriteTimeout {
			t.Errorf("%s: %v, %v", name, err, end)
		}
	}
}

func TestTheContextEndsWithTheConnection(t *testing.T) {
	ended := make(chan error, 1)
	ws := pagitest.New(accepted(func(conn *websocket.Conn) error {
		var watching sync.WaitGroup
		watching.Go(func() {
			<-conn.Context().Done()
			ended <- conn.Context().Err()
		})
		err := conn.Wait()
		watching.Wait()
		return err
	})).WebSocket("/")
	if err := ws.Close(websocket.CodeNormal, ""); err != nil {
		t.Fatal(err)
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("the context has not ended")
	}
}

func TestALoopBeforeAccept(t *testing.T) {
	conn := websocket.New(t.Context(), &pagi.Scope{Type: pagi.TypeWebSocket}, nil, nil)
	if err := conn.Wait(); !errors.Is(err, websocket.ErrNotAccepted) || conn.Err() != nil {
		t.Errorf("%v, %v", err, conn.Err())
	}
}

// A client that leaves before it was accepted ends the connection, and the functions given to
// OnClose may use the Conn, which refuses.
func TestAClientThatLeavesBeforeAccept(t *testing.T) {
	received := 0
	receive := func(context.Context) (pagi.Event, error) {
		received++
		return pagi.WebSocketDisconnect{Code: 1006, Reason: pagi.ReasonClientClosed}, nil
	}
	conn := websocket.New(t.Context(), &pagi.Scope{Type: pagi.TypeWebSocket}, receive, nil)
	var inside []error
	conn.OnClose(func(*websocket.CloseError) {
		inside = []error{conn.SendText("x"), conn.Accept(websocket.Accept{}), conn.Deny(denial{}), conn.Close(0, "")}
	})
	var end *websocket.CloseError
	if err := conn.Accept(websocket.Accept{}); !errors.As(err, &end) || end.Code != 1006 {
		t.Errorf("%v", err)
	}
	if len(inside) != 4 || inside[3] != nil || received != 1 {
		t.Fatalf("%v, received %d times", inside, received)
	}
	for _, err := range inside[:3] {
		if !errors.As(err, &end) {
			t.Errorf("%v", err)
		}
	}
}
