package command_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// unread is a program whose standard error is controlled by the test.
type unread struct {
	t      *testing.T
	cmd    *exec.Cmd
	dir    string
	client *http.Client
	ended  chan struct{}
}

// startUnread starts the program in dir with the given standard error, and closes its own copy of
// that. The program must create the file "pid" in dir.
func startUnread(t *testing.T, dir string, stderr *os.File, args ...string) *unread {
	t.Helper()
	cmd := testkit.Command(dir, program, append(args, "--listen", "./s", "--pid", "pid", ".")...)
	cmd.Stdout, cmd.Stderr = stderr, stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := stderr.Close(); err != nil {
		t.Error(err)
	}
	u := &unread{t: t, cmd: cmd, dir: dir, ended: make(chan struct{}), client: testkit.OverUnix(t, filepath.Join(dir, "s"))}
	u.client.Timeout = testkit.Patience
	go func() {
		defer close(u.ended)
		_ = cmd.Wait() // stop looks at how it ended
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // mostly it has ended
		<-u.ended
	})
	testkit.Eventually(t, "its start", func() bool {
		info, err := os.Stat(filepath.Join(dir, "pid"))
		return err == nil && info.Size() > 0
	})
	return u
}

// get makes requests and fails the test where one is not answered 200.
func (u *unread) get(n int, path string) {
	u.t.Helper()
	for range n {
		if code, _ := fetch(u.t, u.client, "http://site"+path); code != 200 {
			u.t.Fatalf("%s: %d", path, code)
		}
	}
}

// stop sends TERM and returns the exit code.
func (u *unread) stop() int {
	u.t.Helper()
	if err := u.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		u.t.Fatal(err)
	}
	testkit.Await(u.t, u.ended)
	return u.cmd.ProcessState.ExitCode()
}

// lost returns what "status" tells of a log.
func (u *unread) lost(log string) (lines uint64, problem string) {
	u.t.Helper()
	_, stdout, stderr := once(u.t, u.dir, "status", "--json", "--status-socket", "private/status")
	var r struct {
		Logs []struct {
			Log, Problem string
			Lost         uint64
		}
	}
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		u.t.Fatalf("%v: %q %q", err, stdout, stderr)
	}
	for _, l := range r.Logs {
		if l.Log == log {
			return l.Lost, l.Problem
		}
	}
	return 0, ""
}

func pipe(t *testing.T) (read, write *os.File) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = read.Close() })
	return read, write
}

// stderrs make each kind of standard error. The reader's end is the first result.
var stderrs = map[string]func(*testing.T) (read, write *os.File){
	"pipe": pipe,
	"socket": func(t *testing.T) (read, write *os.File) { // journald's
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		read, write = os.NewFile(uintptr(pair[0]), "reader"), os.NewFile(uintptr(pair[1]), "stderr")
		t.Cleanup(func() { _ = read.Close() })
		return read, write
	},
}

// TestStandardErrorWithoutAReader: journald restarts, or the "tee" at the other end of the
// pipe has ended. The gateway serves on, and ends as it was asked to.
func TestStandardErrorWithoutAReader(t *testing.T) {
	for name, ends := range stderrs {
		t.Run(name, func(t *testing.T) {
			dir := testkit.Tree(t, map[string]string{"f.txt": "x"})
			read, stderr := ends(t)
			u := startUnread(t, dir, stderr, "--access-log", "-", "--status-socket", "private/status")
			u.get(1, "/f.txt")
			if err := read.Close(); err != nil {
				t.Fatal(err)
			}
			u.get(3, "/f.txt")
			testkit.Eventually(t, "lost lines", func() bool {
				lines, why := u.lost("standard error")
				return lines >= 3 && strings.Contains(why, "broken pipe")
			})
			u.get(1, "/f.txt")
			if code := u.stop(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// TestScriptsHaveTheSignalPipeAsUsual: scripts do not inherit this process's handling of SIGPIPE.
func TestScriptsHaveTheSignalPipeAsUsual(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"a.cgi": "#!/bin/sh\necho Content-Type: text/plain; echo; grep SigIgn /proc/$$/status\n"})
	g := start(t, dir, "-p", "0", "a.cgi")
	_, body := g.get("/")
	var ignored uint64
	if _, err := fmt.Sscanf(body, "SigIgn: %x", &ignored); err != nil || ignored&(1<<(syscall.SIGPIPE-1)) != 0 {
		t.Errorf("%q, %v", body, err)
	}
}

// TestStuckLogs: the readers of the logs take nothing any more. Requests, a reload and the stop go
// on, and no connection is kept. When lines are taken again, the log tells how many were lost.
func TestStuckLogs(t *testing.T) {
	long := "/f.txt?" + strings.Repeat("x", 4000)
	const requests = 1000 // 4 MB of access log
	for name, access := range map[string]string{"standard error": "-", "a FIFO": "fifo"} {
		t.Run(name, func(t *testing.T) {
			dir := testkit.Tree(t, map[string]string{"f.txt": "x"})
			if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
				t.Fatal(err)
			}
			read, stderr := pipe(t)
			u := startUnread(t, dir, stderr, "--access-log", access, "--status-socket", "private/status", "--shutdown-timeout", "2")
			log := "access_log"
			if access == "-" {
				log = "standard error"
			} else {
				read = openFIFO(t, filepath.Join(dir, "fifo"))
			}
			before := testkit.Descriptors(t, u.cmd.Process.Pid)
			u.get(requests, long)
			testkit.Eventually(t, "lost lines", func() bool { lines, _ := u.lost(log); return lines > 0 })
			if after := testkit.Descriptors(t, u.cmd.Process.Pid); after > before+5 {
				t.Errorf("%d descriptors, %d before", after, before)
			}
			for _, signal := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1} {
				if err := u.cmd.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
			}
			u.get(1, "/f.txt")
			var text testkit.Log
			copied := make(chan struct{})
			go func() {
				defer close(copied)
				_, _ = io.Copy(&text, read) // until its end
			}()
			testkit.Eventually(t, "the lines", func() bool {
				lines, problem := u.lost(log)
				return problem == "" && lines+uint64(strings.Count(text.String(), "xxxx HTTP/1.1")) >= requests
			})
			for line := range strings.Lines(text.String()) {
				if strings.Contains(line, "GET /f.txt?") && !strings.Contains(line, "xxxx HTTP/1.1\" 200 1\n") {
					t.Fatalf("a line is broken: %.100q", line)
				}
			}
			if access == "-" {
				testkit.Eventually(t, "the count", func() bool { return strings.Contains(text.String(), "lines of the log were lost\" lines=") })
			}
			if code := u.stop(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			_ = read.Close() // ends the copy of a FIFO
			<-copied
		})
	}
}

// openFIFO opens a FIFO that has a writer, for reading.
func openFIFO(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// TestStopWithStuckLogs: the logs are never read again.
func TestStopWithStuckLogs(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"f.txt": "x"})
	_, stderr := pipe(t)
	u := startUnread(t, dir, stderr, "--access-log", "-", "--shutdown-timeout", "2")
	u.get(500, "/f.txt?"+strings.Repeat("x", 4000))
	began := time.Now()
	if code := u.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestACrashWithStuckLogs: the stacks of the goroutines cannot be written, but the process still
// ends by a signal.
func TestACrashWithStuckLogs(t *testing.T) {
	for name, ends := range stderrs {
		t.Run(name, func(t *testing.T) {
			dir := testkit.Tree(t, map[string]string{"f.txt": "x"})
			_, stderr := ends(t)
			var stat syscall.Stat_t
			if err := syscall.Fstat(int(stderr.Fd()), &stat); err != nil {
				t.Fatal(err)
			}
			t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", stat.Dev, stat.Ino))
			u := startUnread(t, dir, stderr, "--access-log", "-")
			u.get(500, "/f.txt?"+strings.Repeat("x", 4000))
			if err := u.cmd.Process.Signal(syscall.SIGABRT); err != nil {
				t.Fatal(err)
			}
			testkit.Await(t, u.ended)
			if state := u.cmd.ProcessState.Sys().(syscall.WaitStatus); !state.Signaled() {
				t.Errorf("it ended with %v", u.cmd.ProcessState)
			}
		})
	}
}

// TestALogOnAFullDisk uses /dev/full as the log.
func TestALogOnAFullDisk(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"f.txt": "x"})
	cmd := testkit.Command(dir, program, "-p", "0", "--access-log", "/dev/full", "--log-file", "log", "--pid", "pid", "--status-socket", "private/status", ".")
	g := &gateway{testkit.Start(t, cmd), t}
	for range 3 {
		g.get("/f.txt")
	}
	u := &unread{t: t, dir: dir}
	testkit.Eventually(t, "lost lines", func() bool { lines, why := u.lost("access_log"); return lines == 3 && why != "" })
	_, text, _ := once(t, dir, "status", "--status-socket", "private/status")
	if want := "access_log has lost 3 lines and loses more: write /dev/full: no space left on device\n"; !strings.Contains(text, want) {
		t.Errorf("%q lacks %q", text, want)
	}
	if code := g.Stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil || bytes.Count(log, []byte("cannot write the access log; lines are lost")) != 1 {
		t.Errorf("%s, %v", log, err)
	}
}
