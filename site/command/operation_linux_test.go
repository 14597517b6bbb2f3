package command_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// whoami is a CGI script that prints the identity of its process.
const whoami = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'; id -u; id -g; id -G; umask; echo $PPID\n"

func TestUserGroupAndUmask(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	dir := testkit.Tree(t, map[string]string{"a.cgi": whoami, "run/": ""})
	for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	pid := filepath.Join(dir, "run/pid")
	g := start(t, dir, "-p", "0", "--user", "nobody", "--umask", "0027", "--pid", pid, "--isolate", "none", "a.cgi")
	code, body := g.get("/")
	want := fmt.Sprintf("65534\n65534\n65534\n0027\n%d\n", g.Process.Pid)
	if code != 200 || body != want {
		t.Errorf("%d %q, want %q", code, body, want)
	}
	if text, err := os.ReadFile(pid); err != nil || string(text) != strconv.Itoa(g.Process.Pid)+"\n" {
		t.Errorf("pid file %q, %v", text, err)
	}
	if code := g.Stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if text, err := os.ReadFile(pid); err != nil || len(text) > 0 { // nobody may not remove it
		t.Errorf("pid file afterwards: %q, %v", text, err)
	}
	g = start(t, dir, "-p", "0", "--user", "nobody", "--group", "daemon", "a.cgi")
	if _, body := g.get("/"); !strings.HasPrefix(body, "65534\n1\n") {
		t.Errorf("with a group: %q", body)
	}
	for line, want := range map[string]string{"--user no-such-user": `user: there is no user "no-such-user"`, "--group no-such-group": `group: there is no group "no-such-group"`} {
		if code, _, stderr := once(t, dir, append(strings.Fields(line), "-p", "0", ".")...); code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%s: %d %q", line, code, stderr)
		}
	}
}

// TestUserThatIsANumber: in a container there may be no entry for it.
func TestUserThatIsANumber(t *testing.T) {
	dir := nobodys(t, map[string]string{"a.cgi": whoami})
	g := start(t, dir, "-p", "0", "--user", "54321", "--group", "54322", "a.cgi")
	if code, body := g.get("/"); code != 200 || !strings.HasPrefix(body, "54321\n54322\n54322\n") {
		t.Errorf("%d %q", code, body)
	}
}

func TestPidFile(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"f.txt": "x", "pid": "1\n"}) // of a process that runs, but is no gateway
	pid := filepath.Join(dir, "pid")
	g := start(t, dir, "-p", "0", "--pid", "pid", ".")
	if text, err := os.ReadFile(pid); err != nil || string(text) != strconv.Itoa(g.Process.Pid)+"\n" {
		t.Errorf("pid file %q, %v", text, err)
	}
	code, _, stderr := once(t, dir, "-p", "0", "--pid", "pid", ".")
	if want := fmt.Sprintf("pid file: pid: process %d is running already", g.Process.Pid); code != 1 || !strings.Contains(stderr, want) {
		t.Errorf("a second one: %d %q", code, stderr)
	}
	if code := g.Stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(pid); err == nil {
		t.Error("the pid file stays")
	}
}

func TestDaemonize(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"f.txt": "hello"})
	code, stdout, stderr := once(t, dir, "-D", "-p", "0", "--pid", "pid", "--log-file", "log", "--access-log", "access", ".")
	serving := regexp.MustCompile(`Serving at (http\S*)/\n$`).FindStringSubmatch(stderr)
	if code != 0 || stdout != "" || serving == nil {
		t.Fatalf("%d %q %q", code, stdout, stderr)
	}
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) }) // mostly it has ended
	if code, body := fetch(t, http.DefaultClient, serving[1]+"/f.txt"); code != 200 || body != "hello" {
		t.Errorf("%d %q", code, body)
	}
	if sid, _ := unix.Getsid(pid); sid != pid {
		t.Errorf("its session is %d, not its own", sid)
	}
	for fd := range 3 {
		if to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd)); err != nil || to != os.DevNull {
			t.Errorf("descriptor %d leads to %s, %v", fd, to, err)
		}
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "its end", func() bool { _, err := os.Stat(filepath.Join(dir, "pid")); return err != nil })
	testkit.NoneLeft(t, dir)

	code, _, stderr = once(t, dir, "-D", "-p", "0", "--pid", "no/such/dir", "--log-file", "log", ".")
	if code != 1 || strings.Count(stderr, "no such file or directory") != 1 {
		t.Errorf("a failure in the background: %d %q", code, stderr)
	}
	if log, err := os.ReadFile(filepath.Join(dir, "log")); err != nil || !strings.Contains(string(log), "level=ERROR msg=\"the gateway stops because of an error\" error=\"pid file: open no/such/dir") {
		t.Errorf("the log: %q, %v", log, err)
	}
}

func TestLogFiles(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"f.txt": "x"})
	g := start(t, dir, "-p", "0", "--log-file", "log", "--log-format", "json", "--access-log", "access", "--access-log-format", "%m %U %s", "--max-header-size", "1000", ".")
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	rename := func(name string) {
		if err := os.Rename(filepath.Join(dir, name), filepath.Join(dir, name+".1")); err != nil {
			t.Fatal(err)
		}
	}
	g.get("/f.txt")
	testkit.Eventually(t, "the first line", func() bool { return read("access") == "GET /f.txt 200\n" })
	rename("access")
	rename("log")
	if err := g.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "new files", func() bool {
		_, err := os.Stat(filepath.Join(dir, "log"))
		return err == nil && strings.Contains(read("log"), "opened anew")
	})
	g.get("/none")
	c := testkit.Dial(t, g.Address())
	c.Say("GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 2000) + "\r\n\r\n")
	c.Response("GET")
	testkit.Eventually(t, "more lines", func() bool { return read("access") == "GET /none 404\nGET / 431\n" })
	if read("access.1") != "GET /f.txt 200\n" {
		t.Errorf("the old file: %q", read("access.1"))
	}
	var record map[string]any
	lines := strings.Split(strings.TrimSpace(read("log")), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &record); err != nil || record["msg"] != "request head is too large" || record["level"] != "WARN" {
		t.Errorf("the last record: %v %v", record, err)
	}
	if strings.Contains(g.Log.String(), "too large") {
		t.Error("it is on standard error, too")
	}
}

func TestAccessLogIsRotated(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"f.txt": "x"})
	g := start(t, dir, "-p", "0", "--access-log", "access.log", "--access-log-format", "%m %U%q", "--access-log-max-size", "1048576", "--access-log-backups", "2", ".")
	path := "/f.txt?" + strings.Repeat("x", 20000)
	files := func() []string {
		all, err := filepath.Glob(filepath.Join(dir, "access*"))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	for range 120 { // 2.4 MB
		g.get(path)
	}
	testkit.Eventually(t, "two files put aside", func() bool { return len(files()) == 3 })
	for _, f := range files() {
		if info, err := os.Stat(f); err != nil || info.Size() > 1<<20 || info.Mode().Perm() != 0o644 {
			t.Errorf("%s: %v %v", f, info, err)
		}
	}
}

func TestQuietLogsOnlyErrors(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"f.txt": "x"})
	for level, logged := range map[string]bool{"": false, "warn": true} {
		args := []string{"-q", "-S", "s", "--max-header-size", "1000"}
		if level != "" {
			args = append(args, "--log-level", level)
		}
		cmd := testkit.Command(dir, program, append(args, ".")...)
		var log testkit.Log
		cmd.Stderr = &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "the socket", func() bool {
			conn, err := net.Dial("unix", filepath.Join(dir, "s"))
			if err == nil {
				conn.Close()
			}
			return err == nil
		})
		c := testkit.Dial(t, filepath.Join(dir, "s"))
		c.Say("GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 2000) + "\r\n\r\n")
		c.Response("GET")
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		if strings.Contains(log.String(), "too large") != logged {
			t.Errorf("level %q: %q", level, log.String())
		}
	}
}

func TestStatus(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	dir := testkit.Tree(t, map[string]string{
		"app.psgi": app, "open/": "", "public/": "",
		"site.yaml": "listen: 127.0.0.1:0\nstatus_socket: run/status\nmounts:\n  - {path: /, psgi: app.psgi, workers: 2}\n  - {path: /s, file: public}\n",
	})
	g := start(t, dir, "-c", "site.yaml")
	g.get("/")
	code, stdout, stderr := once(t, dir, "status", "-c", "site.yaml", "--json")
	var r struct {
		PID         int
		Environment string
		Since       time.Time
		Listeners   []struct{ Address string }
		Mounts      []struct {
			Mount, Kind string
			Workers     []struct {
				PID, Served int
				State       string
				Resident    int64
			}
		}
	}
	if err := json.Unmarshal([]byte(stdout), &r); code != 0 || stderr != "" || err != nil {
		t.Fatalf("%d %q %q %v", code, stdout, stderr, err)
	}
	if r.PID != g.Process.Pid || r.Environment != "deployment" || time.Since(r.Since) > time.Minute || len(r.Listeners) != 1 || r.Listeners[0].Address != g.Address() ||
		len(r.Mounts) != 2 || r.Mounts[0].Mount != "/" || r.Mounts[1].Kind != "file" || len(r.Mounts[0].Workers) != 2 {
		t.Fatalf("%+v", r)
	}
	served := 0
	for _, w := range r.Mounts[0].Workers {
		served += w.Served
		if w.State != "ready" || w.PID == 0 || w.Resident < 1<<20 {
			t.Errorf("worker %+v", w)
		}
	}
	if served != 1 {
		t.Errorf("%d requests served", served)
	}
	code, stdout, _ = once(t, dir, "status", "--status-socket", "run/status")
	for _, want := range []string{fmt.Sprintf("process %d, for ", g.Process.Pid), "listens at " + g.Address(), "\n/  psgi  app.psgi\n", "ready", "\n/s  file  public\n"} {
		if code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("%d, %q lacks %q", code, stdout, want)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "run")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the socket's directory: %v %v", info.Mode(), err)
	}
	if code, _, stderr := once(t, dir, "-p", "0", "--status-socket", "run/status", "."); code != 1 || !strings.Contains(stderr, "another process answers") {
		t.Errorf("a second gateway: %d %q", code, stderr)
	}
	g.Stop(syscall.SIGTERM)
	if _, err := os.Lstat(filepath.Join(dir, "run/status")); err == nil {
		t.Error("the socket stays")
	}
	for line, want := range map[string]string{
		"status -c site.yaml":              "no gateway answers",
		"status":                           "give --status-socket PATH",
		"status x":                         `unexpected argument "x"`,
		"status --jsno":                    "unknown flag",
		"-p 0 --status-socket open/s .":    "must have mode 0700, so that only its owner can enter it; it has 0755",
		"-p 0 --status-socket no/such/s .": fs.ErrNotExist.Error()[:4],
	} {
		if code, _, stderr := once(t, dir, strings.Fields(line)...); code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("%s: %d %q, want %q", line, code, stderr, want)
		}
	}
	if code, stdout, _ := once(t, dir, "status", "--help"); code != 0 || !strings.Contains(stdout, "--json") {
		t.Errorf("help: %d %q", code, stdout)
	}
}

// systemd is a socket that receives the messages of sd_notify.
type systemd struct {
	t    *testing.T
	conn *net.UnixConn
	path string
	said testkit.Log
}

func newSystemd(t *testing.T) *systemd {
	t.Helper()
	s := &systemd{t: t, path: filepath.Join(t.TempDir(), "notify")}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	s.conn = conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			fmt.Fprintf(&s.said, "[%s]\n", strings.ReplaceAll(string(buf[:n]), "\n", " "))
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return s
}

func TestNotifiesSystemd(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"site.yaml": "listen: 127.0.0.1:0\nmounts: [{not_found: one}]\n"})
	s := newSystemd(t)
	t.Setenv("NOTIFY_SOCKET", s.path)
	t.Setenv("WATCHDOG_USEC", "200000")
	cmd := testkit.Command(dir, "/bin/sh", "-c", `WATCHDOG_PID=$$ exec "$0" "$@"`, program, "-c", "site.yaml") // as systemd does
	g := &gateway{testkit.Start(t, cmd), t}
	s.said.WaitFor(t, "[READY=1]")
	s.said.WaitFor(t, "[WATCHDOG=1]")
	if err := os.WriteFile(filepath.Join(dir, "site.yaml"), []byte("listen: 127.0.0.1:0\nmounts: [{not_found: two}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := g.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.said.WaitFor(t, "[RELOADING=1 MONOTONIC_USEC=")
	g.Log.WaitFor(t, "reload: done")
	if _, body := g.get("/"); body != "two" {
		t.Errorf("after the reload: %q", body)
	}
	testkit.Eventually(t, "the end of the reload", func() bool {
		_, after, _ := strings.Cut(s.said.String(), "[RELOADING=1")
		return strings.Contains(after, "[READY=1]")
	})
	if err := g.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	s.said.WaitFor(t, "[MAINPID=")
	pid := regexp.MustCompile(`MAINPID=(\d+)`).FindStringSubmatch(s.said.String())[1]
	successor, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(successor, syscall.SIGKILL) }) // mostly it has ended
	if code := g.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if strings.Contains(s.said.String(), "STOPPING") {
		t.Error("the old process says that the service stops")
	}
	pings := strings.Count(s.said.String(), "[WATCHDOG=1]")
	testkit.Eventually(t, "the new process to serve the watchdog", func() bool { return strings.Count(s.said.String(), "[WATCHDOG=1]") > pings+1 })
	if err := syscall.Kill(successor, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.said.WaitFor(t, "[STOPPING=1]")
	testkit.NoneLeft(t, dir)
}

func TestSocketActivation(t *testing.T) {
	activate := testkit.Tool(t, "systemd-socket-activate", "systemd")
	dir := testkit.Tree(t, map[string]string{"f.txt": "hello"})
	socket := filepath.Join(dir, "s")
	cmd := testkit.Command(dir, activate, "-l", socket, program, ".")
	var log testkit.Log
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, &log)
		}
		if _, err := os.Lstat(socket); err != nil {
			t.Error("systemd's socket was removed")
		}
	}()
	testkit.Eventually(t, "the socket", func() bool { _, err := os.Lstat(socket); return err == nil })
	c := testkit.Dial(t, socket)
	c.Say("GET /f.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if res, body := c.Response("GET"); res.StatusCode != 200 || body != "hello" {
		t.Errorf("%s %q", res.Status, body)
	}
}

// TestRestartThatFailsLateTakesNothing has a new process fail at its last step, the report that it
// serves.
func TestRestartThatFailsLateTakesNothing(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{
		"f.txt": "served", "private/": "",
		"site.yaml": "listen: [127.0.0.1:0, ./s]\npid_file: pid\nstatus_socket: private/status\nhub: private/hub\nlog_file: log\nmounts: [{file: .}]\n",
	})
	publishes := func() {
		t.Helper()
		req := testkit.NewRequest(t, "POST", "http://hub/news", strings.NewReader("x"))
		if res, body := testkit.Do(t, testkit.OverUnix(t, filepath.Join(dir, "private/hub")), req); res.StatusCode != 200 {
			t.Errorf("the hub: %s %s", res.Status, body)
		}
	}
	private := filepath.Join(dir, "private")
	if err := os.Chmod(private, 0o700); err != nil {
		t.Fatal(err)
	}
	g := start(t, dir, "-c", "site.yaml")
	if err := os.Chmod(private, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := g.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "log")
	testkit.Eventually(t, "the failure", func() bool {
		text, _ := os.ReadFile(log) // there soon
		return strings.Contains(string(text), "restart: failed; this process goes on") && strings.Contains(string(text), "must have mode 0700")
	})
	if text, err := os.ReadFile(filepath.Join(dir, "pid")); err != nil || string(text) != strconv.Itoa(g.Process.Pid)+"\n" {
		t.Errorf("pid file %q, %v", text, err)
	}
	if err := os.Chmod(private, 0o700); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := once(t, dir, "status", "--json", "--status-socket", "private/status"); code != 0 || !strings.Contains(stdout, fmt.Sprintf("\"pid\":%d", g.Process.Pid)) {
		t.Errorf("status: %d %s %s", code, stdout, stderr)
	}
	conn, err := net.Dial("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatalf("the Unix socket: %v", err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /f.txt HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if res, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(res), "served") {
		t.Errorf("%q, %v", res, err)
	}
	publishes()
	// Another restart works, and the pid file is locked by the new process.
	if err := g.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	if code := g.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	publishes()
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	successor, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || successor == g.Process.Pid {
		t.Fatalf("pid file %q", text)
	}
	t.Cleanup(func() { _ = syscall.Kill(successor, syscall.SIGKILL) }) // mostly it has ended
	if code, _, stderr := once(t, dir, "-p", "0", "--pid", "pid", "."); code != 1 || !strings.Contains(stderr, fmt.Sprintf("process %d is running already", successor)) {
		t.Errorf("a second gateway: %d %q", code, stderr)
	}
	if err := syscall.Kill(successor, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "its end", func() bool { _, err := os.Stat(filepath.Join(dir, "pid")); return err != nil })
	for _, left := range []string{"private/status", "private/hub", "s"} {
		if _, err := os.Lstat(filepath.Join(dir, left)); err == nil {
			t.Errorf("%s stays", left)
		}
	}
}

// TestCrashIsNoExitCode: a supervisor must be able to tell a crash from a wrong option.
func TestCrashIsNoExitCode(t *testing.T) {
	cmd := testkit.Command(testkit.Tree(t, map[string]string{"f.txt": "x"}), program, "-p", "0", "--pid", "pid", ".")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := filepath.Join(cmd.Dir, "pid")
	testkit.Eventually(t, "its start", func() bool { info, err := os.Stat(pid); return err == nil && info.Size() > 0 })
	if err := cmd.Process.Signal(syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	if state, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !state.Signaled() {
		t.Errorf("it ended with %v", err)
	}
}

// TestMoreAndFewerWorkers sends TTIN and TTOU.
func TestMoreAndFewerWorkers(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	dir := testkit.Tree(t, map[string]string{"app.psgi": "sub { [200, [], ['x']] };\n"})
	g := start(t, dir, "-p", "0", "-w", "2", "--status-socket", "private/status", "app.psgi")
	workers := func(n int) {
		t.Helper()
		testkit.Eventually(t, fmt.Sprintf("%d workers", n), func() bool {
			_, stdout, _ := once(t, dir, "status", "--json", "--status-socket", "private/status")
			return strings.Count(stdout, `"resident"`) == n
		})
	}
	for _, step := range []struct {
		signal syscall.Signal
		want   int
	}{{syscall.SIGTTIN, 3}, {syscall.SIGTTOU, 2}, {syscall.SIGTTOU, 1}, {syscall.SIGTTOU, 1}} {
		if err := g.Process.Signal(step.signal); err != nil {
			t.Fatal(err)
		}
		workers(step.want)
	}
	if status, body := g.get("/"); status != 200 || body != "x" {
		t.Errorf("%d %q", status, body)
	}
}

// TestJSONAlone: a program that reads standard error finds records only.
func TestJSONAlone(t *testing.T) {
	read := func(stderr string) (said []string) {
		for line := range strings.Lines(stderr) {
			var record struct{ Msg string }
			if err := json.Unmarshal([]byte(line), &record); err != nil {
				t.Errorf("%q: %v", line, err)
			}
			if !strings.Contains(record.Msg, "runs as root") {
				said = append(said, record.Msg)
			}
		}
		return said
	}
	dir := testkit.Tree(t, map[string]string{"f.txt": "x"})
	cmd := testkit.Command(dir, program, "-p", "0", "--pid", "pid", "--log-format", "json", ".")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "its start", func() bool { info, err := os.Stat(filepath.Join(dir, "pid")); return err == nil && info.Size() > 0 })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if said := read(stderr.String()); fmt.Sprint(said) != "[serving stopped]" {
		t.Errorf("%q", said)
	}
	code, _, failed := once(t, dir, "-p", "0", "--pid", "no/such/dir", "--log-format", "json", ".")
	if said := read(failed); code != 1 || fmt.Sprint(said) != "[the gateway stops because of an error]" {
		t.Errorf("%d %q", code, said)
	}
}
