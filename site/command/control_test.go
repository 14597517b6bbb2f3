package command_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// A running gateway is steered by commands at its status socket.
func TestOrders(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	const app = "sub { [200, [], [$$]] }"
	dir := testkit.Tree(t, map[string]string{
		"app.psgi": app, "other.psgi": app, "page.html": "page",
		"site.yaml": "listen: 127.0.0.1:0\nlog_file: log\nstatus_socket: run/status\nworkers: 1\nmounts:\n" +
			"  - {path: /a, psgi: app.psgi}\n  - {path: /b, psgi: other.psgi}\n  - {path: /, directory: .}\n",
	})
	g := start(t, dir, "-c", "site.yaml")
	order := func(want int, args ...string) string {
		t.Helper()
		code, stdout, stderr := once(t, dir, append(args, "-c", "site.yaml")...)
		if code != want {
			t.Errorf("%v: exit code %d, want %d: %s%s", args, code, want, stdout, stderr)
		}
		return stdout + stderr
	}
	pid := func(path string) string { _, body := g.get(path); return body }
	a, b := pid("/a"), pid("/b")

	if got := order(0, "reload", "/a"); !strings.HasPrefix(got, "reloaded in ") {
		t.Errorf("%q", got)
	}
	if now := pid("/a"); now == a {
		t.Errorf("the worker of /a is still %s", now)
	}
	if now := pid("/b"); now != b {
		t.Errorf("the worker of /b is %s and not %s: only /a was reloaded", now, b)
	}
	order(0, "reload")
	if now := pid("/b"); now == b {
		t.Errorf("the worker of /b is still %s", now)
	}
	if got := order(0, "scale", "/a", "3"); got != "/a has 3 workers\n" {
		t.Errorf("%q", got)
	}
	workers := func() int {
		var r status.Gateway
		if err := json.Unmarshal([]byte(order(0, "status", "--json")), &r); err != nil {
			t.Fatal(err)
		}
		for _, m := range r.Mounts {
			if m.Mount == "/a" {
				return len(m.Backend.Workers)
			}
		}
		return 0
	}
	g.Eventually("three workers", func() bool { return workers() == 3 })
	if got := order(0, "scale", "/a", "1"); got != "/a has 1 worker\n" {
		t.Errorf("%q", got)
	}
	g.Eventually("one worker", func() bool { return workers() == 1 })
	if err := os.Rename(filepath.Join(dir, "log"), filepath.Join(dir, "log.1")); err != nil {
		t.Fatal(err)
	}
	order(0, "reopen")
	order(0, "log-level", "debug")
	order(0, "reload", "/a")
	g.Eventually("the new log has a debug record", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, "log"))
		return err == nil && strings.Contains(string(text), "level=DEBUG")
	})

	// What cannot be done.
	if err := os.WriteFile(filepath.Join(dir, "app.psgi"), []byte("die qq{broken\\n}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		code int
		want string
		args string
	}{
		{1, "broken", "reload /a"},
		{1, "there is no mount /c; has a number of workers that can be changed: /a, /b", "scale /c 2"},
		{1, "no application at / can load its code again", "reload /"},
		{1, "at least one worker, not 0", "scale /a 0"},
		{1, `"two" is no number`, "scale /a two"},
		{1, `"loud" is no level: debug, info, warn, error`, "log-level loud"},
		{2, "give the name of a mount", "scale /a"},
		{2, "unexpected argument", "reopen now"},
		{2, "give a level", "log-level"},
	} {
		if got := order(c.code, strings.Fields(c.args)...); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.args, got, c.want)
		}
	}
	if code, stdout, _ := once(t, dir, "scale", "--help"); code != 0 || !strings.Contains(stdout, "pagi-bridge scale MOUNT N --status-socket PATH") {
		t.Errorf("%d %s", code, stdout)
	}
	if code, _, stderr := once(t, dir, "reload"); code != 2 || !strings.Contains(stderr, "--status-socket PATH, or -c FILE") {
		t.Errorf("%d %s", code, stderr)
	}
	if got := pid("/a"); got == "" {
		t.Error("/a does not answer any more")
	}
}
