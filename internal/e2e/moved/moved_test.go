package moved_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// program is the binary under test.
var program string

func TestMain(m *testing.M) {
	os.Exit(testkit.RunWith(m, map[string]*string{"cmd/pagi-bridge": &program}))
}

// TestMovedSitesAnswerAsBefore asks each original server, stops it, serves the site file that import makes of its
// configuration at the same addresses, and asks again.
func TestMovedSitesAnswerAsBefore(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 25 {
		t.Errorf("only %d cases", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { readCase(t, file).compare(t) })
	}
}

func (c *movedCase) compare(t *testing.T) {
	c.check(t)
	c.startBackend(t)
	before := c.startOrigin(t)
	want := make([]answer, len(c.requests))
	for i, r := range c.requests {
		want[i] = c.ask(t, r)
	}
	before.stop()

	site := c.importAll(t)
	after := testkit.Command(c.dir, program, "-c", site)
	after.Env = append(after.Env, "PORT="+c.port) // a site made of a Procfile listens there
	testkit.Start(t, after)
	for i, r := range c.requests {
		got := c.ask(t, r)
		diff := cmp.Diff(want[i], got)
		switch why, differs := c.differs[r.text]; {
		case differs && diff == "":
			t.Errorf("%s: the answers are the same, although %s", r.text, why)
		case !differs && diff != "":
			t.Errorf("%s (-original +pagi-bridge):\n%s", r.text, diff)
		}
	}
	if t.Failed() {
		t.Logf("the site file:\n%s", c.read(t, filepath.Base(site)))
	}
}

// importAll makes the site file of the case, and checks what is left out.
func (c *movedCase) importAll(t *testing.T) string {
	t.Helper()
	out := filepath.Join(c.dir, "site.yaml")
	args := []string{"import"}
	for _, name := range c.configs {
		args = append(args, filepath.Join(c.dir, name))
	}
	cmd := testkit.Command("", program, append(args, "-o", out)...)
	said, err := cmd.CombinedOutput()
	want := 0
	if len(c.leftOut) > 0 {
		want = 3
	}
	if code := cmd.ProcessState.ExitCode(); code != want {
		t.Fatalf("import ended with %d, want %d (%v):\n%s", code, want, err, said)
	}
	for _, part := range c.leftOut {
		if !strings.Contains(string(said), part) {
			t.Errorf("import does not say %q, but:\n%s", part, said)
		}
	}
	return out
}
