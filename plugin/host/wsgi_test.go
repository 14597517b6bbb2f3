package host_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/mux"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/plugin/host"
)

// wsgiApp is wrapped in Python's own validator of WSGI servers, but for what the validator does not allow applications.
const wsgiApp = `
import os, sys, time
from wsgiref.validate import validator

def checked(environ, start_response):
    path = environ["PATH_INFO"]
    text = [("Content-Type", "text/plain")]
    if path == "/environ":
        start_response("200 OK", text)
        return [("%s=%s\n" % (k, environ[k])).encode("latin-1") for k in sorted(environ) if isinstance(environ[k], str)]
    if path == "/echo":
        start_response("200 OK", text)
        return iter(lambda: environ["wsgi.input"].read(10000), b"")
    if path == "/lines":
        start_response("200 OK", text)
        return [b"|".join(environ["wsgi.input"].readline(1000) for _ in range(3)), b"+", environ["wsgi.input"].read(100000)]
    if path == "/stream":
        start_response("201 Created", text + [("X-Two", "a"), ("X-Two", "b")])
        return (b"piece %d\n" % n for n in range(3))
    if path == "/errors":
        environ["wsgi.errors"].write("one line\nand another")
        environ["wsgi.errors"].flush()
    if path == "/written":
        write = start_response("200 OK", text)
        write(b"written, ")
        return [b"returned"]
    if path == "/large":
        start_response("200 OK", text)
        return [b"0123456789abcdef" * 65536]
    if path == "/twice":
        try:
            raise ValueError("at first")
        except ValueError:
            start_response("500 Internal Server Error", text, sys.exc_info())
        return [b"an error page"]
    start_response("200 OK", text)
    return [b"hello"]

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/die":
        raise RuntimeError("the application is broken")
    if path == "/late":
        start_response("200 OK", [])
        return late()
    if path == "/pid":
        start_response("200 OK", [])
        return [str(os.getpid()).encode()]
    if path == "/forever":
        start_response("200 OK", [])
        return forever()
    return validator(checked)(environ, start_response)

def late():
    yield b"a beginning"
    raise RuntimeError("too late")

closed = []
def forever():
    try:
        while True:
            yield b"x" * 10000
    finally:
        print("closed by the server", flush=True)
`

// wsgi mounts an application by examples/plugin-wsgi.
func wsgi(t *testing.T, source string) *host.Plugin {
	t.Helper()
	python := testkit.Tool(t, "python3", "python3")
	worker, err := filepath.Abs("../../examples/plugin-wsgi/wsgi.py")
	if err != nil {
		t.Fatal(err)
	}
	app := filepath.Join(testkit.Tree(t, map[string]string{"app.py": source}), "app.py")
	return &host.Plugin{Command: []string{python, worker, app}, Protocol: host.ProtocolWire, Name: "/wsgi", KillAfter: 2 * time.Second}
}

func TestWSGI(t *testing.T) {
	t.Parallel()
	r := start(t, wsgi(t, wsgiApp))
	if got := r.Get("/hello"); got.Status != 200 || got.Text() != "hello" {
		t.Errorf("%+v", got)
	}
	big := strings.Repeat("0123456789abcdef", 1<<16)
	if got := r.Post("/echo", pagitest.Body(big)); got.Text() != big {
		t.Errorf("%d bytes come back of %d, %v", len(got.Body), len(big), got.Err)
	}
	if got := r.Post("/echo", pagitest.Chunks("one", "two", "three")); got.Text() != "onetwothree" {
		t.Errorf("%q %v", got.Text(), got.Err)
	}
	if got := r.Post("/lines", pagitest.Body("a\nbb\n"+strings.Repeat("c", 1500)+"\nrest")); got.Text() != "a\n|bb\n|"+strings.Repeat("c", 1000)+"+"+strings.Repeat("c", 500)+"\nrest" {
		t.Errorf("%q %v", got.Text(), got.Err)
	}
	if got := r.Get("/stream"); got.Status != 201 || got.Text() != "piece 0\npiece 1\npiece 2\n" || strings.Join(slices.Collect(got.Headers.Values("x-two")), " ") != "a b" {
		t.Errorf("%+v", got)
	}
	if got := r.Get("/large"); got.Text() != big {
		t.Errorf("%d bytes, %v", len(got.Body), got.Err)
	}
	if got := r.Get("/written"); got.Text() != "written, returned" {
		t.Errorf("%q %v", got.Text(), got.Err)
	}
	if got := r.Get("/twice"); got.Status != 500 || got.Text() != "an error page" {
		t.Errorf("%+v", got)
	}
	if got := r.Get("/errors"); got.Status != 200 {
		t.Errorf("%+v", got)
	}
	r.log.WaitFor(t, "one line", "/errors")
	r.log.WaitFor(t, "and another", "level=ERROR")
}

func TestWSGIEnvironment(t *testing.T) {
	t.Parallel()
	r := start(t, wsgi(t, wsgiApp))
	got := r.Get("/environ?a=1&b=2", pagitest.Header("x-one", "1"), pagitest.Header("x-one", "é"), pagitest.Header("cookie", "a=b"),
		pagitest.Header("proxy", "http://evil"), pagitest.Edit(func(s *pagi.Scope) { s.RootPath, s.Scheme = "/root", "https" }))
	for _, want := range []string{"SCRIPT_NAME=/root", "PATH_INFO=/environ", "QUERY_STRING=a=1&b=2", "REQUEST_METHOD=GET", "wsgi.url_scheme=https", "HTTP_X_ONE=1, é", "HTTP_COOKIE=a=b", "SERVER_PROTOCOL=HTTP/1.1"} {
		if !strings.Contains("\n"+got.Text(), "\n"+want+"\n") {
			t.Errorf("no %s in\n%s", want, got.Text())
		}
	}
	if strings.Contains(got.Text(), "HTTP_PROXY") {
		t.Error("a header Proxy is passed on")
	}
}

func TestWSGIFailures(t *testing.T) {
	t.Parallel()
	r := start(t, wsgi(t, wsgiApp))
	var ended *mux.EndError
	if got := r.Get("/die"); !errors.As(got.Err, &ended) || !strings.Contains(ended.Message, "the application is broken") {
		t.Errorf("%v", got.Err)
	}
	if got := r.Get("/late"); got.Err == nil || got.Text() != "a beginning" {
		t.Errorf("%q %v", got.Text(), got.Err)
	}
	if ws := r.WebSocket("/"); ws.Accepted || !errors.Is(ws.Response.Err, pagi.ErrUnsupported) {
		t.Errorf("%+v", ws.Response)
	}
	pid, err := strconv.Atoi(r.Get("/pid").Text())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if r.again() == strconv.Itoa(pid) {
		t.Error("the dead worker answers")
	}
	r.log.WaitFor(t, "signal: killed")
}

// The response of a client that has left is closed, as PEP 3333 wants.
func TestWSGIClientsThatLeave(t *testing.T) {
	t.Parallel()
	r := start(t, wsgi(t, wsgiApp))
	_ = r.Get("/forever", pagitest.DisconnectAfterBytes(100_000, pagi.ReasonClientClosed)) // it never ends by itself
	r.log.WaitFor(t, "closed by the server")
	testkit.Eventually(t, "the request ends", func() bool { return r.plugin.Status().Running == 0 })
}

func TestWSGIThatDoesNotStart(t *testing.T) {
	t.Parallel()
	if _, err := try(t, wsgi(t, "import nothing_of_this_name\n")); err == nil || !strings.Contains(err.Error(), "nothing_of_this_name") {
		t.Error(err)
	}
	p := wsgi(t, wsgiApp)
	p.Config = map[string]any{"threds": 8}
	if _, err := try(t, p); err == nil || !strings.Contains(err.Error(), "there is no option 'threds'") {
		t.Error(err)
	}
}

func TestWSGIReload(t *testing.T) {
	t.Parallel()
	p := wsgi(t, wsgiApp)
	r := start(t, p)
	if err := os.WriteFile(p.Command[2], []byte("def application(e, s):\n    s('200 OK', [])\n    return [b'new code']\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := r.Get("/").Text(); got != "new code" {
		t.Errorf("%q", got)
	}
}
