package examples

import (
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/examples/01-hello-http/hello"
	"github.com/pagi-go/pagi-bridge/examples/02-streaming-response/chunks"
	"github.com/pagi-go/pagi-bridge/examples/03-request-body/body"
	"github.com/pagi-go/pagi-bridge/examples/04-websocket-echo/echo"
	"github.com/pagi-go/pagi-bridge/examples/05-sse-broadcaster/ticks"
	"github.com/pagi-go/pagi-bridge/examples/06-lifespan-state/greeting"
	"github.com/pagi-go/pagi-bridge/examples/07-extension-fullflush/lines"
	"github.com/pagi-go/pagi-bridge/examples/08-tls-introspection/tlsinfo"
	"github.com/pagi-go/pagi-bridge/examples/09-psgi-bridge/perl"
	"github.com/pagi-go/pagi-bridge/examples/10-chat-showcase/chat"
	"github.com/pagi-go/pagi-bridge/examples/11-job-runner/jobs"
	"github.com/pagi-go/pagi-bridge/examples/12-utf8/utf8page"
	"github.com/pagi-go/pagi-bridge/examples/13-contact-form/contact"
	"github.com/pagi-go/pagi-bridge/examples/13-flow-control/feed"
	"github.com/pagi-go/pagi-bridge/examples/14-periodic-events/periodic"
	"github.com/pagi-go/pagi-bridge/examples/15-embedded/host"
	"github.com/pagi-go/pagi-bridge/examples/16-foreign-server/foreign"
	"github.com/pagi-go/pagi-bridge/examples/17-event-middleware/ticking"
	"github.com/pagi-go/pagi-bridge/examples/18-bidirectional-websocket/duplex"
	"github.com/pagi-go/pagi-bridge/examples/background-tasks/tasks"
	"github.com/pagi-go/pagi-bridge/examples/endpoint-demo/demo"
	"github.com/pagi-go/pagi-bridge/examples/endpoint-router-demo/site"
	"github.com/pagi-go/pagi-bridge/examples/sse-close/progress"
	"github.com/pagi-go/pagi-bridge/examples/sse-dashboard/dashboard"
	"github.com/pagi-go/pagi-bridge/examples/websocket-chat-v2/visits"
	echo2 "github.com/pagi-go/pagi-bridge/examples/websocket-echo-v2/echo"
	"github.com/pagi-go/pagi-bridge/internal/dialog"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest/socket"
	"github.com/pagi-go/pagi-bridge/server"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // what the examples say to a person
	socket.Main(m)
}

// soon is the pause of the applications that wait for a second or more when they are run by hand.
const soon = 5 * time.Millisecond

// applications are the examples with a file of requests, each as it is to be served in a test.
var applications = map[string]func(t *testing.T) pagi.App{
	"01-hello-http":              func(*testing.T) pagi.App { return hello.New() },
	"02-streaming-response":      func(*testing.T) pagi.App { return chunks.New(soon) },
	"03-request-body":            func(*testing.T) pagi.App { return body.New() },
	"04-websocket-echo":          func(*testing.T) pagi.App { return echo.New() },
	"05-sse-broadcaster":         func(*testing.T) pagi.App { return ticks.New(soon) },
	"06-lifespan-state":          func(*testing.T) pagi.App { return greeting.New() },
	"07-extension-fullflush":     func(*testing.T) pagi.App { return lines.New() },
	"08-tls-introspection":       func(*testing.T) pagi.App { return tlsinfo.New() },
	"09-psgi-bridge":             psgiBridge,
	"12-utf8":                    func(*testing.T) pagi.App { return utf8page.New() },
	"13-contact-form":            func(t *testing.T) pagi.App { return contact.New(filepath.Join(t.TempDir(), "uploads")) },
	"13-flow-control":            func(*testing.T) pagi.App { return feed.New(soon) },
	"14-periodic-events":         func(*testing.T) pagi.App { return periodic.New(4*soon, 10*soon) },
	"16-foreign-server":          func(*testing.T) pagi.App { return nethttp.App(foreign.New(soon)) },
	"17-event-middleware":        func(*testing.T) pagi.App { return ticking.New(soon) },
	"18-bidirectional-websocket": func(*testing.T) pagi.App { return duplex.New(100 * time.Millisecond) },
	"app-01-file":                func(*testing.T) pagi.App { return &apps.File{Root: "app-01-file/static"} },
	"background-tasks":           func(*testing.T) pagi.App { return tasks.New(soon, func(string, ...any) {}) },
	"endpoint-demo":              func(*testing.T) pagi.App { return demo.New() },
	"endpoint-router-demo":       func(*testing.T) pagi.App { return site.New(4 * soon) },
	"sse-dashboard":              func(*testing.T) pagi.App { return dashboard.New(4 * soon) },
	"10-chat-showcase":           func(*testing.T) pagi.App { return chat.New(time.Hour) },
	"websocket-chat-v2":          func(*testing.T) pagi.App { return visits.New(time.Hour) },
	"11-job-runner":              func(*testing.T) pagi.App { return jobs.New(3, time.Second) },
	"sse-close":                  func(*testing.T) pagi.App { return progress.New(soon) },
	"websocket-echo-v2":          func(*testing.T) pagi.App { return echo2.New() },
}

func psgiBridge(t *testing.T) pagi.App {
	testkit.Tool(t, "perl", "perl")
	app, err := perl.New()
	if err != nil {
		t.Fatal(err)
	}
	return app
}

// once skips a test in the second run, which is over sockets (see package socket), if the test uses them anyway.
func once(t *testing.T) {
	t.Helper()
	if os.Getenv(socket.Variable) != "" {
		t.Skipf("it is the same without %s", socket.Variable)
	}
}

// serve serves an application, each of whose violations of the specification makes a request fail, and returns its
// URL.
func serve(t *testing.T, app pagi.App, set ...func(*server.Server)) string {
	t.Helper()
	s := &server.Server{App: middleware.Lint{Strict: true}.Wrap(app), Logger: new(testkit.Log).Logger()}
	for _, f := range set {
		f(s)
	}
	return run(t, s, s.Run)
}

// run runs a server at a free port until the test ends. A server that does not end by itself then fails the test.
func run(t *testing.T, s *server.Server, f func(context.Context) error) string {
	t.Helper()
	addrs := make(chan []net.Addr, 1)
	s.Listen = []string{"127.0.0.1:0"}
	s.Ready = func(a []net.Addr) error { addrs <- a; return nil }
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := testkit.Await(t, ended); err != nil {
			t.Error(err)
		}
	})
	select {
	case a := <-addrs:
		return strings.TrimSuffix(server.URL("http", a[0]), "/")
	case err := <-ended:
		t.Fatal(err)
		return ""
	}
}

// Each example answers the requests of its file over a socket, and does what its README.md shows.
func TestDialogs(t *testing.T) {
	once(t)
	files, err := filepath.Glob("*/requests.json")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"15-embedded": true} // it has a test of its own
	for name := range applications {
		known[name] = true
	}
	for _, path := range files {
		name := filepath.Dir(path)
		if !known[name] {
			t.Errorf("%s has no application here", name)
			continue
		}
		delete(known, name)
		if name == "15-embedded" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hold(t, name, serve(t, applications[name](t)))
		})
	}
	for name := range known {
		t.Errorf("%s has no requests.json", name)
	}
}

// hold puts an example's dialogs to a server, and then the commands of its README.md.
func hold(t *testing.T, name, url string) {
	file, err := dialog.Load(filepath.Join(name, "requests.json"))
	if err != nil {
		t.Fatal(err)
	}
	if file.Upstream == "" {
		t.Error("requests.json does not name the program in Perl")
	}
	for _, d := range file.Dialogs {
		t.Run(d.Name, func(t *testing.T) { d.Hold(t, url) })
	}
	t.Run("README.md", func(t *testing.T) { follow(t, name, url) })
}

// shownURL is the address that the pages show.
const shownURL = "http://127.0.0.1:5000"

// follow runs the commands of the blocks "```console" in the README.md of an example that name the address of its
// server, and compares their output with what is shown. A line "..." there stands for any number of lines.
func follow(t *testing.T, name, url string) {
	page, err := os.ReadFile(filepath.Join(name, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(string(page), "```console\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		for _, session := range strings.Split("\n"+block, "\n$ ")[1:] {
			command, shown, _ := strings.Cut(session, "\n")
			if !strings.Contains(command, shownURL) {
				continue
			}
			testkit.Tool(t, "curl", "curl")
			cmd := testkit.Command(name, "sh", "-c", strings.ReplaceAll(command, shownURL, url))
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			var output bytes.Buffer
			cmd.Stdout = &output
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			limit := time.AfterFunc(testkit.Patience, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }) // an error says that it has ended
			err := cmd.Wait()
			limit.Stop()
			if err != nil {
				t.Errorf("%s: %v", command, err)
			}
			if got := strings.TrimRight(strings.ReplaceAll(output.String(), "\r\n", "\n"), "\n"); !matches(strings.TrimRight(shown, "\n"), got) {
				t.Errorf("%s\ngave:\n%s\nthe page shows:\n%s", command, got, shown)
			}
		}
	}
}

// matches compares lines with those shown, of which "..." alone stands for any number of lines, and "..." within a
// line for any text.
func matches(shown, got string) bool {
	want, have := strings.Split(shown, "\n"), strings.Split(got, "\n")
	for i, line := range want {
		if line == "..." {
			rest := strings.Join(want[i+1:], "\n")
			for j := range len(have) + 1 {
				if matches(rest, strings.Join(have[j:], "\n")) || i+1 == len(want) {
					return true
				}
			}
			return false
		}
		if len(have) == 0 {
			return false
		}
		if !like(line).MatchString(have[0]) {
			return false
		}
		have = have[1:]
	}
	return len(have) == 0
}

// like matches a line in which "..." stands for any text.
func like(line string) *regexp.Regexp {
	parts := strings.Split(line, "...")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
}

func TestEmbedded(t *testing.T) {
	program := &host.Program{Interval: time.Millisecond}
	program.Server.Logger = new(testkit.Log).Logger()
	url := run(t, &program.Server, program.Run)
	testkit.Eventually(t, "the program's own work", func() bool {
		_, text := testkit.Get(t, http.DefaultClient, url+"/")
		return !strings.Contains(text, "has done 0 rounds")
	})
	hold(t, "15-embedded", url)
}
