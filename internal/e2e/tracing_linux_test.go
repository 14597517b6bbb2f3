package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/internal/tracing/tracingtest"
)

// Traces go on through a reload, also in a mount that it adds, and through a hot restart, at which the old process sends what waits.
// An option of the tracing itself counts from the next start on.
func TestTracesThroughAReloadAndARestart(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	c := tracingtest.New(t)
	site := func(share, mounts string) string {
		return fmt.Sprintf("listen: 127.0.0.1:0\nenvironment: deployment\ntracing: {endpoint: '%s', trust: true, sample: %s}\nmounts:\n  - {path: /app, psgi: app.psgi, workers: 1}\n%s", c.URL, share, mounts)
	}
	dir := isolated(t, map[string]string{"site.yaml": site("1", ""), "app.psgi": tracedPSGI, "cgi/sh.cgi": tracedCGI})
	if err := os.Chmod(filepath.Join(dir, "cgi/sh.cgi"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := testkit.Command(dir, program, "-c", "site.yaml")
	cmd.Env = append(os.Environ(), "OTEL_BSP_SCHEDULE_DELAY=600000") // so that the spans come at the end of each process
	g := &gateway{testkit.Start(t, cmd), t}
	ours := func(path string) (trace string) { // of a trace that begins here
		t.Helper()
		_, body := g.get(path)
		if words := strings.Fields(body); len(words) > 1 && len(words[1]) == 55 {
			return words[1][3:35]
		}
		t.Fatalf("%s: %q", path, body)
		return ""
	}
	first := ours("/app")
	write(t, filepath.Join(dir, "site.yaml"), site("0", "  - {path: /cgi, cgi: cgi, mode: exec}\n"))
	if err := g.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	g.Log.WaitFor(t, "reload: done")
	if !strings.Contains(g.Log.String(), "tracing") {
		t.Error("the log does not name the option that counts from the next start on")
	}
	second, script := ours("/app"), ours("/cgi/sh.cgi")
	if len(c.Spans()) > 0 {
		t.Fatal("the spans have been sent too early for this test")
	}
	if err := g.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	next := successorOf(t, g)
	c.Await(9)
	for _, trace := range []string{first, second, script} {
		if spans := c.Trace(trace); len(spans) != 3 {
			t.Errorf("%d spans: %v", len(spans), spans)
		}
	}
	called, _ := g.called("/app") // the share is 0 now, and the caller's decision counts
	if _, body := g.get("/app"); len(strings.Fields(body)) != 2 {
		t.Errorf("a request that is not recorded: %q", body)
	}
	if err := syscall.Kill(next, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.Await(12)
	if spans := c.Trace(called); len(spans) != 3 || len(c.Spans()) != 12 {
		t.Errorf("%d spans of the new process, %d in all", len(spans), len(c.Spans()))
	}
}
