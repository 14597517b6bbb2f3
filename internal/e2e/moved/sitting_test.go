package moved_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// TestAMachineMovesInOneSitting does what the owner of a machine with Apache and three CGI packages of Debian does: import, -t,
// serve at another port beside Apache, compare, switch, and look at the status of what is running. TestTheDeb in internal/e2e/packaged
// installs the package and has it serve what import makes.
func TestAMachineMovesInOneSitting(t *testing.T) {
	c := readCase(t, "testdata/sitting/debian.txtar")
	c.check(t)
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "."}, {"-c", "user.name=Ann", "-c", "user.email=ann@example.org", "commit", "-qm", "Build"}} {
		git := testkit.Command(filepath.Join(c.dir, "house"), testkit.Tool(t, "git", "git"), args...)
		git.Env = append(git.Env, "GIT_AUTHOR_DATE=2020-05-04T12:00:00Z", "GIT_COMMITTER_DATE=2020-05-04T12:00:00Z")
		if out, err := git.CombinedOutput(); err != nil {
			t.Fatalf("git: %v\n%s", err, out)
		}
	}
	apache := c.startOrigin(t)
	site := c.importAll(t)

	// The one line that the owner adds.
	text := c.read(t, "site.yaml")
	if err := os.WriteFile(site, []byte("status_socket: "+filepath.Join(c.dir, "run", "status.sock")+"\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := testkit.Command("", program, "-t", "-c", site).CombinedOutput(); err != nil {
		t.Fatalf("-t: %v\n%s", err, out)
	}

	beside := testkit.Start(t, testkit.Command(c.dir, program, "-c", site, "-p", "0"))
	var want []answer
	for _, r := range c.requests {
		want = append(want, c.ask(t, r))
	}
	c.sameAs(t, "beside Apache", strings.TrimPrefix(beside.URL, "http://127.0.0.1:"), want)
	if code := beside.Stop(os.Interrupt); code != 0 {
		t.Errorf("the trial ended with %d", code)
	}

	apache.stop()
	testkit.Start(t, testkit.Command(c.dir, program, "-c", site))
	c.sameAs(t, "in place of Apache", c.port, want)

	out, err := testkit.Command("", program, "status", "-c", site, "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var status struct {
		Mounts []struct {
			Mount  string `json:"mount"`
			Totals struct {
				Requests int `json:"requests"`
			} `json:"totals"`
		} `json:"mounts"`
	}
	if err := json.Unmarshal(out, &status); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	requests := map[string]int{}
	for _, m := range status.Mounts {
		requests[m.Mount] = m.Totals.Requests
	}
	for mount, least := range map[string]int{"/cgit": 4, "/gitweb": 3, "/cgi-bin": 1} {
		if requests[mount] < least {
			t.Errorf("%s has served %d requests by the status, want at least %d:\n%s", mount, requests[mount], least, out)
		}
	}
}

// sameAs asks at a port and compares the answers.
func (c *movedCase) sameAs(t *testing.T, where, port string, want []answer) {
	t.Helper()
	there := *c
	there.port = port
	for i, r := range c.requests {
		if diff := cmp.Diff(want[i], there.ask(t, r)); diff != "" {
			t.Errorf("%s, %s (-Apache +pagi-bridge):\n%s", where, r.text, diff)
		}
	}
}
