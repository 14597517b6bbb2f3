package e2e

import (
	"bufio"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// A reload with a changed site file changes only the mounts that have changed. The processes of the others, and their
// clients, do not notice it.
func TestAReloadChangesOnlyWhatHasChanged(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	const pid = "sub { [200, ['X-Pid' => $$], [Word::text()]] }"
	dir := testkit.Tree(t, map[string]string{
		"a.psgi": "use Word; " + pid, "lib/Word.pm": "package Word; sub text { 'one' } 1;\n", "b.psgi": "sub { [200, ['X-Pid' => $$], ['b']] }",
		"public/hello.txt": "hello", "cgi/env": "#!/usr/bin/perl\nprint \"Content-Type: text/plain\\n\\n\", 'cgi';\n",
		"cgi/away": "#!/usr/bin/perl\nprint \"Location: /files/hello.txt\\n\\n\";\n",
	})
	file := filepath.Join(dir, "site.yaml")
	head := "listen: 127.0.0.1:0\nmounts:\n"
	a := "  - {path: /a, psgi: a.psgi, workers: 1, lib: lib}\n"
	b := "  - {path: /b, psgi: b.psgi, workers: 1}\n"
	live := "  - {path: /ws, ws_echo: {}}\n"
	rest := "  - {path: /events, sse_pubsub: news}\n  - {path: /cgi, cgi: cgi, mode: exec}\n"
	write(t, file, head+a+b+live+rest)
	g := serve(t, "-c", file)

	reloads := 0
	reload := func(text string) {
		t.Helper()
		write(t, file, text)
		if err := g.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		reloads++
		testkit.Eventually(t, "the end of the reload", func() bool { return strings.Count(g.Log.String(), "reload: done") == reloads })
	}
	pidOf := func(path string) string {
		t.Helper()
		res, _ := g.get(path)
		return res.Header.Get("X-Pid")
	}

	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(g.URL, "http")+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	echoes := func() error {
		if err := ws.WriteMessage(websocket.TextMessage, []byte("x")); err != nil {
			return err
		}
		_, _, err := ws.ReadMessage()
		return err
	}
	req, err := http.NewRequest("GET", g.URL+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	events, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	ended := make(chan error, 1)
	go func() {
		for lines := bufio.NewReader(events.Body); ; {
			if _, err := lines.ReadString('\n'); err != nil {
				ended <- err
				return
			}
		}
	}()

	done := make(chan struct{})
	var clients sync.WaitGroup
	for _, path := range []string{"/a", "/b", "/cgi/env"} {
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if res, body := g.get(path); res.StatusCode != 200 {
					t.Errorf("%s: %d %s", path, res.StatusCode, body)
				}
			}
		})
	}
	pidA, pidB := pidOf("/a"), pidOf("/b")

	files := "  - {path: /files, file: public}\n"
	reload(head + a + b + live + rest + files)
	if _, body := g.get("/files/hello.txt"); body != "hello" {
		t.Errorf("the new mount: %q", body)
	}
	if _, body := g.get("/cgi/away"); body != "hello" {
		t.Errorf("a script of a kept mount redirects to the new mount: %q", body)
	}
	if pidOf("/a") != pidA || pidOf("/b") != pidB {
		t.Error("a worker was replaced by a reload that adds a mount")
	}
	if err := echoes(); err != nil {
		t.Errorf("the WebSocket: %v", err)
	}

	b = "  - {path: /b, psgi: b.psgi, workers: 1, max_requests: 100000}\n"
	reload(head + a + b + live + rest + files)
	if pidOf("/a") != pidA {
		t.Error("/a was restarted although /b has changed")
	}
	if pidOf("/b") == pidB {
		t.Error("/b has the old worker although its options have changed")
	}

	write(t, filepath.Join(dir, "lib/Word.pm"), "package Word; sub text { 'and two' } 1;\n")
	reload(head + a + b + live + rest)
	if _, body := g.get("/a"); body != "and two" {
		t.Errorf("after a change of its code: %q", body)
	}
	if res, _ := g.get("/files/hello.txt"); res.StatusCode != 404 {
		t.Errorf("a mount that was removed: %d", res.StatusCode)
	}
	if err := echoes(); err != nil {
		t.Errorf("the WebSocket after three reloads: %v", err)
	}

	write(t, file, head+a+b+rest+"  - {path: /broken, psgi: {code: 'die \"no database\"'}}\n")
	if err := g.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	g.Log.WaitFor(t, "reload: failed", "no database")
	pidA = pidOf("/a")
	if err := echoes(); err != nil {
		t.Errorf("the WebSocket after a reload that failed: %v", err)
	}
	if _, body := g.get("/a"); body != "and two" {
		t.Errorf("after a reload that failed: %q", body)
	}

	reload(head + a + b + rest)
	var closed *websocket.CloseError
	if err := echoes(); !errors.As(err, &closed) || closed.Code != 1001 {
		t.Errorf("the WebSocket of a mount that was removed: %v", err)
	}
	if pidOf("/a") != pidA {
		t.Error("/a was restarted")
	}
	close(done)
	clients.Wait()
	select {
	case err := <-ended:
		t.Errorf("the event stream has ended: %v", err)
	default:
	}
	if err := g.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	testkit.Await(t, ended)
}
