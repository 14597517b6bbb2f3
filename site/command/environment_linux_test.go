package command_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// Processes that start after a reload has failed have the environment of the site that
// is served.
func TestAFailedReloadLeavesTheEnvironment(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	const right = "listen: 127.0.0.1:0\nenvironment: one\nworkers: 1\nmounts: [{path: /, psgi: app.psgi}]\n"
	dir := testkit.Tree(t, map[string]string{"app.psgi": "sub { [200, [], [$ENV{PAGI_ENV} . ' ' . $$]] };\n", "wrong.psgi": "syntax error", "site.yaml": right})
	g := start(t, dir, "-c", "site.yaml")
	hangUp := func(text, result string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "site.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := g.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		g.Log.WaitFor(t, result)
	}
	_, first := g.get("/")
	hangUp(strings.NewReplacer("one", "two", "app", "wrong").Replace(right), "reload: failed")
	hangUp(right, "reload: done") // only the process is another one
	_, body := g.get("/")
	if body == first || !strings.HasPrefix(body, "one ") {
		t.Errorf("at first %q, then %q", first, body)
	}
}

// The environment that one site has set is not the start of the next site's.
func TestAReloadLeavesTheEnvironmentOfTheSiteBehind(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	dir := testkit.Tree(t, map[string]string{"app.psgi": "sub { [200, [], [$ENV{PAGI_ENV}]] };\n",
		"site.yaml": "listen: 127.0.0.1:0\nenvironment: staging\nworkers: 1\nmounts: [{path: /, psgi: app.psgi}]\n"})
	g := start(t, dir, "-c", "site.yaml")
	if _, body := g.get("/"); body != "staging" {
		t.Errorf("at first: %q", body)
	}
	if err := os.WriteFile(filepath.Join(dir, "site.yaml"), []byte("listen: 127.0.0.1:0\nworkers: 1\nmounts: [{path: /, psgi: app.psgi}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := g.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	g.Log.WaitFor(t, "reload: done")
	if _, body := g.get("/"); body != "deployment" {
		t.Errorf("without its line: %q", body)
	}
}

// TERM before everything has started is a stop like any other: with exit code 0, and no
// process is left.
func TestAStopWhileStarting(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	dir := testkit.Tree(t, map[string]string{"app.psgi": "open my $f, '>', 'loading' or die; sleep 60; sub { [200, [], []] };\n"})
	cmd := testkit.Command(dir, program, "-p", "0", "-w", "2", "app.psgi")
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "a worker that loads", func() bool { _, err := os.Stat(filepath.Join(dir, "loading")); return err == nil })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, &said)
	}
	testkit.NoneLeft(t, dir)
}

// The log level is that of the site that is served.
func TestAReloadChangesTheLogLevel(t *testing.T) {
	text := func(level, body string) string {
		return "listen: 127.0.0.1:0\nlog_level: " + level + "\nmounts: [{not_found: " + body + "}]\n"
	}
	dir := testkit.Tree(t, map[string]string{"site.yaml": text("info", "one")})
	g := start(t, dir, "-c", "site.yaml")
	for _, step := range []struct{ level, body string }{{"warn", "two"}, {"info", "three"}} {
		if err := os.WriteFile(filepath.Join(dir, "site.yaml"), []byte(text(step.level, step.body)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := g.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "the next site", func() bool { _, body := g.get("/"); return body == step.body })
	}
	g.Log.WaitFor(t, "reload: done") // of the second one
	if said := g.Log.String(); strings.Count(said, "reload: begun") != 1 || strings.Count(said, "reload: done") != 1 {
		t.Errorf("%s", said)
	}
}

// TestWhatIsSystemdsStaysWithTheGateway: neither workers nor scripts of any kind see systemd's
// variables.
func TestWhatIsSystemdsStaysWithTheGateway(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	const show = `print "Content-Type: text/plain\n\n", join ',', grep /NOTIFY|WATCHDOG|JOURNAL|LISTEN_|TAKEOVER|INVOCATION/, sort keys %ENV;`
	dir := testkit.Tree(t, map[string]string{
		"app.psgi": `sub { [200, [], [join ',', grep /NOTIFY|WATCHDOG|JOURNAL|LISTEN_|TAKEOVER|INVOCATION/, sort keys %ENV]] };`,
		"a.cgi":    "#!/usr/bin/perl\n" + show,
		"site.yaml": "listen: 127.0.0.1:0\nworkers: 1\nmounts:\n  - {path: /w, psgi: app.psgi}\n  - {path: /z, psgi: app.psgi, preload: true}\n" +
			"  - {path: /e, cgi: {script: a.cgi, mode: exec}}\n  - {path: /f, cgi: {script: a.cgi, mode: fork}}\n  - {path: /p, cgi: {script: a.cgi, mode: persistent}}\n",
	})
	s := newSystemd(t)
	for name, value := range map[string]string{"NOTIFY_SOCKET": s.path, "WATCHDOG_USEC": "60000000", "JOURNAL_STREAM": "8:1", "INVOCATION_ID": "abc", "LISTEN_FDNAMES": "x"} {
		t.Setenv(name, value)
	}
	g := start(t, dir, "-c", "site.yaml")
	s.said.WaitFor(t, "[READY=1]")
	for path, want := range map[string]string{"/w": "INVOCATION_ID", "/z": "INVOCATION_ID", "/e": "", "/f": "", "/p": ""} {
		if code, body := g.get(path); code != 200 || body != want {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
}
