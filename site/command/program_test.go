package command_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
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

// program is the built binary.
var program string

func TestMain(m *testing.M) {
	os.Exit(testkit.RunWith(m, map[string]*string{"cmd/pagi-bridge": &program}))
}

// gateway is a running program.
type gateway struct {
	*testkit.Program
	t *testing.T
}

// start runs the program in dir until the test ends.
func start(t *testing.T, dir string, args ...string) *gateway {
	t.Helper()
	return &gateway{testkit.Start(t, testkit.Command(dir, program, args...)), t}
}

// get returns the status and body of a request.
func (g *gateway) get(path string) (int, string) {
	g.t.Helper()
	return fetch(g.t, http.DefaultClient, g.URL+path)
}

func fetch(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	res, body := testkit.Get(t, client, url)
	return res.StatusCode, body
}

// once runs the program to its end.
func once(t *testing.T, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := testkit.Command(dir, program, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

const (
	script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nscript %s %s\\n' \"$SCRIPT_NAME\" \"$PATH_INFO\"\n"
	app    = "sub { [200, ['Content-Type' => 'text/plain'], [join ' ', 'app', $ENV{PLACK_ENV}, $ENV{PAGI_ENV}, $_[0]{PATH_INFO}]] };\n"
)

func TestServeADirectory(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"page.txt": "hello"})
	g := start(t, dir, "-p", "0", "-E", "production")
	if code, body := g.get("/page.txt"); code != 200 || body != "hello" {
		t.Errorf("%d %q", code, body)
	}
	if code, body := g.get("/"); code != 200 || !strings.Contains(body, `href="./page.txt"`) {
		t.Errorf("%d %q", code, body)
	}
	if code := g.Stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	want := regexp.MustCompile(`^pagi-bridge \S+ \(production\)\n  /   \.   files, with listing\nServing at http://127\.0\.0\.1:\d+/\nStopped\.\n$`)
	if got := withoutRoot(g.Log.String()); !want.MatchString(got) {
		t.Errorf("standard error: %q", got)
	}
}

// withoutRoot leaves out the lines that only root gets.
func withoutRoot(log string) string {
	var rest strings.Builder
	for line := range strings.Lines(log) {
		if !strings.Contains(line, "everything runs as root") {
			rest.WriteString(line)
		}
	}
	return rest.String()
}

func TestServeCGI(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"cgi-bin/a.cgi": script, "b.cgi": script})
	g := start(t, dir, "-p", "0", "--cgi", "cgi-bin/")
	for path, want := range map[string]string{"/a.cgi/x": "script /a.cgi /x\n", "/cgi-bin/a.cgi/x": "script /cgi-bin/a.cgi /x\n"} {
		if code, body := g.get(path); code != 200 || body != want {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	g = start(t, dir, "-p", "0", "b.cgi")
	if code, body := g.get("/x/y"); code != 200 || body != "script  /x/y\n" {
		t.Errorf("one script: %d %q", code, body)
	}
}

func TestServePSGI(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	dir := testkit.Tree(t, map[string]string{"app.psgi": app, "lib/Greet.pm": "package Greet; sub hi { 'hi from Greet' } 1;\n"})
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"app.psgi here":    {nil, "app deployment deployment /x"},
		"by its name":      {[]string{"-E", "test", "./app.psgi"}, "app test test /x"},
		"written in place": {[]string{"-Ilib", "-MGreet", "-e", "sub { [200, [], [Greet::hi()]] }"}, "hi from Greet"},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, dir, append([]string{"-p", "0", "-w", "1"}, c.args...)...)
			if code, body := g.get("/x"); code != 200 || body != c.want {
				t.Errorf("%d %q", code, body)
			}
			if !strings.Contains(g.Log.String(), "PSGI, 1 worker\n") {
				t.Error("the banner does not tell the workers")
			}
			if code := g.Stop(syscall.SIGINT); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// The programs that "dancer" and "mojo generate" make have an execute bit, and start a server when
// they are run.
func TestServeAPerlProgram(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	dir := testkit.Tree(t, map[string]string{"app.pl": "#!/usr/bin/env perl\n" + app, "tool": "#!/usr/bin/perl\n" + app})
	for _, name := range []string{"app.pl", "tool"} {
		if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		g := start(t, dir, "-p", "0", "-w", "1", name)
		if code, body := g.get("/x"); code != 200 || body != "app deployment deployment /x" {
			t.Errorf("%s: %d %q", name, code, body)
		}
	}
}

// The message about an unreadable file says that it cannot be read, not that its kind is unknown.
func TestUnreadableFiles(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root can read everything")
	}
	dir := testkit.Tree(t, map[string]string{"app": "x", "app.psgi": app})
	for _, name := range []string{"app", "app.psgi"} {
		if err := os.Chmod(filepath.Join(dir, name), 0); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{name}, {"-a", name}} {
			if code, _, stderr := once(t, dir, args...); code != 2 || stderr != "pagi-bridge: "+name+": permission denied\n" {
				t.Errorf("%s: %d %q", args, code, stderr)
			}
		}
	}
}

func TestServeASiteFile(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	dir := testkit.Tree(t, map[string]string{
		"conf/site.yaml": "listen: [127.0.0.1:0, ./site.sock]\nsocket_mode: 0600\naccess_log: access.log\naccess_log_format: '%m %U %s'\nmiddleware: request_id\nmounts:\n" +
			"  - {path: /, psgi: ../app.psgi, workers: 2}\n  - {path: /cgi-bin, cgi: ../cgi-bin}\n  - {path: /static, directory: ../public}\n",
		"app.psgi": app, "cgi-bin/a.cgi": script, "public/f.txt": "static",
	})
	g := start(t, dir, "-c", "conf/site.yaml")
	for path, want := range map[string]string{"/x": "app deployment deployment /x", "/cgi-bin/a.cgi": "script /cgi-bin/a.cgi \n", "/static/f.txt": "static"} {
		if code, body := g.get(path); code != 200 || body != want {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	socket := filepath.Join(dir, "conf/site.sock")
	overUnix := testkit.OverUnix(t, socket)
	if code, body := fetch(t, overUnix, "http://site/static/f.txt"); code != 200 || body != "static" {
		t.Errorf("over the socket: %d %q", code, body)
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode: %v %v", info.Mode(), err)
	}
	if code := g.Stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	log, err := os.ReadFile(filepath.Join(dir, "conf/access.log"))
	if err != nil || strings.Count(string(log), "GET /static/f.txt 200\n") != 2 {
		t.Errorf("access log: %q %v", log, err)
	}
	for _, want := range []string{"/          ../app.psgi", "PSGI, 2 workers", "CGI", "Serving at unix:conf/site.sock"} {
		if !strings.Contains(g.Log.String(), want) {
			t.Errorf("the banner lacks %q", want)
		}
	}
}

func TestAccessLogDefaults(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"f.txt": "x"})
	for name, c := range map[string]struct {
		args   []string
		logged bool
	}{
		"development logs to standard error": {[]string{"-E", "development"}, true},
		"production does not":                {[]string{"-E", "production"}, false},
		"unless asked":                       {[]string{"-E", "production", "--access-log", "-"}, true},
		"and development can be quiet":       {[]string{"-E", "development", "--no-access-log"}, false},
	} {
		g := start(t, dir, append(c.args, "-p", "0", ".")...)
		g.get("/f.txt")
		g.Stop(syscall.SIGTERM)
		if logged := strings.Contains(g.Log.String(), `"GET /f.txt HTTP/1.1" 200`); logged != c.logged {
			t.Errorf("%s: logged is %v", name, logged)
		}
	}
}

func TestServeTLS(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"f.txt": "safe"})
	pair := testkit.Certificate(t)
	g := start(t, dir, "-p", "0", "--ssl-cert", pair.CertFile, "--ssl-key", pair.KeyFile, ".")
	if !strings.HasPrefix(g.URL, "https://") {
		t.Errorf("the banner says %s", g.URL)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pair.Pool}}}
	if code, body := fetch(t, client, g.URL+"/f.txt"); code != 200 || body != "safe" {
		t.Errorf("%d %q", code, body)
	}
	client.CloseIdleConnections()
}

func TestGracefulStop(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"slow.cgi": "#!/bin/sh\necho started > started\nwhile [ ! -e go ]; do sleep 0.05; done\nprintf 'Content-Type: text/plain\\n\\nfinished'\n"})
	g := start(t, dir, "-p", "0", "slow.cgi")
	answered := make(chan string, 1)
	go func() {
		res, err := http.Get(g.URL)
		if err != nil {
			answered <- err.Error()
			return
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		answered <- fmt.Sprint(res.StatusCode, " ", string(body), " ", err)
	}()
	g.Eventually("the request to run", func() bool {
		_, err := os.Stat(filepath.Join(dir, "started"))
		return err == nil
	})
	if err := g.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	g.Eventually("new connections to be refused", func() bool {
		conn, err := net.Dial("tcp", g.Address())
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := <-answered; got != "200 finished <nil>" {
		t.Errorf("the running request got %q", got)
	}
	if code := g.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestExitCodes(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	dir := testkit.Tree(t, map[string]string{
		"app.psgi": app, "broken.psgi": "sub { syntax error here ;", "f.txt": "x", "tool.txt": "x",
		"page.pl":      "#!/usr/bin/perl\nprint qq{Content-Type: text/plain\\n\\n};\n1;\n",
		"missing.yaml": "log_file: no/such/log\nlib: [nolib]\nmounts: [{file: .}]\n", "broken.yaml": "mounts:\n  - psgi: broken.psgi\n",
		"open/x": "", "old.yaml": "mounts:\n  - psgi: app.psgi\n    include: open\n", "good.yaml": "mounts: [{psgi: app.psgi}]\n", "bad.yaml": "mounts:\n  - psgi: app.psgi\n    worker: 3\n", "gone.yaml": "mounts:\n  - psgi: gone.psgi\n",
	})
	for _, c := range []struct {
		line           string
		code           int
		stdout, stderr string
	}{
		{"-v", 0, "pagi-bridge ", ""},
		{"--help", 0, "Exit codes: 0", ""},
		{"-t -c good.yaml", 0, "good.yaml: OK\n", ""},
		{"-t -c old.yaml", 0, "old.yaml: OK\n", "pagi-bridge: warning: old.yaml:3:5: \"include\" is now called \"lib\"\n"},
		{"-t", 0, "OK\n", ""},
		{"help", 0, "Exit codes: 0", ""},
		{"version", 0, "pagi-bridge ", ""},
		{"check", 0, "OK\n", ""},
		{"check -c bad.yaml", 2, "", "bad.yaml:3:5: unknown key"},
		{"-p 0 -w 1 page.pl", 1, "", "page.pl was loaded as a PSGI application. If it is a PAGI application, say --pagi; if it is a CGI script, say --cgi page.pl.\n"},
		{"--test .", 0, "OK\n", ""},
		{"-t -c bad.yaml", 2, "", "bad.yaml:3:5: unknown key \"worker\" in a psgi mount; did you mean \"workers\"?\n"},
		{"-c bad.yaml", 2, "", "bad.yaml:3:5: "},
		{"-t --access-log no/such/dir .", 2, "", "access_log: stat no/such: no such file or directory\n"},
		{"-t --pid no/such/dir --log-file there .", 2, "", "pid_file: stat no/such: no such file or directory\n"},
		{"-t --status-socket no/such/dir/s .", 2, "", "status_socket: stat no/such: no such file or directory\n"},
		{"-t --status-socket private/s --access-log - .", 0, "OK\n", ""},
		{"-t -c missing.yaml", 2, "", "missing.yaml:1:11: log_file: stat no/such: no such file or directory\n"},
		{"-t -c missing.yaml", 2, "", "missing.yaml:2:6: lib: stat nolib: no such file or directory\n"},
		{"-t --status-socket open/s .", 2, "", "status_socket: the directory open must have mode 0700, so that only its owner can enter it; it has 0755\n"},
		{"-t broken.psgi", 0, "OK\n", ""},
		{"-t --compile app.psgi", 0, "OK\n", ""},
		{"-t --compile -c good.yaml", 0, "good.yaml: OK\n", ""},
		{"check --compile broken.psgi", 2, "", "psgi: it does not compile: Missing right curly"},
		{"-t --compile -c broken.yaml", 2, "", "broken.yaml:2:11: psgi: it does not compile: Missing right curly"},
		{"--compile app.psgi", 2, "", "--compile needs -t\n"},
		{"-t -c gone.yaml", 2, "", "gone.yaml:2:11: psgi: app: "},
		{"-c absent.yaml", 2, "", "absent.yaml: no such file or directory\n"},
		{"absent.psgi", 2, "", "absent.psgi: no such file or directory\n"},
		{"tool.txt", 2, "", "tool.txt: cannot tell what this is"},
		{"--prot 5000", 2, "", "unknown flag: --prot; did you mean \"--port\"?\nTry 'pagi-bridge --help'.\n"},
		{"--access-log no/such/dir -p 0 .", 2, "", "access log: open no/such/dir: no such file or directory\n"},
		{"--listen " + busy.Addr().String() + " .", 1, "", "address already in use\n"},
		{"-p 0 -w 1 broken.psgi", 1, "", "syntax error"},
	} {
		code, stdout, stderr := once(t, dir, strings.Fields(c.line)...)
		if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) || c.stderr == "" && stderr != "" || c.stdout == "" && stdout != "" {
			t.Errorf("%s: code %d, stdout %q, stderr %q", c.line, code, stdout, stderr)
		}
	}
}

func TestQuiet(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"f.txt": "x"})
	cmd := testkit.Command(dir, program, "-q", "-S", "site.sock", ".")
	var errs testkit.Log
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil || errs.String() != "" {
			t.Errorf("%v, standard error: %q", err, errs.String())
		}
	}()
	testkit.Eventually(t, "the socket to be served", func() bool {
		conn, err := net.Dial("unix", filepath.Join(dir, "site.sock"))
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}
