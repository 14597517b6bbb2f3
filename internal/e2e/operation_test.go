package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// visitors are clients that ask all the time, some on connections they keep,
// some on a new one each time, some with a body.
type visitors struct {
	t      *testing.T
	done   chan struct{}
	roots  *x509.CertPool // nil: without TLS
	all    sync.WaitGroup
	served atomic.Int64
}

func newVisitors(t *testing.T, url string, roots *x509.CertPool) *visitors {
	c := &visitors{t: t, done: make(chan struct{}), roots: roots}
	for i := range 6 {
		c.all.Go(func() { c.ask(url, i%3) })
	}
	return c
}

func (c *visitors) ask(url string, kind int) {
	transport := &http.Transport{DisableKeepAlives: kind == 1, ForceAttemptHTTP2: kind == 0}
	if c.roots != nil {
		transport.TLSClientConfig = &tls.Config{RootCAs: c.roots}
	}
	client := &http.Client{Transport: transport, Timeout: testkit.Patience}
	defer client.CloseIdleConnections()
	for {
		select {
		case <-c.done:
			return
		default:
		}
		method, body := "GET", ""
		if kind == 2 {
			method, body = "POST", strings.Repeat("x", 1000)
		}
		req, err := http.NewRequest(method, url, strings.NewReader(body))
		if err != nil {
			c.t.Error(err)
			return
		}
		res, err := client.Do(req)
		if err != nil {
			c.t.Error(err)
			return
		}
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != 200 || !strings.HasPrefix(string(text), "version ") {
			c.t.Errorf("%s: %s %q %v", method, res.Status, text, err)
		}
		c.served.Add(1)
	}
}

// more waits until some more requests were served.
func (c *visitors) more() {
	c.t.Helper()
	from := c.served.Load()
	testkit.Eventually(c.t, "more requests to be served", func() bool { return c.served.Load() > from+50 })
}

func (c *visitors) leave() {
	close(c.done)
	c.all.Wait()
}

// siteOf is a site file whose application answers with a version.
func siteOf(version string) string {
	return fmt.Sprintf("listen: 127.0.0.1:0\nworkers: 2\nmounts:\n  - {path: /, psgi: {code: \"sub { [200, [], ['version %s ' . $$]] }\"}}\n", version)
}

func signal(t *testing.T, p *os.Process, s os.Signal) {
	t.Helper()
	if err := p.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// HUP with another site file: a new tree takes the place of the old one, no request fails, and
// connections stay.
func TestSiteReload(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	file := filepath.Join(t.TempDir(), "site.yaml")
	write(t, file, siteOf("one"))
	g := serveProgram(t, program, "-c", file)
	clients := newVisitors(t, g.URL, nil)
	kept := testkit.Dial(t, g.Address())
	body := func() string {
		t.Helper()
		kept.Say("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		_, body := kept.Response("GET")
		return body
	}
	first := body()
	clients.more()

	write(t, file, siteOf("two")+"timeout: 77\nuser: nobody\n")
	signal(t, g.Process, syscall.SIGHUP)
	g.Log.WaitFor(t, "level=INFO", "reload: done")
	g.Log.WaitFor(t, "level=WARN", "take effect at the next restart", "settings=user")
	second := body()
	if !strings.HasPrefix(first, "version one") || !strings.HasPrefix(second, "version two") {
		t.Errorf("on one connection: %q, %q", first, second)
	}
	clients.more()

	write(t, file, siteOf("three")+"timeuot: 77\n")
	signal(t, g.Process, syscall.SIGHUP)
	g.Log.WaitFor(t, "level=ERROR", "reload: failed", `did you mean \"timeout\"?`)
	write(t, file, strings.ReplaceAll(siteOf("three"), "sub {", "syntax error"))
	signal(t, g.Process, syscall.SIGHUP)
	g.Log.WaitFor(t, "level=ERROR", "reload: failed", "syntax error at")
	if now := body(); now != second && !strings.HasPrefix(now, "version two") {
		t.Errorf("after broken ones: %q", now)
	}
	clients.more()

	// The same text: only the Perl processes are new.
	write(t, file, siteOf("two")+"timeout: 77\nuser: nobody\n")
	before := strings.Count(g.Log.String(), "reload: done")
	signal(t, g.Process, syscall.SIGHUP)
	testkit.Eventually(t, "the reload", func() bool { return strings.Count(g.Log.String(), "reload: done") > before })
	if now := body(); !strings.HasPrefix(now, "version two") || now == second {
		t.Errorf("with the same file: %q after %q", now, second)
	}
	clients.more()
	clients.leave()
}

var restarted = regexp.MustCompile(`restart: the new process serves.* pid=(\d+)`)

// successorOf waits until another process has taken over, and returns its number. It is
// killed when the test ends.
func successorOf(t *testing.T, g *gateway) (pid int) {
	t.Helper()
	testkit.Eventually(t, "the successor", func() bool { return restarted.MatchString(g.Log.String()) })
	pid, err := strconv.Atoi(restarted.FindStringSubmatch(g.Log.String())[1])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) }) // mostly it has ended
	return pid
}

// USR2: another process takes the sockets and no request fails. If the new process cannot start,
// the old one goes on serving.
func TestHotRestart(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	dir := t.TempDir()
	file, pidFile, socket := filepath.Join(dir, "site.yaml"), filepath.Join(dir, "pid"), filepath.Join(dir, "s")
	rest := "pid_file: pid\n"
	write(t, file, strings.Replace(siteOf("one"), "127.0.0.1:0", "[127.0.0.1:0, ./s]", 1)+rest)
	g := serveProgram(t, program, "-c", file)
	clients := newVisitors(t, g.URL, nil)
	clients.more()

	write(t, file, "mounts: []\n")
	signal(t, g.Process, syscall.SIGUSR2)
	g.Log.WaitFor(t, "level=ERROR", "restart: failed", "needs at least one mount")
	write(t, file, strings.ReplaceAll(siteOf("broken"), "sub {", "syntax error"))
	signal(t, g.Process, syscall.SIGUSR2)
	testkit.Eventually(t, "the second failure", func() bool { return strings.Count(g.Log.String(), "restart: failed") == 2 })
	if _, body := g.get("/"); !strings.HasPrefix(body, "version one") {
		t.Errorf("after what failed: %q", body)
	}
	clients.more()

	write(t, file, strings.Replace(siteOf("two"), "127.0.0.1:0", "[127.0.0.1:0, ./s]", 1)+rest)
	signal(t, g.Process, syscall.SIGUSR2)
	successor := successorOf(t, g)
	if code := g.Wait(); code != 0 {
		t.Errorf("the old process: exit code %d", code)
	}
	clients.more()
	clients.leave()
	if _, body := g.get("/"); !strings.HasPrefix(body, "version two") {
		t.Errorf("afterwards: %q", body)
	}
	if text, err := os.ReadFile(pidFile); err != nil || string(text) != strconv.Itoa(successor)+"\n" {
		t.Errorf("pid file: %q, %v; want %d", text, err, successor)
	}
	over := testkit.Dial(t, socket)
	over.Say("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if _, body := over.Response("GET"); !strings.HasPrefix(body, "version two") {
		t.Errorf("over the Unix socket: %q", body)
	}
	if err := syscall.Kill(successor, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the successor to clean up", func() bool {
		left, err := filepath.Glob(filepath.Join(dir, "*"))
		return err == nil && len(left) == 1
	})
	testkit.Eventually(t, "the successor to end", func() bool { return syscall.Kill(successor, 0) != nil || isZombie(successor) })
}

// The same over TLS, HTTP/2 and HTTP/1, and a reload in the new process.
func TestHotRestartOverTLS(t *testing.T) {
	pair := testkit.Certificate(t)
	file := filepath.Join(t.TempDir(), "site.yaml")
	site := func(version string) string {
		return fmt.Sprintf("listen: 127.0.0.1:0\ntls: {cert: %s, key: %s}\nmounts: [{not_found: version %s, status: 200}]\n", pair.CertFile, pair.KeyFile, version)
	}
	write(t, file, site("1"))
	g := serveProgram(t, program, "-c", file)
	clients := newVisitors(t, g.URL, pair.Pool)
	clients.more()
	write(t, file, site("2"))
	signal(t, g.Process, syscall.SIGHUP)
	g.Log.WaitFor(t, "level=INFO", "reload: done")
	clients.more()
	signal(t, g.Process, syscall.SIGUSR2)
	successor := successorOf(t, g)
	if code := g.Wait(); code != 0 {
		t.Errorf("the old process: exit code %d", code)
	}
	clients.more()
	write(t, file, site("3"))
	if err := syscall.Kill(successor, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	secure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pair.Pool}}}
	defer secure.CloseIdleConnections()
	testkit.Eventually(t, "the successor's reload", func() bool {
		_, body := testkit.Get(t, secure, g.URL+"/")
		return strings.HasPrefix(body, "version 3")
	})
	clients.more()
	clients.leave()
	if err := syscall.Kill(successor, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the successor to end", func() bool { return syscall.Kill(successor, 0) != nil || isZombie(successor) })
}

// isZombie reports whether a process has ended and waits for its parent.
func isZombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") Z ")
}
