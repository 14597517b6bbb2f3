package command_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

const drainSite = "listen: 127.0.0.1:0\nlog_file: log\nstatus_socket: run/status\nworkers: 2\nisolate: none\n" +
	"middleware:\n  - healthcheck: {live_path: /live, ready_path: /ready}\n" +
	"mounts:\n  - {path: /a, psgi: app.psgi}\n  - {path: /, directory: .}\n"

// drained starts a gateway with a status socket, and returns a function for its commands.
func drained(t *testing.T, site string) (g *gateway, dir string, order func(want int, args ...string) string) {
	t.Helper()
	testkit.Tool(t, "perl", "perl")
	dir = testkit.Tree(t, map[string]string{
		"app.psgi": "use Time::HiRes; sub { my $e = shift; if ($e->{PATH_INFO} eq '/slow') { Time::HiRes::sleep(.05) until -e 'go' } [200, [], ['app']] }",
		"f.txt":    "file", "site.yaml": site,
	})
	g = &gateway{testkit.StartAnyExit(t, testkit.Command(dir, program, "-c", "site.yaml")), t}
	return g, dir, func(want int, args ...string) string {
		t.Helper()
		code, stdout, stderr := once(t, dir, append(args, "-c", "site.yaml")...)
		if code != want {
			t.Errorf("%v: exit code %d, want %d: %s%s", args, code, want, stdout, stderr)
		}
		return stdout + stderr
	}
}

// put writes a file into a directory.
func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ask makes a request beside the test, and returns a channel that yields the body of the answer, or the error.
func ask(g *gateway, path string) <-chan string {
	answer := make(chan string, 1)
	go func() {
		res, err := http.Get(g.URL + path)
		if err != nil {
			answer <- err.Error()
			return
		}
		body, err := io.ReadAll(res.Body)
		if err = errors.Join(err, res.Body.Close()); err != nil {
			answer <- err.Error()
			return
		}
		answer <- string(body)
	}()
	return answer
}

func TestDrain(t *testing.T) {
	g, _, order := drained(t, drainSite)
	ready := func() int { code, _ := g.get("/ready"); return code }
	now := func() (s status.Gateway) {
		t.Helper()
		if err := json.Unmarshal([]byte(order(0, "status", "--json")), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	if ready() != 200 || !now().Draining.IsZero() {
		t.Error("a gateway is not ready, or is being drained, from the start")
	}
	if got := order(1, "drain", "--cancel"); !strings.Contains(got, "the gateway is not being drained") {
		t.Errorf("%q", got)
	}

	if got := order(0, "drain", "--delay", "1h"); got != "the gateway is not ready any more, and stops in 1h0m0s\n" {
		t.Errorf("%q", got)
	}
	if code, body := g.get("/ready"); code != 503 || !strings.Contains(body, "it is being drained") {
		t.Errorf("readiness: %d %s", code, body)
	}
	for path, want := range map[string]int{"/live": 200, "/f.txt": 200, "/a": 200, "/ready?mount=/a": 503} {
		if code, _ := g.get(path); code != want {
			t.Errorf("while it is being drained %s is %d, want %d", path, code, want)
		}
	}
	if s := now(); s.Draining.IsZero() || time.Until(s.Stops) < 50*time.Minute {
		t.Errorf("the status tells of %v and %v", s.Draining, s.Stops)
	}
	if got := order(0, "status"); !strings.Contains(got, "is being drained, stops in ") {
		t.Errorf("%q", got)
	}
	order(0, "reload") // does not end it
	if ready() != 503 {
		t.Error("a reload made the gateway ready")
	}

	order(0, "drain", "--cancel")
	if s := now(); ready() != 200 || !s.Draining.IsZero() || !s.Stops.IsZero() {
		t.Error("after --cancel the gateway is not ready")
	}
	began := time.Now()
	if got := order(0, "drain", "--wait", "--delay", "300ms"); !strings.Contains(got, "stops in 300ms") || time.Since(began) < 300*time.Millisecond {
		t.Errorf("%q after %v", got, time.Since(began))
	}
	if code := g.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if got := order(1, "drain"); !strings.Contains(got, "no gateway answers") {
		t.Errorf("%q", got)
	}
}

// A running request is finished by the stop that follows.
func TestDrainFinishesRequests(t *testing.T) {
	g, dir, order := drained(t, drainSite)
	answer := ask(g, "/a/slow")
	g.Eventually("the request is running", func() bool { return strings.Contains(order(0, "status"), "GET /a/slow") })
	order(0, "drain", "--delay", "0s")
	put(t, dir, "go", "")
	if body := testkit.Await(t, answer); body != "app" {
		t.Errorf("the running request got %q", body)
	}
	if code := g.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestDrainAMount(t *testing.T) {
	g, dir, order := drained(t, drainSite)
	answer := ask(g, "/a/slow")
	g.Eventually("the request is running", func() bool { return strings.Contains(order(0, "status"), "GET /a/slow") })

	if got := order(0, "drain", "/a"); got != "/a is drained: new requests get 503\n" {
		t.Errorf("%q", got)
	}
	res, _ := testkit.Get(t, http.DefaultClient, g.URL+"/a/")
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("a new request: %s %v", res.Status, res.Header)
	}
	for path, want := range map[string]int{"/f.txt": 200, "/ready": 200, "/ready?mount=/a": 503, "/ready?mount=/": 200, "/ready?mount=/none": 404} {
		if code, body := g.get(path); code != want {
			t.Errorf("%s: %d %s, want %d", path, code, body, want)
		}
	}
	if got := order(0, "status"); !strings.Contains(got, "  drained for ") {
		t.Errorf("%q", got)
	}
	put(t, dir, "site.yaml", drainSite+"  - {path: /new, directory: .}\n")
	order(0, "reload")
	if code, _ := g.get("/a/"); code != 503 {
		t.Errorf("after a reload of the site file: %d", code)
	}
	put(t, dir, "go", "")
	if body := testkit.Await(t, answer); body != "app" {
		t.Errorf("the running request got %q", body)
	}
	order(0, "drain", "/a", "--wait")
	order(0, "drain", "/a", "--cancel")
	if code, body := g.get("/a/"); code != 200 || body != "app" {
		t.Errorf("after --cancel: %d %s", code, body)
	}
	for _, c := range []struct {
		code       int
		want, args string
	}{
		{1, "/a is not drained", "drain /a --cancel"},
		{1, "there is no mount /b that can be drained; there are: /, /a, /new", "drain /b"},
		{2, "--delay is for the whole gateway", "drain /a --delay 1s"},
		{2, "unexpected argument", "drain /a /b"},
		{2, "--cancel goes without", "drain --cancel --wait"},
		{1, "is no delay", "drain --delay=-1s"},
	} {
		if got := order(c.code, strings.Fields(c.args)...); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.args, got, c.want)
		}
	}
	if code := g.Stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestDrainNamesTheMissingHealthcheck(t *testing.T) {
	_, _, order := drained(t, "listen: 127.0.0.1:0\nlog_file: log\nstatus_socket: run/status\nmounts:\n  - {path: /, directory: .}\n")
	if got := order(0, "drain", "--delay", "1h"); !strings.Contains(got, "it has no middleware healthcheck") {
		t.Errorf("%q", got)
	}
}
