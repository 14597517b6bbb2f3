// Package e2e tests the built program from the outside: real sockets, real
// clients, real Perl frameworks.
package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// program is the binary under test, mixedSite the one of the example.
var program, mixedSite string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pagi-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	for path, pkg := range map[*string]string{&program: "./cmd/pagi-bridge", &mixedSite: "./examples/20-mixed-site"} {
		*path = filepath.Join(dir, filepath.Base(pkg))
		build := exec.Command("go", "build", "-o", *path, pkg)
		build.Dir = root
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "build", pkg, err)
			return 1
		}
	}
	return m.Run()
}

// root is the repository's top.
const root = "../.."

func testdata(name string) string {
	path, err := filepath.Abs(filepath.Join(root, "testdata/apps", name))
	if err != nil {
		panic(err)
	}
	return path
}

// needPerl skips the test when a Perl module is missing.
func needPerl(t *testing.T, module, debian string) {
	t.Helper()
	if err := exec.Command("perl", "-M"+module, "-e", "1").Run(); err != nil {
		t.Skipf("the Perl module %s is not installed (apt-get install %s)", module, debian)
	}
}

// gateway is a running program.
type gateway struct {
	t    *testing.T
	cmd  *exec.Cmd
	url  string // without a slash at the end
	log  *testkit.Log
	exit chan error
}

var served = regexp.MustCompile(`Serving at (http\S*)/`)

// serve starts the program on a free port and stops it when the test ends.
func serve(t *testing.T, args ...string) *gateway {
	t.Helper()
	return serveProgram(t, program, append([]string{"-p", "0"}, args...)...)
}

func serveProgram(t *testing.T, path string, args ...string) *gateway {
	t.Helper()
	g := &gateway{t: t, log: &testkit.Log{}, exit: make(chan error, 1)}
	g.cmd = exec.Command(path, args...)
	g.cmd.Env = append(os.Environ(), "PLACK_ENV=", "PAGI_ENV=")
	stderr, err := g.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := make(chan string, 1)
	go func() {
		lines := bufio.NewReader(io.TeeReader(stderr, g.log))
		for {
			line, err := lines.ReadString('\n')
			if m := served.FindStringSubmatch(line); m != nil {
				address <- m[1]
			}
			if err != nil {
				break
			}
		}
		g.exit <- g.cmd.Wait()
	}()
	t.Cleanup(func() {
		g.stop()
		if t.Failed() {
			t.Logf("log:\n%s", g.log)
		}
	})
	select {
	case g.url = <-address:
	case err := <-g.exit:
		g.exit <- err
		t.Fatalf("it did not start: %v\n%s", err, g.log)
	case <-time.After(testkit.Patience):
		t.Fatalf("it did not say where it serves:\n%s", g.log)
	}
	return g
}

// stop stops the program gracefully; it must exit with 0.
func (g *gateway) stop() {
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		g.t.Error(err)
	}
	select {
	case err := <-g.exit:
		if err != nil {
			g.t.Errorf("exit: %v", err)
		}
		g.exit <- err
	case <-time.After(testkit.Patience):
		g.t.Error("it did not stop")
		if err := g.cmd.Process.Kill(); err != nil {
			g.t.Error(err)
		}
	}
}

// address is host:port for a raw connection.
func (g *gateway) address() string { return strings.TrimPrefix(g.url, "http://") }

var client = &http.Client{
	Timeout:       time.Minute,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// request sends a request and returns the response with its body read.
func (g *gateway) request(method, path, contentType string, body io.Reader) (*http.Response, string) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, g.url+path, body)
	if err != nil {
		g.t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := client.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatalf("%s %s: %v", method, path, err)
	}
	return res, string(b)
}

func (g *gateway) get(path string) (*http.Response, string) {
	g.t.Helper()
	return g.request("GET", path, "", nil)
}
