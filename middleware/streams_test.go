package middleware_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gorilla "github.com/gorilla/websocket"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
	"github.com/pagi-go/pagi-bridge/pagi/sse"
)

// sent returns the events that reach the server when an application behind m sends events.
func sent(t *testing.T, m pagi.Middleware, scopeType string, events ...pagi.Event) []pagi.Event {
	t.Helper()
	var got []pagi.Event
	send := func(_ context.Context, ev pagi.Event) error {
		got = append(got, ev)
		return pagi.Validate(scopeType, ev)
	}
	if err := m.Wrap(answering(events...)).Serve(t.Context(), &pagi.Scope{Type: scopeType}, nil, send); err != nil {
		t.Error(err)
	}
	return got
}

func ExampleWebSocketHeartbeat() {
	app := middleware.WebSocketHeartbeat{Interval: 5 * time.Millisecond}.Wrap(echo)
	ws := pagitest.New(app).WebSocket("/")
	for ws.Pings() == 0 {
		time.Sleep(time.Millisecond)
	}
	fmt.Println("the client was asked for a sign of life,", ws.Finish())
	// Output: the client was asked for a sign of life, <nil>
}

func TestWebSocketHeartbeat(t *testing.T) {
	accept, own := pagi.WebSocketAccept{}, pagi.WebSocketKeepalive{Interval: time.Second}
	message := pagi.WebSocketSend{Text: "x"}
	for name, c := range map[string]struct {
		m    middleware.WebSocketHeartbeat
		want pagi.WebSocketKeepalive
	}{
		"the defaults":      {middleware.WebSocketHeartbeat{}, pagi.WebSocketKeepalive{Interval: 30 * time.Second, Timeout: 10 * time.Second}},
		"all options":       {middleware.WebSocketHeartbeat{Interval: time.Minute, Timeout: time.Second}, pagi.WebSocketKeepalive{Interval: time.Minute, Timeout: time.Second}},
		"without a timeout": {middleware.WebSocketHeartbeat{Timeout: -1}, pagi.WebSocketKeepalive{Interval: 30 * time.Second}},
	} {
		if diff := cmp.Diff([]pagi.Event{accept, c.want, own, message}, sent(t, c.m, pagi.TypeWebSocket, accept, own, message)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	refusal := []pagi.Event{pagi.WebSocketHTTPResponseStart{Status: 403}, pagi.WebSocketHTTPResponseBody{}}
	if diff := cmp.Diff(refusal, sent(t, middleware.WebSocketHeartbeat{}, pagi.TypeWebSocket, refusal...)); diff != "" {
		t.Errorf("a refusal: %s", diff)
	}
	if res := pagitest.New(middleware.WebSocketHeartbeat{}.Wrap(hello)).Get("/"); res.Text() != "hello" {
		t.Errorf("http: %v", res.Err)
	}
}

func TestWebSocketHeartbeatDropsAClientThatDoesNotAnswer(t *testing.T) {
	var end pagi.Event
	app := middleware.WebSocketHeartbeat{Interval: 5 * time.Millisecond, Timeout: 10 * time.Millisecond}.Wrap(pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, receive pagi.Receive, send pagi.Send) (err error) {
		if err := send(ctx, pagi.WebSocketAccept{}); err != nil {
			return err
		}
		for {
			if end, err = receive(ctx); err != nil {
				return err
			}
			if _, gone := end.(pagi.WebSocketDisconnect); gone {
				return nil
			}
		}
	}))
	ws := pagitest.New(app).WebSocket("/")
	ws.Mute()
	_, _ = ws.Receive() // ends with the connection
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(pagi.Event(pagi.WebSocketDisconnect{Code: 1006, Reason: pagi.ReasonKeepaliveTimeout}), end); diff != "" {
		t.Error(diff)
	}
}

// echo accepts and sends each message back.
var echo = pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	for {
		ev, err := receive(ctx)
		if err != nil {
			return err
		}
		switch e := ev.(type) {
		case pagi.WebSocketConnect:
			err = send(ctx, pagi.WebSocketAccept{})
		case pagi.WebSocketReceive:
			err = send(ctx, pagi.WebSocketSend(e))
		case pagi.WebSocketDisconnect:
			return send(ctx, pagi.WebSocketSend{Text: fmt.Sprint("after the end: ", e.Code)})
		}
		if err != nil {
			return err
		}
	}
})

func ExampleWebSocketRateLimit() {
	app := middleware.WebSocketRateLimit{MessagesPerSecond: 1, BurstMultiplier: 2}.Wrap(echo)
	ws := pagitest.New(app).WebSocket("/")
	for _, text := range []string{"one", "two", "three"} {
		_ = ws.SendText(text)
		answer, err := ws.ReceiveText()
		var end *engine.WebSocketEnd
		if errors.As(err, &end) {
			answer = fmt.Sprint(end.Code, " ", end.Reason)
		}
		fmt.Println(answer)
	}
	_ = ws.Finish()
	// Output:
	// one
	// two
	// 1008 Rate limit exceeded
}

func TestWebSocketRateLimit(t *testing.T) {
	large := strings.Repeat("x", 60)
	var kinds []string
	hook := func(closes bool) func(*pagi.Scope, string) bool {
		return func(s *pagi.Scope, kind string) bool {
			kinds = append(kinds, s.Path+" "+kind)
			return closes
		}
	}
	for name, c := range map[string]struct {
		m        middleware.WebSocketRateLimit
		messages []string
		want     []string
		code     int
		kinds    []string
	}{
		"few messages":              {middleware.WebSocketRateLimit{}, []string{"a", "b", "c"}, []string{"a", "b", "c"}, 0, nil},
		"too many messages":         {middleware.WebSocketRateLimit{MessagesPerSecond: 1}, []string{"a", "b", "c", "d"}, []string{"a", "b"}, 1008, nil},
		"too many bytes":            {middleware.WebSocketRateLimit{BytesPerSecond: 50}, []string{large, "b", large}, []string{large, "b"}, 1008, nil},
		"a message of all bytes":    {middleware.WebSocketRateLimit{BytesPerSecond: 30}, []string{large}, []string{large}, 0, nil},
		"a message beyond the size": {middleware.WebSocketRateLimit{BytesPerSecond: 29}, []string{large}, nil, 1008, nil},
		"a larger burst":            {middleware.WebSocketRateLimit{MessagesPerSecond: 1, BurstMultiplier: 3}, []string{"a", "b", "c", "d"}, []string{"a", "b", "c"}, 1008, nil},
		"messages are dropped":      {middleware.WebSocketRateLimit{BytesPerSecond: 40, Exceeded: "drop"}, []string{large, large, "c"}, []string{large, "c"}, 0, nil},
		"a code of its own":         {middleware.WebSocketRateLimit{MessagesPerSecond: 1, BurstMultiplier: 1, CloseCode: 4000}, []string{"a", "b"}, []string{"a"}, 4000, nil},
		"a hook that closes":        {middleware.WebSocketRateLimit{MessagesPerSecond: 1, BurstMultiplier: 1, Exceeded: "drop", OnExceeded: hook(true)}, []string{"a", "b"}, []string{"a"}, 1008, []string{"/chat messages"}},
		"a hook that does not":      {middleware.WebSocketRateLimit{BytesPerSecond: 40, OnExceeded: hook(false)}, []string{large, large, "c"}, []string{large, "c"}, 0, []string{"/chat bytes"}},
	} {
		kinds = nil
		ws := pagitest.New(c.m.Wrap(echo)).WebSocket("/chat")
		for _, text := range c.messages {
			_ = ws.SendText(text) // fails when it is closed
		}
		var got []string
		code := 0
		for len(got) < len(c.want) || c.code != 0 {
			text, err := ws.ReceiveText()
			if err != nil {
				var end *engine.WebSocketEnd
				if !errors.As(err, &end) || end.Code == 1008 && end.Reason != "Rate limit exceeded" {
					t.Errorf("%s: %v", name, err)
				} else {
					code = end.Code
				}
				break
			}
			got = append(got, text)
		}
		if diff := cmp.Diff(c.want, got); diff != "" || code != c.code {
			t.Errorf("%s: closed with %d %s", name, code, diff)
		}
		if err := ws.Finish(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.kinds, kinds); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestWebSocketBudget(t *testing.T) {
	app := middleware.WebSocketRateLimit{MessagesPerSecond: 10, BytesPerSecond: 1000}.Wrap(pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		left := scope.Value(scopekey.WebSocketRateLimit).(*middleware.WebSocketBudget)
		if left.Messages() != 20 || left.Bytes() != 2000 {
			t.Errorf("%d messages, %d bytes", left.Messages(), left.Bytes())
		}
		for range 2 { // the connect, and a message
			if _, err := receive(ctx); err != nil {
				return err
			}
		}
		if left.Messages() != 19 || left.Bytes() < 1500 || left.Bytes() > 1900 {
			t.Errorf("then %d messages, %d bytes", left.Messages(), left.Bytes())
		}
		return nil
	}))
	events := []pagi.Event{pagi.WebSocketConnect{}, pagi.WebSocketReceive{Bytes: make([]byte, 500), Binary: true}}
	receive := func(context.Context) (ev pagi.Event, err error) {
		ev, events = events[0], events[1:]
		return ev, nil
	}
	if err := app.Serve(t.Context(), &pagi.Scope{Type: pagi.TypeWebSocket}, receive, nil); err != nil {
		t.Error(err)
	}
	if res := pagitest.New(middleware.WebSocketRateLimit{}.Wrap(hello)).Get("/"); res.Text() != "hello" {
		t.Errorf("http: %v", res.Err)
	}
}

func ExampleSSEHeartbeat() {
	app := middleware.SSEHeartbeat{Interval: 10 * time.Millisecond}.Wrap(pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		if err := send(ctx, pagi.SSEStart{}); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	}))
	server := httptest.NewServer(nethttp.Handler(app))
	defer server.Close()
	req, _ := http.NewRequest("GET", server.URL, nil)
	req.Header.Set("Accept", "text/event-stream")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Body.Close()
	line, _ := bufio.NewReader(res.Body).ReadString('\n')
	fmt.Print(line)
	// Output: :keepalive
}

func TestSSEHeartbeat(t *testing.T) {
	start, event, own := pagi.SSEStart{}, pagi.SSESend{Data: "x"}, pagi.SSEKeepalive{Interval: time.Minute}
	beat := pagi.SSEKeepalive{Interval: 15 * time.Second, Comment: "keepalive"}
	for name, c := range map[string]struct {
		m            middleware.SSEHeartbeat
		events, want []pagi.Event
	}{
		"the defaults":                      {middleware.SSEHeartbeat{}, []pagi.Event{start, event}, []pagi.Event{start, beat, event}},
		"all options":                       {middleware.SSEHeartbeat{Interval: time.Second, Comment: "still here"}, []pagi.Event{start}, []pagi.Event{start, pagi.SSEKeepalive{Interval: time.Second, Comment: "still here"}}},
		"the application's own comes later": {middleware.SSEHeartbeat{}, []pagi.Event{start, own}, []pagi.Event{start, beat, own}},
		"the application's own came before": {middleware.SSEHeartbeat{}, []pagi.Event{own, start}, []pagi.Event{own, start}},
		"a declined stream":                 {middleware.SSEHeartbeat{}, []pagi.Event{pagi.SSEHTTPResponseStart{Status: 404}}, []pagi.Event{pagi.SSEHTTPResponseStart{Status: 404}}},
	} {
		if diff := cmp.Diff(c.want, sent(t, c.m, pagi.TypeSSE, c.events...)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if res := pagitest.New(middleware.SSEHeartbeat{}.Wrap(hello)).Get("/"); res.Text() != "hello" {
		t.Errorf("http: %v", res.Err)
	}
}

func ExampleSSERetry() {
	app := middleware.SSERetry{Retry: 5 * time.Second}.Wrap(answering(pagi.SSEStart{}, pagi.SSESend{Data: "hello"}, pagi.SSEClose{}))
	fmt.Printf("%q\n", pagitest.New(app).Events("/").Finish().Text())
	// Output: "retry: 5000\ndata: hello\n\n"
}

func TestSSERetry(t *testing.T) {
	start := pagi.SSEStart{}
	event := func(retry time.Duration, has bool) pagi.Event {
		return pagi.SSESend{Data: "x", Retry: retry, HasRetry: has}
	}
	for name, c := range map[string]struct {
		m            middleware.SSERetry
		events, want []pagi.Event
	}{
		"the first event":       {middleware.SSERetry{}, []pagi.Event{start, event(0, false), event(0, false)}, []pagi.Event{start, event(3*time.Second, true), event(0, false)}},
		"every event":           {middleware.SSERetry{Retry: time.Second, Events: "every"}, []pagi.Event{start, event(0, false), event(0, false)}, []pagi.Event{start, event(time.Second, true), event(time.Second, true)}},
		"a time of its own":     {middleware.SSERetry{Events: "every"}, []pagi.Event{start, event(0, true), event(time.Minute, false)}, []pagi.Event{start, event(0, true), event(time.Minute, false)}},
		"the first has its own": {middleware.SSERetry{}, []pagi.Event{start, event(time.Minute, true), event(0, false)}, []pagi.Event{start, event(time.Minute, true), event(0, false)}},
		"at once":               {middleware.SSERetry{Retry: -1}, []pagi.Event{start, event(0, false)}, []pagi.Event{start, event(0, true)}},
	} {
		if diff := cmp.Diff(c.want, sent(t, c.m, pagi.TypeSSE, c.events...)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	app := middleware.SSERetry{}.Wrap(pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if got := scope.Value(scopekey.SSERetry); got != 3*time.Second {
			t.Errorf("in the scope: %v", got)
		}
		s := sse.New(ctx, scope, receive, send)
		if err := s.SendData("a"); err != nil {
			return err
		}
		return s.SendData("b")
	}))
	if got := pagitest.New(app).Events("/").Finish().Text(); got != "retry: 3000\ndata: a\n\ndata: b\n\n" {
		t.Errorf("with package sse: %q", got)
	}
	if res := pagitest.New(middleware.SSERetry{}.Wrap(hello)).Get("/"); res.Text() != "hello" {
		t.Errorf("http: %v", res.Err)
	}
}

func ExampleWebSocketCompression() {
	app := middleware.WebSocketCompression{ServerNoContextTakeover: true}.Wrap(echo)
	server := httptest.NewServer(nethttp.Handler(app))
	defer server.Close()
	conn, res, err := (&gorilla.Dialer{EnableCompression: true}).Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	fmt.Println(res.Header.Get("Sec-WebSocket-Extensions"))
	// Output: permessage-deflate; server_no_context_takeover; client_no_context_takeover
}

func TestWebSocketCompression(t *testing.T) {
	pagitest.InMemory(t, "it has a socket of its own")
	text := strings.Repeat("compressible ", 20) // 260 bytes
	for name, c := range map[string]struct {
		m          middleware.WebSocketCompression
		agreed     string
		compressed bool
	}{
		"the defaults":            {middleware.WebSocketCompression{}, "permessage-deflate", true},
		"off":                     {middleware.WebSocketCompression{Off: true}, "", false},
		"no context":              {middleware.WebSocketCompression{ServerNoContextTakeover: true, ClientNoContextTakeover: true}, "permessage-deflate; server_no_context_takeover; client_no_context_takeover", true},
		"messages that are small": {middleware.WebSocketCompression{MinSize: 261}, "permessage-deflate", false},
		"and just large enough":   {middleware.WebSocketCompression{MinSize: 260}, "permessage-deflate", true},
	} {
		server := httptest.NewServer(nethttp.Handler(c.m.Wrap(echo)))
		conn := dial(t, server.Listener.Addr().String(), "permessage-deflate")
		if conn.agreed != c.agreed {
			t.Errorf("%s: %q", name, conn.agreed)
		}
		if compressed := conn.echo(t, text); compressed != c.compressed {
			t.Errorf("%s: the answer is compressed: %v", name, compressed)
		}
		conn.Close()
		server.Close()
	}
	if res := pagitest.New(middleware.WebSocketCompression{}.Wrap(hello)).Get("/"); res.Text() != "hello" {
		t.Errorf("http: %v", res.Err)
	}
}

func TestOptionsOfStreams(t *testing.T) {
	checks(t, map[string]pagi.Middleware{
		`interval: must not be negative, is -1s`:            middleware.WebSocketHeartbeat{Interval: -time.Second},
		`timeout: must not be negative, is -1s`:             middleware.WebSocketHeartbeat{Timeout: -time.Second},
		`messages_per_second: must be more than 0, is -1`:   middleware.WebSocketRateLimit{MessagesPerSecond: -1},
		`bytes_per_second: must be more than 0, is -1`:      middleware.WebSocketRateLimit{BytesPerSecond: -1},
		`burst_multiplier: must be more than 0, is -1`:      middleware.WebSocketRateLimit{BurstMultiplier: -1},
		`exceeded: must be close or drop, is "wait"`:        middleware.WebSocketRateLimit{Exceeded: "wait"},
		`close_code: must be 1008 or 3000 to 4999, is 1006`: middleware.WebSocketRateLimit{CloseCode: 1006},
		`close_reason: must be UTF-8 of at most 123 bytes`:  middleware.WebSocketRateLimit{CloseReason: strings.Repeat("x", 124)},
		`interval: must not be negative, is -2s`:            middleware.SSEHeartbeat{Interval: -2 * time.Second},
		`comment: must be one line of UTF-8, is "a\nb"`:     middleware.SSEHeartbeat{Comment: "a\nb"},
		`events: must be first or every, is "none"`:         middleware.SSERetry{Events: "none"},
		`retry: must be at most an hour, is 2h0m0s`:         middleware.SSERetry{Retry: 2 * time.Hour},
		`retry: must be at most an hour, is -2s`:            middleware.SSERetry{Retry: -2 * time.Second},
		`min_size: must not be negative, is -2`:             middleware.WebSocketCompression{MinSize: -2},
	})
}
