package command_test

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// publishing returns the Perl function that docs/site.md shows.
func publishing(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/site.md")
	if err != nil {
		t.Fatal(err)
	}
	_, code, found := strings.Cut(string(page), "```perl\nuse IO::Socket::UNIX;")
	code, _, closed := strings.Cut(code, "```")
	if !found || !closed {
		t.Fatal("docs/site.md does not show how to publish")
	}
	return "use strict; use warnings; use IO::Socket::UNIX;" + code
}

// TestOldApplicationsPublish has a CGI script and a PSGI application whose messages come to a
// browser, before and after a reload.
func TestOldApplicationsPublish(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	function := publishing(t)
	dir := testkit.Tree(t, map[string]string{
		"site.yaml": "listen: 127.0.0.1:0\nhub: run/hub\nmounts:\n  - {path: /events, sse_pubsub: orders}\n  - {path: /cgi, cgi: script.pl}\n" +
			"  - {path: /psgi, psgi: app.psgi, workers: 1}\n",
		"script.pl": "#!/usr/bin/perl\n" + function + "\npublish('orders', \"from the script\"); print \"Content-Type: text/plain\\r\\n\\r\\ndone\";\n",
		"app.psgi":  function + "\nsub { publish('orders', \"from the application\"); [200, [], ['done']] };\n",
	})
	g := start(t, dir, "-c", "site.yaml")
	if info, err := os.Stat(filepath.Join(dir, "run")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory of the hub: %v %v", info, err)
	}
	events := func() (line func() string, end func()) {
		req := testkit.NewRequest(t, "GET", g.URL+"/events", nil)
		req.Header.Set("Accept", "text/event-stream")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(res.Body)
		return func() string {
			for lines.Scan() {
				if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
					return data
				}
			}
			return fmt.Sprint("the stream has ended: ", lines.Err())
		}, func() { res.Body.Close() }
	}
	check := func() {
		t.Helper()
		line, end := events()
		defer end()
		for path, want := range map[string]string{"/cgi": "from the script", "/psgi": "from the application"} {
			if _, body := testkit.Get(t, http.DefaultClient, g.URL+path); body != "done" {
				t.Fatalf("%s: %q", path, body)
			}
			if got := line(); got != want {
				t.Errorf("%s: %q", path, got)
			}
		}
	}
	check()
	if err := g.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	g.Log.WaitFor(t, "reload: done")
	check()
	if code := g.Stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Lstat(filepath.Join(dir, "run/hub")); err == nil {
		t.Error("the socket is left")
	}
}

func TestTheHubsDirectoryIsOurs(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"open/": "", "site.yaml": "listen: 127.0.0.1:0\nhub: open/hub\nmounts: [{file: .}]\n"})
	if err := os.Chmod(filepath.Join(dir, "open"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-c", "site.yaml"}, {"-t", "-c", "site.yaml"}} {
		if code, _, stderr := once(t, dir, args...); code == 0 || !strings.Contains(stderr, "must have mode 0700") {
			t.Errorf("%v: %d %q", args, code, stderr)
		}
	}
}
