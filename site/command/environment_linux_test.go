package command_test

import (
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
