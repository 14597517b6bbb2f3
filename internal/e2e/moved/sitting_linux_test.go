package moved_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/internal/vitals"
)

// TestAMachineMovesInOneSitting does what the owner of a machine with Apache and three CGI packages of Debian does: import, -t, serve at
// another port beside Apache, compare, switch, look at the status, at top and at the page, and install the deb, whose service then serves the
// same site.
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
	imported := c.read(t, "site.yaml")
	c.own(t, imported, filepath.Join(c.dir, "run/status.sock"))
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
	now := testkit.Start(t, testkit.Command(c.dir, program, "-c", site))
	c.sameAs(t, "in place of Apache", c.port, want)
	c.watch(t, func(args ...string) (string, error) {
		out, err := testkit.Command("", program, append(args, "-c", site)...).Output()
		return string(out), err
	})
	if code := now.Stop(os.Interrupt); code != 0 {
		t.Errorf("it ended with %d", code)
	}

	t.Run("the deb", func(t *testing.T) {
		m := newMachine(t, c.dir)
		m.install(testkit.Pack(t, "../../..", program, "deb"))
		c.own(t, imported, "/run/pagi-bridge/status.sock")
		m.run("cp", site, "/etc/pagi-bridge/site.yaml")
		service := m.serve()
		c.sameAs(t, "by the service of the package", c.port, want)
		c.watch(t, func(args ...string) (string, error) {
			return m.run("pagi-bridge", append(args, "-c", "/etc/pagi-bridge/site.yaml")...), nil
		})
		service.stop()
	})
}

// own writes the site file with what the owner adds to the imported one: a status socket and a status page.
func (c *movedCase) own(t *testing.T, imported, socket string) {
	t.Helper()
	const mounts = "\nmounts:\n"
	if strings.Count(imported, mounts) != 1 {
		t.Fatalf("the site file has no place for a mount:\n%s", imported)
	}
	text := "status_socket: " + socket + "\n" + strings.Replace(imported, mounts, mounts+"  - path: /gateway\n    status_page: all\n", 1)
	if err := os.WriteFile(filepath.Join(c.dir, "site.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// served are mounts with the least number of requests that they must have served.
var served = map[string]int64{"/cgit": 4, "/gitweb": 3, "/cgi-bin": 1}

// watch looks at the gateway by status, by top and by the status page. run runs the program with the site file.
func (c *movedCase) watch(t *testing.T, run func(args ...string) (string, error)) {
	t.Helper()
	out, err := run("status", "--json")
	var now status.Gateway
	if err = errors.Join(err, json.Unmarshal([]byte(out), &now)); err != nil {
		t.Fatalf("status: %v in %s", err, out)
	}
	requests := map[string]int64{}
	for i := range now.Mounts {
		if m := &now.Mounts[i]; m.Backend != nil {
			requests[m.Mount] = m.Backend.Totals.Requests
		}
	}
	for mount, least := range served {
		if requests[mount] < least {
			t.Errorf("%s has served %d requests by the status, want at least %d:\n%s", mount, requests[mount], least, out)
		}
	}

	table, err := run("top", "--once", "--interval", "100ms")
	if err != nil {
		t.Fatalf("top: %v", err)
	}
	for mount := range served {
		if !regexp.MustCompile(`(?m)^` + mount + ` +cgi +ok `).MatchString(table) {
			t.Errorf("top does not show %s:\n%s", mount, table)
		}
	}

	page := "http://127.0.0.1:" + c.port + "/gateway/"
	if res, text := testkit.Get(t, http.DefaultClient, page); res.StatusCode != 200 || !strings.Contains(text, "<title>Gateway status</title>") {
		t.Errorf("the page: %s\n%s", res.Status, text)
	}
	awaitView(t, page+"events", func(v *vitals.View) bool { // the first one may be some seconds old
		shown := 0
		for i := range v.Mounts {
			m := &v.Mounts[i]
			if least, is := served[m.Mount]; is && m.Requests >= least && m.State == "ok" {
				shown++
			}
		}
		return shown == len(served)
	})
}

// awaitView reads the views of a status page until one is as wanted.
func awaitView(t *testing.T, url string, wanted func(*vitals.View) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req := testkit.NewRequest(t, "GET", url, nil).WithContext(ctx)
	req.Header.Set("Accept", "text/event-stream")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // it is left before its end
	lines, event, last := bufio.NewScanner(res.Body), "", ""
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if name, is := strings.CutPrefix(lines.Text(), "event: "); is {
			event = name
		}
		if data, is := strings.CutPrefix(lines.Text(), "data: "); is && event == "view" {
			var v vitals.View
			if err := json.Unmarshal([]byte(data), &v); err != nil {
				t.Fatalf("%v in %s", err, data)
			}
			if wanted(&v) {
				return
			}
			last = data
		}
	}
	t.Errorf("%s: %s, %v, the last view was %s", url, res.Status, lines.Err(), last)
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
