package server

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/pagi-go/pagi-bridge/internal/tenure"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// part serves WebSockets that echo, and event streams that last until their end. Those whose path begins with /kept are
// marked with tenure.
type part struct {
	tenure *tenure.Tenure
	open   chan struct{} // one for each event stream that is open
	gone   chan string   // the path of each event stream that has ended
}

func (p *part) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if strings.HasPrefix(scope.Path, "/kept") {
		p.tenure.Mark(scope.Stash)
	}
	switch scope.Type {
	case pagi.TypeWebSocket:
		return echoSocket(make(chan *pagi.Scope, 1), make(chan pagi.WebSocketDisconnect, 1)).Serve(ctx, scope, receive, send)
	case pagi.TypeSSE:
		if err := send(ctx, pagi.SSEStart{Status: 200}); err != nil {
			return err
		}
		p.open <- struct{}{}
		for {
			ev, err := receive(ctx)
			if _, over := ev.(pagi.SSEDisconnect); over || err != nil {
				p.gone <- scope.Path
				return err
			}
		}
	}
	return pagi.Unsupported(scope)
}

func TestReloadKeepsTheStreamsOfASharedPart(t *testing.T) {
	p := &part{tenure: tenure.New(), open: make(chan struct{}, 4), gone: make(chan string, 4)}
	first := &Server{App: p}
	x := launch(t, first)
	dial := func(path string) *websocket.Conn {
		c, _, err := websocket.DefaultDialer.Dial("ws://"+x.addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	echoes := func(c *websocket.Conn) error {
		if err := c.WriteMessage(websocket.TextMessage, []byte("still here")); err != nil {
			return err
		}
		_, _, err := c.ReadMessage()
		return err
	}
	stream := func(path string) {
		x.request("GET " + path + " HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
		testkit.Await(t, p.open)
	}
	away := func(what string, c *websocket.Conn) {
		t.Helper()
		var closed *websocket.CloseError
		if _, _, err := c.ReadMessage(); !errors.As(err, &closed) || closed.Code != 1001 {
			t.Errorf("%s: %v, want Close with 1001", what, err)
		}
	}
	reload := func() {
		t.Helper()
		if err := first.Reload(t.Context(), &Server{App: p, Logger: x.log.Logger()}); err != nil {
			t.Fatal(err)
		}
	}
	kept, other := dial("/kept"), dial("/other")
	stream("/kept/events")
	stream("/other/events")

	p.tenure.Keep()
	reload()
	away("a WebSocket of a part that goes", other)
	if path := testkit.Await(t, p.gone); path != "/other/events" {
		t.Errorf("%s has ended", path)
	}
	if err := echoes(kept); err != nil {
		t.Errorf("a WebSocket of a part that stays: %v", err)
	}
	later := dial("/kept/later")
	reload()
	if err := errors.Join(echoes(kept), echoes(later)); err != nil {
		t.Errorf("after a second reload: %v", err)
	}

	p.tenure.End()
	away("a WebSocket whose part has gone", kept)
	away("a later one", later)
	if path := testkit.Await(t, p.gone); path != "/kept/events" {
		t.Errorf("%s has ended", path)
	}
	reload()
	if n := len(p.gone); n != 0 {
		t.Errorf("%d streams more have ended", n)
	}
}

// A stop ends the streams of former applications, and waits for them.
func TestStopEndsTheStreamsOfFormerApplications(t *testing.T) {
	p := &part{tenure: tenure.New(), open: make(chan struct{}, 1), gone: make(chan string, 1)}
	first := &Server{App: p}
	x := launch(t, first)
	c, _, err := websocket.DefaultDialer.Dial("ws://"+x.addr+"/kept", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	x.request("GET /kept/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
	testkit.Await(t, p.open)
	p.tenure.Keep()
	if err := first.Reload(t.Context(), &Server{App: p, Logger: x.log.Logger()}); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- x.stop() }()
	var closed *websocket.CloseError
	if _, _, err := c.ReadMessage(); !errors.As(err, &closed) || closed.Code != 1001 {
		t.Errorf("%v, want Close with 1001", err)
	}
	if err := testkit.Await(t, stopped); err != nil {
		t.Error(err)
	}
	if len(p.gone) != 1 {
		t.Error("the server has stopped before the event stream had ended")
	}
}
