package adapters

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/perlpagi"
	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/confine"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// slowCode answers with its number and that of its adapter. It loads and reloads slowly where a file says so, and answers
// /slow after a while. Each step leaves a file, by which tests see how far it is.
const slowCode = `my $dir = $ENV{PAGI_TEST_DIR};
sub mark { open my $file, '>', "$dir/$_[0]" or die "$dir: $!"; close $file; $_[0] }
mark("load-$$");
if (-e "$dir/slow") { mark('loading'); sleep 60 }
sub {
	if ($_[0]{PATH_INFO} eq '/slow') { mark('serving'); for (1 .. 6000) { last if -e "$dir/go"; select undef, undef, undef, 0.01 } }
	[200, [], [join ' ', $$, getppid]]
}`

// marked returns the processes, besides this one, that have a text in their environment.
func marked(t *testing.T, text string) (pids []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		environment, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(environment, []byte(text)) {
			continue // it has ended, or is another user's
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			t.Fatal(err)
		}
		if pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// noneMarked waits until no process has a text in its environment, and kills those that are left.
func noneMarked(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(testkit.Patience); len(marked(t, text)) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			for _, pid := range marked(t, text) {
				command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // only for the message
				t.Errorf("process %d is left: %q", pid, command)
				_ = syscall.Kill(pid, syscall.SIGKILL) // an error means that it has ended
			}
			return
		}
	}
}

// exists waits for a file in dir.
func exists(t *testing.T, dir, name string) {
	t.Helper()
	testkit.Eventually(t, "the file "+name, func() bool { _, err := os.Stat(filepath.Join(dir, name)); return err == nil })
}

// A gateway that is killed leaves no process behind, whatever it was doing.
func TestAGatewayIsKilled(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	for _, phase := range []string{"while its adapter starts", "while a mount opens", "in a request", "in a reload", "while it ends"} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			mark := "PAGI_TEST_DIR=" + dir
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "PAGI_TEST_GATEWAY=1", "PAGI_TEST_CODE="+slowCode, mark)
			log := &testkit.Log{}
			cmd.Stderr = log
			switch phase {
			case "while its adapter starts":
				cmd.Env = append(cmd.Env, "PAGI_TEST_SLOW=1s")
			case "in a request":
				cmd.Env = append(cmd.Env, "PAGI_TEST_DOING=request")
			case "in a reload":
				cmd.Env = append(cmd.Env, "PAGI_TEST_DOING=reload")
			case "while it ends":
				cmd.Env = append(cmd.Env, "PAGI_TEST_DOING=shutdown")
			case "while a mount opens":
				slowly(t, dir)
			}
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			switch phase {
			case "while its adapter starts":
				testkit.Eventually(t, "the adapter", func() bool { return len(marked(t, mark)) >= 2 })
			case "while a mount opens":
				exists(t, dir, "loading")
			default:
				if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
					t.Fatal(err, log)
				}
				exists(t, dir, "serving")
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = out.Close()
			_ = cmd.Process.Release() // Wait waits for its adapter, too, which has its standard error
			_, _ = syscall.Wait4(cmd.Process.Pid, nil, syscall.WNOHANG, nil)
			if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil { // else its mount would wait for the request
				t.Fatal(err)
			}
			noneMarked(t, mark)
		})
	}
}

// slowly has slowCode load slowly from now on.
func slowly(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "slow"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// An adapter or a worker that is killed takes nothing with it but the requests it had. Nothing hangs, and the mount is
// served again.
func TestAnAdapterOrAWorkerIsKilled(t *testing.T) {
	for _, who := range []string{"adapter", "worker"} {
		for _, phase := range []string{"while the mount opens", "in a request", "in a reload", "while the mount ends"} {
			t.Run(who+" "+phase, func(t *testing.T) { killed(t, who == "adapter", phase) })
		}
	}
}

func killed(t *testing.T, adapter bool, phase string) {
	dir := t.TempDir()
	mark := "PAGI_TEST_DIR=" + dir
	t.Setenv("PAGI_TEST_DIR", dir)
	defer noneMarked(t, mark)
	h := newHouse(t)
	app := h.app(t, confine.Isolation{}, psgi.PSGI{Code: slowCode, Processes: worker.Processes{Workers: 1}})
	c := pagitest.New(app)
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	// victim returns the process to kill: the adapter, or the worker that has loaded last.
	victim := func() int {
		if adapter {
			return h.Status()[0].PID
		}
		files, err := filepath.Glob(filepath.Join(dir, "load-*"))
		if err != nil {
			t.Fatal(err)
		}
		newest, at := 0, time.Time{}
		for _, file := range files {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			if info.ModTime().After(at) {
				_, number, _ := strings.Cut(filepath.Base(file), "-")
				at = info.ModTime()
				newest, _ = strconv.Atoi(number)
			}
		}
		return newest
	}
	if phase == "while the mount opens" {
		slowly(t, dir)
		started := make(chan error, 1)
		go func() { started <- c.Startup(ctx) }()
		exists(t, dir, "loading")
		if err := os.Remove(filepath.Join(dir, "slow")); err != nil {
			t.Fatal(err)
		}
		kill(t, victim())
		err := testkit.AtOnce(t, started)
		if adapter && (err == nil || !strings.Contains(err.Error(), "adapter has died")) {
			t.Errorf("the start: %v", err)
		}
		if !adapter && err != nil && !strings.Contains(err.Error(), "killed") {
			t.Errorf("the start: %v", err)
		}
		if err != nil {
			return
		}
	} else if err := c.Startup(ctx); err != nil {
		t.Fatal(err)
	}
	switch phase {
	case "in a request", "while the mount ends":
		answer := make(chan *pagitest.Response, 1)
		go func() { answer <- pagitest.New(app).Get("/slow") }()
		exists(t, dir, "serving")
		ended := make(chan error, 1)
		if phase == "while the mount ends" {
			go func() { ended <- c.Shutdown(ctx) }()
		}
		kill(t, victim())
		want := 502
		if adapter { // its worker goes on, and answers what it has begun
			want = 200
			if phase == "in a request" {
				h.log.WaitFor(t, "the adapter has died")
			}
			if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if res := testkit.AtOnce(t, answer); res.Status != want {
			t.Errorf("the request gets %d %v, want %d\n%s", res.Status, res.Err, want, h.log)
		}
		if phase == "while the mount ends" {
			_ = testkit.AtOnce(t, ended) // it may tell of the death
			return
		}
	case "in a reload":
		slowly(t, dir)
		reloaded := make(chan error, 1)
		go func() { reloaded <- app.(interface{ Reload(context.Context) error }).Reload(ctx) }()
		exists(t, dir, "loading")
		if err := os.Remove(filepath.Join(dir, "slow")); err != nil {
			t.Fatal(err)
		}
		kill(t, victim())
		if err := testkit.AtOnce(t, reloaded); err == nil && adapter {
			t.Error("a reload whose adapter has died has succeeded")
		}
	}
	testkit.Eventually(t, "an answer", func() bool {
		res := c.Get("/")
		if res.Status != 200 && res.Status != 502 && res.Status != 503 {
			t.Fatalf("%d %s", res.Status, res.Text())
		}
		return res.Status == 200
	})
	if err := c.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// A WebSocket goes on when the adapter of its worker is killed, for the time that the streams of a replaced worker have.
// Then it is closed as one of those, and the worker ends.
func TestAnAdapterOfPAGIIsKilled(t *testing.T) {
	needsPAGI(t)
	dir := t.TempDir()
	mark := "PAGI_TEST_DIR=" + dir
	t.Setenv("PAGI_TEST_DIR", dir)
	defer noneMarked(t, mark)
	h := newHouse(t)
	o := perlpagi.PAGI{Code: echoPIDs, Name: "/", Processes: worker.Processes{Workers: 1}, StreamGrace: 300 * time.Millisecond}
	app := h.perlPAGI(t, o)
	c := pagitest.New(app)
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	if err := c.Startup(ctx); err != nil {
		t.Fatal(err)
	}
	number, _ := who(t, c)
	ws := c.WebSocket("/")
	if text := exchange(t, ws, "before"); text != "before "+number {
		t.Errorf("%q", text)
	}
	kill(t, h.Status()[0].PID)
	h.log.WaitFor(t, "the adapter has died")
	if text := exchange(t, ws, "after"); text != "after "+number {
		t.Errorf("%q", text)
	}
	testkit.Eventually(t, "another worker", func() bool {
		res := c.Get("/")
		return res.Status == 200 && !strings.HasPrefix(res.Text(), number+" ")
	})
	_, err := ws.Receive()
	var end *engine.WebSocketEnd
	if !errors.As(err, &end) || end.Code != 1012 {
		t.Errorf("the WebSocket ends with %v\n%s", err, h.log)
	}
	_ = ws.Finish() // the error is that of the end
	if err := c.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}
