package command_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// The log, the status and "stack" tell where a worker and a script hang, wherever the processes of their mounts are: in an
// adapter, in one of another user, or in the gateway's process. Slow requests are logged while they run, and when they ended.
func TestWhereProcessesHang(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	isolations, tree := []string{"shared", "none"}, testkit.Tree
	if os.Geteuid() == 0 {
		isolations, tree = append(isolations, "{user: nobody}"), func(t testing.TB, files map[string]string) string { return nobodys(t.(*testing.T), files) }
	}
	for _, isolate := range isolations {
		t.Run(isolate, func(t *testing.T) {
			t.Parallel()
			files := map[string]string{
				"app.psgi": "sub wait_for_it {\n    sleep 1000 while 1;\n}\nsub { wait_for_it() if $_[0]{PATH_INFO} ne '/quick'; [200, [], ['quick']] }\n",
				"cgi/a.cgi": "#!/usr/bin/perl\nprint \"Content-Type: text/plain\\n\\n\";\nsub wait_for_it {\n    sleep 1000 while 1;\n}\n" +
					"wait_for_it() if $ENV{QUERY_STRING};\nprint 'quick';\n",
				"site.yaml": "listen: 127.0.0.1:0\nlog_file: log/log\nstatus_socket: run/status\nworkers: 1\nslow_request: 300ms\nmounts:\n" +
					"  - {path: /app, psgi: app.psgi, request_timeout: 4s, isolate: " + isolate + "}\n" +
					"  - {path: /off, psgi: app.psgi, request_timeout: 1s, slow_request: 0, isolate: " + isolate + "}\n" +
					"  - {path: /cgi, cgi: cgi, mode: fork, request_timeout: 4s, isolate: " + isolate + "}\n",
				"log/": "",
			}
			dir := tree(t, files)
			if err := os.Chmod(filepath.Join(dir, "cgi/a.cgi"), 0o755); err != nil {
				t.Fatal(err)
			}
			g := start(t, dir, "-c", "site.yaml")
			socket := testkit.OverUnix(t, filepath.Join(dir, "run/status"))
			ask := func(method, path string) string {
				t.Helper()
				res, body := testkit.Do(t, socket, testkit.NewRequest(t, method, "http://gateway"+path, nil))
				if res.StatusCode != 200 {
					t.Errorf("%s: %s %s", path, res.Status, body)
				}
				return body
			}
			log := func() string {
				text, err := os.ReadFile(filepath.Join(dir, "log/log"))
				if err != nil {
					t.Fatal(err)
				}
				return string(text)
			}
			g.Eventually("the script to be compiled", func() bool {
				g.get("/cgi/a.cgi")
				return strings.Contains(ask("GET", "/"), `"state":"compiled"`)
			})

			var requests sync.WaitGroup
			for _, path := range []string{"/app/hang", "/cgi/a.cgi?hang"} {
				requests.Go(func() {
					if code, body := g.get(path); code != http.StatusGatewayTimeout {
						t.Errorf("%s: %d %s", path, code, body)
					}
				})
			}
			stack := ""
			g.Eventually("stack to tell of both", func() bool {
				stack = ask("POST", "/stack")
				return strings.Count(stack, "syscall  clock_nanosleep") == 2 && strings.Count(stack, ": GET ") == 2
			})
			for _, want := range []string{"/app  worker 1, process ", ": GET /app/hang\n", "/cgi  script ", ", fork, for ", ": GET /cgi/a.cgi\n", "state    S (sleeping)"} {
				if !strings.Contains(stack, want) {
					t.Errorf("%q is missing in\n%s", want, stack)
				}
			}
			if one := ask("POST", "/stack?mount=/cgi"); strings.Contains(one, "/app") || !strings.Contains(one, "/cgi") {
				t.Errorf("stack /cgi: %s", one)
			}
			requests.Wait()
			if code, _ := g.get("/off/hang"); code != http.StatusGatewayTimeout {
				t.Errorf("/off: %d", code)
			}

			app, script := filepath.Join(dir, "app.psgi"), filepath.Join(dir, "cgi/a.cgi")
			g.Eventually("all to be in the log", func() bool {
				return strings.Count(log(), "where it hung") == 3 && strings.Count(log(), "a slow request has ended") == 2
			})
			for _, want := range []string{
				fmt.Sprintf(`perl="%s:2 wait_for_it < %s:4`, app, app), fmt.Sprintf(`perl="%s:4 main::wait_for_it < %s:6`, script, script),
				`mount=/app`, `mount=/off`, `request="GET /app/hang"`, "syscall=clock_nanosleep",
			} {
				if !strings.Contains(log(), want) {
					t.Errorf("%q is missing in the log", want)
				}
			}
			slow := map[string]int{}
			for line := range strings.Lines(log()) {
				for _, about := range []string{"a request is slow", "a slow request has ended"} {
					if strings.Contains(line, about) {
						for _, mount := range []string{"/app", "/cgi"} {
							if strings.Contains(line, "mount="+mount+" ") {
								slow[about+mount]++
							}
						}
						if !strings.Contains(line, "pid=") || about == "a request is slow" && !strings.Contains(line, "syscall=clock_nanosleep") {
							t.Errorf("not the process that sleeps: %s", line)
						}
					}
				}
			}
			for _, about := range []string{"a request is slow/app", "a request is slow/cgi", "a slow request has ended/app", "a slow request has ended/cgi"} {
				if slow[about] != 1 {
					t.Errorf("%s: %d lines", about, slow[about])
				}
			}
			if !strings.Contains(log(), "status=504") {
				t.Error("no status in the lines of slow requests")
			}
			var r status.Gateway
			if err := json.Unmarshal([]byte(ask("GET", "/")), &r); err != nil {
				t.Fatal(err)
			}
			hung := 0
			for _, m := range r.Mounts {
				if m.Mount == "/app" && m.LastHang != nil && len(m.LastHang.Perl) > 0 && m.LastHang.Request != nil {
					hung++
				}
			}
			if hung != 1 {
				t.Error("the status does not tell where /app hung")
			}
			if code, _ := g.get("/app/quick"); code != 200 {
				t.Errorf("afterwards: %d", code)
			}
			if t.Failed() {
				t.Logf("%s", log())
			}
		})
	}
}

// What stack cannot do is said.
func TestStackRefuses(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"f.txt": "", "site.yaml": "listen: 127.0.0.1:0\nstatus_socket: run/status\nmounts: [{path: /, file: .}]\n"})
	start(t, dir, "-c", "site.yaml")
	for line, want := range map[string]struct {
		code int
		text string
	}{
		"stack":          {0, "no worker and no script runs"},
		"stack /none":    {1, "there is no mount /none"},
		"stack --pid 1":  {1, "no worker and no script has the process number 1"},
		"stack --pid x":  {2, "pid"},
		"stack / /other": {2, "unexpected argument"},
		"stack --help":   {0, "--pid N"},
	} {
		args := strings.Fields(line)
		if line != "stack --help" {
			args = append(args, "-c", "site.yaml")
		}
		code, stdout, stderr := once(t, dir, args...)
		if code != want.code || !strings.Contains(stdout+stderr, want.text) {
			t.Errorf("%s: %d %q, want %d %q", line, code, stdout+stderr, want.code, want.text)
		}
	}
}
