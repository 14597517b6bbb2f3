package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// A reload changes only what has changed, also where mounts share an adapter.
func TestAReloadKeepsTheMountsOfASharedAdapter(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	const who = "sub { [200, [], [join ' ', $$, getppid]] }"
	dir := testkit.Tree(t, map[string]string{"a.psgi": who, "b.psgi": who, "c.psgi": who, "cgi/who": "#!/bin/sh\necho Content-Type: text/plain\necho\necho $PPID\n"})
	file := filepath.Join(dir, "site.yaml")
	const head = "listen: 127.0.0.1:0\nenvironment: deployment\nisolate: shared\nmounts:\n  - {path: /a, psgi: a.psgi, workers: 1}\n  - {path: /cgi, cgi: cgi, mode: exec}\n"
	const b, c = "  - {path: /b, psgi: b.psgi, workers: 1}\n", "  - {path: /c, psgi: c.psgi, workers: 1}\n"
	write(t, file, head+b)
	g := serve(t, "-c", file)
	get := func(path string) string {
		t.Helper()
		res, body := g.get(path)
		if res.StatusCode != 200 {
			t.Fatalf("%s: %d %s", path, res.StatusCode, body)
		}
		return strings.TrimSpace(body)
	}
	done, reloads := make(chan struct{}), 0
	var clients sync.WaitGroup
	clients.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				get("/a")
			}
		}
	})
	defer clients.Wait()
	defer close(done)
	whoA, whoB, adapter := get("/a"), get("/b"), get("/cgi/who")
	if !strings.HasSuffix(whoA, " "+adapter) || !strings.HasSuffix(whoB, " "+adapter) || adapter == strconv.Itoa(g.Process.Pid) {
		t.Fatalf("a %s, b %s, the adapter is %s", whoA, whoB, adapter)
	}
	reload := func(text string) {
		t.Helper()
		write(t, file, text)
		if err := g.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		reloads++
		testkit.Eventually(t, "the end of the reload", func() bool { return strings.Count(g.Log.String(), "reload: done") == reloads })
		if get("/a") != whoA || get("/cgi/who") != adapter {
			t.Errorf("reload %d has changed a mount that is the same", reloads)
		}
	}
	reload(head + b + c) // one more
	if get("/b") != whoB || !strings.HasSuffix(get("/c"), " "+adapter) {
		t.Error("a mount that was added")
	}
	reload(head + c + "  - {path: /b, psgi: b.psgi, workers: 1, max_requests: 100000}\n") // one changed
	if now := get("/b"); now == whoB || !strings.HasSuffix(now, " "+adapter) {
		t.Errorf("a mount that has changed: %s, then %s", whoB, now)
	}
	reload(head + c) // one less
	if res, _ := g.get("/b"); res.StatusCode != 404 {
		t.Errorf("a mount that was removed: %d", res.StatusCode)
	}
}

// A hot restart in the middle of 1,000 streaming responses loses none of them, and a WebSocket of the old gateway goes on until
// that ends. Adapter and workers stay.
func TestAHotRestartInTheMiddleOfStreams(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	dir := testkit.Tree(t, map[string]string{
		"who.psgi": "sub { [200, [], [join ' ', $$, getppid]] }",
		"stream.psgi": `sub { sub {
			my $out = $_[0]->([200, ['Content-Type' => 'text/plain']]);
			for my $n (1 .. 5) { $out->write("$n "); select undef, undef, undef, 0.002 }
			$out->write("end $$"); $out->close;
		} }`,
		"cgi/stream": "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n1 2 '\nprintf '3 4 5 '\nprintf end\n",
		"site.yaml": "listen: 127.0.0.1:0\nenvironment: deployment\nisolate: shared\nmounts:\n  - {path: /who, psgi: who.psgi, workers: 1}\n" +
			"  - {path: /psgi, psgi: stream.psgi, workers: 8, queue_size: 2000}\n  - {path: /cgi, cgi: cgi, mode: exec, concurrency: 50, queue_size: 2000}\n  - {path: /ws, ws_echo: {}}\n",
	})
	g := &gateway{testkit.StartAnyExit(t, testkit.Command("", program, "-c", filepath.Join(dir, "site.yaml"))), t}
	_, before := g.get("/who")
	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(g.URL, "http")+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	const most, half = 1000, 500
	var begun, whole atomic.Int64
	halfway := make(chan struct{})
	var clients sync.WaitGroup
	transport := &http.Transport{MaxConnsPerHost: 200}
	defer transport.CloseIdleConnections()
	streams := &http.Client{Transport: transport, Timeout: testkit.Patience}
	for i := range most {
		clients.Go(func() {
			path := "/psgi"
			if i%5 == 0 {
				path = "/cgi/stream"
			}
			res, err := streams.Get(g.URL + path)
			if begun.Add(1) == half/2 {
				close(halfway)
			}
			if err != nil {
				t.Errorf("%s: %v", path, err)
				return
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != 200 || !strings.HasPrefix(string(body), "1 2 3 4 5 end") {
				t.Errorf("%s: %d %q %v", path, res.StatusCode, body, err)
				return
			}
			whole.Add(1)
		})
	}
	testkit.Await(t, halfway)
	if err := g.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	g.Log.WaitFor(t, "took the adapter over")
	clients.Wait()
	if n := whole.Load(); n != most {
		t.Errorf("%d of %d responses came whole", n, most)
	}
	g.Log.WaitFor(t, "the new process serves")
	testkit.Eventually(t, "an answer of the same worker by the new gateway", func() bool {
		res, err := http.Get(g.URL + "/who")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		after, err := io.ReadAll(res.Body)
		return err == nil && string(after) == before
	})
	next := successor(t, g)
	if err := syscall.Kill(next, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_, adapter, _ := strings.Cut(before, " ")
	pid, err := strconv.Atoi(adapter)
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the end of the new gateway and of the adapter", func() bool {
		return syscall.Kill(next, 0) != nil && syscall.Kill(pid, 0) != nil
	})
}

// successor returns the process that has replaced a gateway.
func successor(t *testing.T, g *gateway) (pid int) {
	t.Helper()
	const words = `msg="restart: the new process serves; this one finishes its requests" pid=`
	log := g.Log.String()
	at := strings.LastIndex(log, "this one finishes its requests")
	if at < 0 {
		t.Fatalf("no %q in %s", words, log)
	}
	if _, err := fmt.Sscanf(log[at+strings.Index(log[at:], "pid="):], "pid=%d", &pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

// The new gateway of a hot restart is killed while it starts: the old one goes on, with its adapter. Then the old one is
// killed while a new one starts: that serves, with the same worker.
func TestAGatewayIsKilledInAHotRestart(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	dir := testkit.Tree(t, map[string]string{
		"who.psgi":  "sub { [200, [], [join ' ', $$, getppid]] }",
		"slow.psgi": "open my $f, '>', \"" + "$ENV{PAGI_TEST_DIR}/loading-\" . getppid; close $f; sleep 1; sub { [200, [], ['slow']] }",
		"site.yaml": "listen: 127.0.0.1:0\nenvironment: deployment\nisolate: shared\nmounts:\n  - {path: /who, psgi: who.psgi, workers: 1}\n  - {path: /slow, psgi: slow.psgi, workers: 1, isolate: none}\n",
	})
	cmd := testkit.Command(dir, program, "-c", "site.yaml")
	cmd.Env = append(cmd.Env, "PAGI_TEST_DIR="+dir)
	g := &gateway{testkit.StartAnyExit(t, cmd), t}
	defer testkit.NoneLeft(t, dir)
	_, before := g.get("/who")
	// next starts a hot restart and returns the new gateway, which loads its application.
	next := func() (pid int) {
		t.Helper()
		known := map[string]bool{}
		loading := func() []string {
			files, err := filepath.Glob(filepath.Join(dir, "loading-*"))
			if err != nil {
				t.Fatal(err)
			}
			return files
		}
		for _, file := range loading() {
			known[file] = true
		}
		if err := g.Process.Signal(syscall.SIGUSR2); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "the start of the new gateway", func() bool {
			for _, file := range loading() {
				if !known[file] {
					_, number, _ := strings.Cut(filepath.Base(file), "-")
					pid, _ = strconv.Atoi(number)
				}
			}
			return pid != 0
		})
		return pid
	}
	if err := syscall.Kill(next(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	g.Log.WaitFor(t, "restart: failed")
	if res, after := g.get("/who"); res.StatusCode != 200 || after != before {
		t.Errorf("the worker was %s and is %s", before, after)
	}
	second := next()
	if err := g.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "an answer of the new gateway", func() bool {
		res, err := http.Get(g.URL + "/who")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		after, err := io.ReadAll(res.Body)
		if err == nil && res.StatusCode == 200 && string(after) != before {
			t.Fatalf("the worker was %s and is %s", before, after)
		}
		return err == nil && res.StatusCode == 200
	})
	if err := syscall.Kill(second, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// A CGI script and a PSGI application under Landlock read what is theirs and what the system has for all, and nothing
// else. A worker of another user answers with a file, takes a large upload, and has the gateway send files.
func TestMountsOfAnotherUserUnderLandlock(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run mounts as other users")
	}
	testkit.Tool(t, "perl", "perl")
	dir := isolated(t, map[string]string{
		"outside/secret": "secret", "shop/own": strings.Repeat("own", 50000), "sent/file": "sent by the gateway",
		"shop/app.psgi": `use IO::File; sub {
			my ($env) = @_;
			my $path = $env->{PATH_INFO};
			if ($path eq '/upload') { my $n = 0; while (read $env->{'psgi.input'}, my $x, 65536) { $n += length $x } return [200, [], [$n]] }
			if ($path eq '/sent') { return [200, ['X-Sendfile' => "$env->{HTTP_X_DIR}/sent/file"], []] }
			my $f = IO::File->new($env->{HTTP_X_FILE}, '<') or return [403, [], ["$!"]];
			return [200, ['Content-Type' => 'text/plain'], $f] if $path eq '/file';
			[200, [], ['read']];
		}`,
		"cgi/read": "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nif cat \"$HTTP_X_FILE\" >/dev/null 2>&1; then echo read; else echo refused; fi\n",
	})
	for _, file := range []string{"outside/secret", "shop/own", "sent/file", "cgi/read"} {
		if err := os.Chmod(filepath.Join(dir, file), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	site := filepath.Join(dir, "site.yaml")
	const iso = "isolate: {user: 61001, group: 61001, private_tmp: true, read: []}"
	write(t, site, "listen: 127.0.0.1:0\nenvironment: deployment\nisolate: shared\nmounts:\n"+
		"  - {path: /shop, psgi: {app: shop/app.psgi, dir: "+dir+"/shop}, workers: 1, sendfile: "+dir+"/sent, "+iso+"}\n  - {path: /cgi, cgi: cgi, mode: exec, "+iso+"}\n")
	g := &gateway{testkit.Start(t, testkit.Command(dir, program, "-c", "site.yaml")), t}
	get := func(path, file string) (int, string) {
		t.Helper()
		req := testkit.NewRequest(t, "GET", g.URL+path, nil)
		req.Header.Set("X-File", file)
		req.Header.Set("X-Dir", dir)
		res, body := testkit.Do(t, client, req)
		return res.StatusCode, strings.TrimSpace(body)
	}
	if strings.Contains(g.Log.String(), "read: ") {
		t.Skip("the system has no Landlock; the gateway says: ", &g.Log)
	}
	for _, file := range []string{filepath.Join(dir, "outside/secret"), "/etc/shadow", "/etc/ssh/sshd_config", "/root/.profile", site, "/proc/1/environ", "/home", fmt.Sprintf("/proc/%d/environ", g.Process.Pid)} {
		if status, body := get("/shop/read", file); status != 403 {
			t.Errorf("the application reads %s: %d %s", file, status, body)
		}
		if _, body := get("/cgi/read", file); body != "refused" {
			t.Errorf("the script reads %s: %s", file, body)
		}
	}
	if _, body := get("/cgi/read", filepath.Join(dir, "cgi/read")); body != "read" {
		t.Errorf("the script itself: %s", body)
	}
	if status, body := get("/shop/file", filepath.Join(dir, "shop/own")); status != 200 || len(body) != 150000 {
		t.Errorf("a file of the application: %d, %d bytes", status, len(body))
	}
	if status, body := get("/shop/sent", ""); status != 200 || body != "sent by the gateway" {
		t.Errorf("a file below sendfile: %d %q", status, body)
	}
	upload := bytes.Repeat([]byte("x"), 3<<20)
	if res, body := g.request("POST", "/shop/upload", "application/octet-stream", bytes.NewReader(upload)); res.StatusCode != 200 || body != strconv.Itoa(len(upload)) {
		t.Errorf("an upload of %d bytes: %d %s", len(upload), res.StatusCode, body)
	}
}

// A worker with an event loop serves both gateways of a hot restart. The old one finishes a response of that worker, and tells
// its WebSockets to connect again. The new one gives requests and WebSockets to the same worker.
func TestAHotRestartKeepsTheWorkersOfPAGI(t *testing.T) {
	perl := testkit.Tool(t, "perl", "perl")
	for _, module := range []string{"IO::Async::Loop", "Future::AsyncAwait"} {
		if exec.Command(perl, "-M"+module, "-e", "1").Run() != nil {
			t.Skipf("perl has no module %s", module)
		}
	}
	dir := testkit.Tree(t, map[string]string{
		"app.pl": strings.Replace(strings.ReplaceAll(pagiApp, "'NAME'", "$$"), "await $send->({ type => 'http.response.body'",
			"if ($scope->{path} eq '/wait') {\n"+
				"await $send->({ type => 'http.response.body', body => 'begun ', more => 1 });\n"+
				"await IO::Async::Loop->new->delay_future(after => 0.02) until -e \"$scope->{query_string}/go\" }\n"+
				"await $send->({ type => 'http.response.body'", 1),
		"site.yaml": "listen: 127.0.0.1:0\nenvironment: deployment\nmounts: [{path: /, perlpagi: app.pl, workers: 1}]\n",
	})
	g := &gateway{testkit.StartAnyExit(t, testkit.Command(dir, program, "-c", "site.yaml")), t}
	defer testkit.NoneLeft(t, dir)
	_, worker := g.get("/")
	dial := func() *websocket.Conn {
		t.Helper()
		ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(g.URL, "http")+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ws.Close() }) // nothing is expected from it any more
		return ws
	}
	echo := func(ws *websocket.Conn, text string) {
		t.Helper()
		if err := ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := ws.ReadMessage(); err != nil || string(got) != worker+": "+text {
			t.Fatalf("%q, %v; want the worker %s", got, err, worker)
		}
	}
	old := dial()
	echo(old, "before")
	fresh := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: testkit.Patience}
	waiting, err := fresh.Get(g.URL + "/wait?" + dir)
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Body.Close()
	if err := g.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	g.Log.WaitFor(t, "the new process serves")
	next := successor(t, g)
	if _, _, err := old.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("the old gateway's WebSocket: %v", err)
	}
	testkit.Eventually(t, "an answer of the same worker by the new gateway", func() bool {
		res, err := fresh.Get(g.URL + "/")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err == nil && string(body) != worker {
			t.Fatalf("the worker was %s and is %s", worker, body)
		}
		return err == nil && syscall.Kill(next, 0) == nil
	})
	young := dial()
	echo(young, "by the new gateway")
	write(t, filepath.Join(dir, "go"), "")
	if body, err := io.ReadAll(waiting.Body); err != nil || string(body) != "begun "+worker {
		t.Errorf("the old gateway's response: %q, %v", body, err)
	}
	testkit.Await(t, g.Exited())
	echo(young, "after the old one")
	if err := young.Close(); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(next, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the end of the new gateway", func() bool { return syscall.Kill(next, 0) != nil })
}
