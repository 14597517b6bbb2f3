package command_test

import (
	"bufio"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// events is an event stream.
type events struct {
	t     *testing.T
	res   *http.Response
	lines *bufio.Scanner
	id    string // of the last event
}

func listen(t *testing.T, url, last string) *events {
	t.Helper()
	req := testkit.NewRequest(t, "GET", url, nil)
	req.Header.Set("Accept", "text/event-stream")
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return &events{t: t, res: res, lines: bufio.NewScanner(res.Body)}
}

// expect reads events, each of one line.
func (e *events) expect(want ...string) {
	e.t.Helper()
	for _, w := range want {
		data := ""
		for data == "" {
			if !e.lines.Scan() {
				e.t.Fatalf("the stream has ended before %q: %v", w, e.lines.Err())
			}
			if id, ok := strings.CutPrefix(e.lines.Text(), "id: "); ok {
				e.id = id
			}
			if text, ok := strings.CutPrefix(e.lines.Text(), "data: "); ok {
				data = text
			}
		}
		if data != w {
			e.t.Fatalf("got %q, want %q", data, w)
		}
	}
}

// TestTwoGatewaysAreOneCluster has two gateways with one Redis: what is said on one is heard on the
// other, and what a client has missed is replayed once. One of them is killed.
func TestTwoGatewaysAreOneCluster(t *testing.T) {
	url := testkit.StartRedis(t).URL
	gateway := func() (*testkit.Program, string) {
		dir := testkit.Tree(t, map[string]string{"site.yaml": "listen: 127.0.0.1:0\nhub: run/hub\ncluster: " + url + "\nmounts:\n" +
			"  - {path: /events, sse_pubsub: news, history: 10}\n  - {path: /live, ws_broadcast: news, history: 10}\n  - {path: /chat, ws_chat: lobby}\n"})
		cmd := testkit.Command(dir, program, "-c", "site.yaml")
		return testkit.StartAnyExit(t, cmd), filepath.Join(dir, "run/hub")
	}
	one, hub := gateway()
	two, _ := gateway()
	publish := func(text string) {
		t.Helper()
		req := testkit.NewRequest(t, "POST", "http://hub/news", strings.NewReader(text))
		if res, body := testkit.Do(t, testkit.OverUnix(t, hub), req); res.StatusCode != 200 {
			t.Fatalf("the hub: %s %s", res.Status, body)
		}
	}
	here, there := listen(t, one.URL+"/events", ""), listen(t, two.URL+"/events", "")
	socket := dialed(t, two, "/live")
	publish("first")
	here.expect("first")
	there.expect("first")
	if here.id != there.id || here.id == "" {
		t.Errorf("ids %q and %q", here.id, there.id)
	}
	if _, text, err := socket.ReadMessage(); err != nil || string(text) != "first" {
		t.Errorf("%q %v", text, err)
	}
	if err := socket.WriteMessage(websocket.TextMessage, []byte("from two")); err != nil {
		t.Fatal(err)
	}
	here.expect("from two")
	there.res.Body.Close()
	publish("missed")
	here.expect("missed")
	back := listen(t, one.URL+"/events", there.id) // to the other gateway
	back.expect("from two", "missed")

	ann, bob := dialed(t, one, "/chat"), dialed(t, two, "/chat")
	if err := bob.WriteMessage(websocket.TextMessage, []byte(`{"message":"hello"}`)); err != nil {
		t.Fatal(err)
	}
	for text := []byte(nil); !strings.Contains(string(text), "hello"); {
		var err error
		if _, text, err = ann.ReadMessage(); err != nil {
			t.Fatalf("waiting for bob: %v", err)
		}
	}
	two.Stop(syscall.SIGKILL)
	publish("alone")
	here.expect("alone")
	back.expect("alone")
}

func dialed(t *testing.T, g *testkit.Program, path string) *websocket.Conn {
	t.Helper()
	conn, res, err := websocket.DefaultDialer.Dial("ws://"+g.Address()+path, nil)
	if err != nil {
		t.Fatal(errors.Join(err, errors.New(path)))
	}
	res.Body.Close()
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn
}
