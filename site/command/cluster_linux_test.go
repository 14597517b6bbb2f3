package command_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats-server/v2/server"

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

// freeAddress returns an address at which no one listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// natsURL starts a NATS server for the time of a test.
func natsURL(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, Username: "ann", Password: "pass-word"})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(testkit.Patience) {
		t.Fatal("the NATS server does not start")
	}
	return strings.Replace(s.ClientURL(), "nats://", "nats://ann:pass-word@", 1)
}

// clusters are the ways to join count gateways: the setting of each.
var clusters = map[string]func(t *testing.T, count int) []string{
	"a Redis": func(t *testing.T, count int) []string {
		return slices.Repeat([]string{"cluster: " + testkit.StartRedis(t).URL}, count)
	},
	"a NATS": func(t *testing.T, count int) []string {
		return slices.Repeat([]string{"cluster: " + natsURL(t)}, count)
	},
	"servers of their own": func(t *testing.T, count int) (all []string) {
		var addresses []string
		for range count {
			addresses = append(addresses, freeAddress(t))
		}
		for _, own := range addresses {
			all = append(all, fmt.Sprintf("cluster: {listen: %q, peers: [%s], secret: the secret of the cluster}", own, `"`+strings.Join(addresses, `", "`)+`"`))
		}
		return all
	},
}

// clusterNode is a process of a cluster.
type clusterNode struct {
	*testkit.Program
	hub string
}

func startNode(t *testing.T, cluster string) *clusterNode {
	t.Helper()
	dir := testkit.Tree(t, map[string]string{"site.yaml": "listen: 127.0.0.1:0\nlog_level: debug\nhub: run/hub\n" + cluster + "\nmounts:\n" +
		"  - {path: /events, sse_pubsub: news, history: 100}\n  - {path: /live, ws_broadcast: news, history: 100}\n  - {path: /chat, ws_chat: lobby}\n"})
	return &clusterNode{Program: testkit.StartAnyExit(t, testkit.Command(dir, program, "-c", "site.yaml")), hub: filepath.Join(dir, "run/hub")}
}

// publish publishes by the hub of a gateway.
func (g *clusterNode) publish(t *testing.T, text string) {
	t.Helper()
	req := testkit.NewRequest(t, "POST", "http://hub/news", strings.NewReader(text))
	if res, body := testkit.Do(t, testkit.OverUnix(t, g.hub), req); res.StatusCode != 200 {
		t.Fatalf("the hub: %s %s", res.Status, body)
	}
}

// TestGatewaysAreOneCluster has two and three gateways: what is said on one is heard on the others, and
// what a client has missed is replayed once. Each of them is killed in one of the tests.
func TestGatewaysAreOneCluster(t *testing.T) {
	for name, settings := range clusters {
		for _, count := range []int{2, 3} {
			for killed := range count {
				t.Run(fmt.Sprintf("%d with %s, number %d is killed", count, name, killed), func(t *testing.T) {
					testCluster(t, settings(t, count), killed)
				})
			}
		}
	}
}

func testCluster(t *testing.T, settings []string, killed int) {
	var all []*clusterNode
	for _, cluster := range settings {
		all = append(all, startNode(t, cluster))
	}
	one, two := all[0], all[1]
	left := all[(killed+1)%len(all)]
	here, there := listen(t, one.URL+"/events", ""), listen(t, two.URL+"/events", "")
	stays := listen(t, left.URL+"/events", "")
	socket := dialed(t, two, "/live")
	one.publish(t, "first")
	here.expect("first")
	there.expect("first")
	stays.expect("first")
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
	one.publish(t, "missed")
	here.expect("missed")
	back := listen(t, one.URL+"/events", there.id) // to the other gateway
	back.expect("from two", "missed")

	ann, bob := dialed(t, all[killed], "/chat"), dialed(t, left, "/chat")
	waitFor(t, ann, "welcome") // in the room
	waitFor(t, bob, "welcome")
	if err := bob.WriteMessage(websocket.TextMessage, []byte(`{"message":"hello"}`)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, ann, "hello")
	all[killed].Stop(syscall.SIGKILL)
	left.publish(t, "alone")
	stays.expect("from two", "missed", "alone")
	if !strings.Contains(settings[0], "unix://") { // a Redis takes 40 seconds for it; package redispubsub tests it
		waitFor(t, bob, "user_left")
	}
	replayed := listen(t, left.URL+"/events", there.id)
	replayed.expect("from two", "missed", "alone")
	fresh := startNode(t, settings[killed]) // takes the place of the one that was killed
	again := listen(t, fresh.URL+"/events", there.id)
	again.expect("from two", "missed", "alone")
	fresh.publish(t, "together")
	for _, e := range []*events{stays, replayed, again} {
		e.expect("together")
	}
}

// waitFor reads the messages of a chat until one has a text.
func waitFor(t *testing.T, socket *websocket.Conn, what string) {
	t.Helper()
	for text := []byte(nil); !strings.Contains(string(text), what); {
		var err error
		if _, text, err = socket.ReadMessage(); err != nil {
			t.Fatalf("waiting for %q: %v", what, err)
		}
	}
}

func dialed(t *testing.T, g *clusterNode, path string) *websocket.Conn {
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
