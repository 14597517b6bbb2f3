package command_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// inOwn returns a command that uses a new directory, tmp, for its temporary files. The directory's
// name must be short, because sockets will be in it.
func inOwn(t *testing.T, dir string, args ...string) (cmd *exec.Cmd, tmp string) {
	t.Helper()
	tmp, err := os.MkdirTemp("/tmp", "pb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) }) // the test has looked into it
	cmd = testkit.Command(dir, program, args...)
	cmd.Env = append(cmd.Env, "TMPDIR="+tmp)
	return cmd, tmp
}

// nothingLeft checks that neither a process nor a file of a gateway is left.
func nothingLeft(t *testing.T, dir, tmp string) {
	t.Helper()
	for _, pid := range testkit.WorkingIn(t, dir) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // it tells less then
		t.Errorf("process %d is left: %q", pid, text)
		_ = syscall.Kill(pid, syscall.SIGKILL) // or it has ended now
	}
	left, err := os.ReadDir(tmp)
	if err != nil || len(left) > 0 {
		t.Errorf("left in TMPDIR: %v, %v", left, err)
	}
}

// deaf is an application whose workers and their children do not listen to TERM; deafCGI is
// a script like it, and deafPerl one that can be compiled once.
const (
	deaf = `$SIG{TERM} = 'IGNORE';
sub {
  my $p = $_[0]{PATH_INFO};
  if ($p eq '/hang') { open my $f, '>', 'busy'; sleep 300 }
  if ($p eq '/bg' && !fork) { open my $f, '>', 'busy'; sleep 300; exit }
  [200, [], ["ok\n"]]
};
`
	deafCGI  = "#!/bin/sh\ntrap '' TERM\n( echo x > busy; exec sleep 300 )\n"
	deafPerl = "#!/usr/bin/perl\nif ($ENV{QUERY_STRING}) { $SIG{TERM} = 'IGNORE'; system(qw(sh -c), 'echo x > busy; exec sleep 300'); }\nprint qq(Content-Type: text/plain\\n\\nok\\n);\n"
)

// again sends TERM until a program that has had one ends. One that comes within half a second of the first counts as the
// same, and a busy machine may deliver the first one late.
func again(t *testing.T, p *testkit.Program) {
	t.Helper()
	tick := time.NewTicker(600 * time.Millisecond)
	defer tick.Stop()
	late := time.After(testkit.Patience)
	for {
		select {
		case <-p.Exited():
			return
		case <-late: // Wait says so
			return
		case <-tick.C:
			if err := p.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Error(err)
				return
			}
		}
	}
}

// TestAStopLeavesNothing: the stop has less time than processes that ignore TERM would need.
func TestAStopLeavesNothing(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	for _, c := range []struct {
		name, mount, path string
		forced            bool
		timeout           string
	}{
		{"a busy worker", "psgi: app.psgi", "/hang", false, "1s"},
		{"a forked one", "psgi: app.psgi, preload: true", "/hang", false, "1s"},
		{"a worker's child", "psgi: app.psgi", "/bg", false, "1s"},
		{"the child of a forked one", "psgi: app.psgi, preload: true", "/bg", false, "1s"},
		{"a busy worker, forced", "psgi: app.psgi", "/hang", true, "60s"},
		{"a forked one, forced", "psgi: app.psgi, preload: true", "/hang", true, "60s"},
		{"a script and its child", "cgi: {script: deaf.cgi, mode: exec}", "/", false, "1s"},
		{"a script and its child, forced", "cgi: {script: deaf.cgi, mode: exec}", "/", true, "60s"},
		{"a compiled script and its child", "cgi: {script: deaf.pl, mode: fork}", "/?hang", false, "1s"},
		{"a persistent script and its child", "cgi: {script: deaf.pl, mode: persistent}", "/?hang", false, "1s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := testkit.Tree(t, map[string]string{"app.psgi": deaf, "deaf.cgi": deafCGI, "deaf.pl": deafPerl,
				"site.yaml": "listen: 127.0.0.1:0\nworkers: 1\nshutdown_timeout: " + c.timeout + "\nmounts: [{path: /, " + c.mount + "}]\n"})
			cmd, tmp := inOwn(t, dir, "-c", "site.yaml")
			p := testkit.StartAnyExit(t, cmd)
			asked := make(chan struct{})
			go func() {
				defer close(asked)
				if res, err := http.Get(p.URL + c.path); err == nil { // mostly it is cut
					_ = res.Body.Close()
				}
			}()
			p.Eventually("the request to run", func() bool { _, err := os.Stat(filepath.Join(dir, "busy")); return err == nil })
			began := time.Now()
			if err := p.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if c.forced {
				again(t, p)
			}
			p.Wait()
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("it took %v", took)
			}
			nothingLeft(t, dir, tmp)
			<-asked
		})
	}
}

// slow is an application that takes long to load.
const slow = "open my $f, '>', 'loading'; close $f; sleep 300; sub { [200, [], ['ok']] };\n"

// TestATermWhileItStarts comes when one application has started and another one has not, and
// at moments before.
func TestATermWhileItStarts(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	for name, wait := range map[string]time.Duration{
		"at once": 0, "after 5 ms": 5 * time.Millisecond, "after 20 ms": 20 * time.Millisecond,
		"after 50 ms": 50 * time.Millisecond, "after 100 ms": 100 * time.Millisecond, "while an application loads": -1,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := testkit.Tree(t, map[string]string{
				"quick.psgi": app, "slow.psgi": slow, "cgi/a.cgi": script,
				"site.yaml": "listen: 127.0.0.1:0\nworkers: 2\nmounts:\n  - {path: /cgi, cgi: cgi}\n  - {path: /q, psgi: quick.psgi}\n" +
					"  - {path: /p, psgi: quick.psgi, preload: true}\n  - {path: /, psgi: slow.psgi}\n  - {path: /s, psgi: slow.psgi, preload: true}\n",
			})
			cmd, tmp := inOwn(t, dir, "-c", "site.yaml")
			var log testkit.Log
			cmd.Stderr = &log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if wait < 0 {
				testkit.Eventually(t, "the application to be loaded", func() bool { _, err := os.Stat(filepath.Join(dir, "loading")); return err == nil })
			}
			time.Sleep(wait)
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			err := within(t, cmd)
			var exit *exec.ExitError
			killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled() // before it could catch anything
			if err != nil && !(killed && wait >= 0) {
				t.Errorf("%v: %s", err, &log)
			}
			nothingLeft(t, dir, tmp)
		})
	}
}

// within waits for a program's end, and kills it where that does not come.
func within(t *testing.T, cmd *exec.Cmd) error {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(testkit.Patience):
		t.Error("it does not end")
		_ = cmd.Process.Kill()
		return <-ended
	}
}

// TestATermInReloadAndRestart comes while a new site is started, in this process or another
// one.
func TestATermInReloadAndRestart(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	for name, signal := range map[string]syscall.Signal{"reload": syscall.SIGHUP, "restart": syscall.SIGUSR2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := testkit.Tree(t, map[string]string{"quick.psgi": app, "slow.psgi": slow, "site.yaml": "listen: 127.0.0.1:0\nworkers: 2\nmounts: [{path: /, psgi: quick.psgi}]\n"})
			cmd, tmp := inOwn(t, dir, "-c", "site.yaml")
			p := testkit.Start(t, cmd)
			if err := os.WriteFile(filepath.Join(dir, "site.yaml"), []byte("listen: 127.0.0.1:0\nworkers: 2\nmounts: [{path: /, psgi: quick.psgi}, {path: /s, psgi: slow.psgi}]\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := p.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			p.Eventually("the application to be loaded", func() bool { _, err := os.Stat(filepath.Join(dir, "loading")); return err == nil })
			if code := p.Stop(syscall.SIGTERM); code != 0 {
				t.Errorf("exit code %d", code)
			}
			nothingLeft(t, dir, tmp)
		})
	}
}

// TestATermBeforeThereIsAnything: a site file cannot be read, because a file system does not
// answer. A FIFO without a writer plays that file system.
func TestATermBeforeThereIsAnything(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"f.txt": ""})
	if err := syscall.Mkfifo(filepath.Join(dir, "site.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]int{"-c site.yaml": 0, "-t -c site.yaml": 1} {
		cmd := testkit.Command(dir, program, strings.Fields(args)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var silent *os.File // the other end of the FIFO, which can be opened when the program has its own
		testkit.Eventually(t, "it to read the file", func() (opened bool) {
			var err error
			silent, err = os.OpenFile(filepath.Join(dir, "site.yaml"), os.O_WRONLY|syscall.O_NONBLOCK, 0)
			return err == nil
		})
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_ = within(t, cmd) // the code is looked at
		if err := silent.Close(); err != nil {
			t.Error(err)
		}
		if code := cmd.ProcessState.ExitCode(); code != want {
			t.Errorf("%s: exit code %d", args, code)
		}
	}
}

// TestWhatAKilledGatewayLeaves: the next gateway removes it, but removes nothing of a running
// gateway. Adapters end by themselves, and later (package plugin/adapters tests that).
func TestWhatAKilledGatewayLeaves(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	dir := testkit.Tree(t, map[string]string{"app.psgi": app, "a.cgi": script,
		"site.yaml":  "listen: [127.0.0.1:0, ./s]\nstatus_socket: run/status\nworkers: 1\nisolate: none\nmounts: [{path: /, psgi: app.psgi}, {path: /c, cgi: a.cgi}]\n",
		"other.yaml": "listen: 127.0.0.1:0\nworkers: 1\nisolate: none\nmounts: [{path: /, psgi: app.psgi}]\n"})
	cmd, tmp := inOwn(t, dir, "-c", "other.yaml")
	alive := &gateway{testkit.Start(t, cmd), t}
	entries := func(where string) (names []string) {
		list, err := os.ReadDir(where)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			names = append(names, e.Name())
		}
		return names
	}
	living := entries(tmp)
	again := func() *testkit.Program {
		cmd := testkit.Command(dir, program, "-c", "site.yaml")
		cmd.Env = append(cmd.Env, "TMPDIR="+tmp)
		return testkit.StartAnyExit(t, cmd)
	}
	for range 3 {
		g := again()
		if n := len(entries(tmp)); n != len(living)+3 {
			t.Errorf("%d directories beside %v: %v", n, living, entries(tmp))
		}
		if err := g.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		g.Wait()
	}
	g := again()
	if n := len(entries(tmp)); n != len(living)+3 {
		t.Errorf("%d directories beside %v: %v", n, living, entries(tmp))
	}
	g.Log.WaitFor(t, "removed the directories of a gateway that was killed")
	if code := g.Stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if got := entries(tmp); fmt.Sprint(got) != fmt.Sprint(living) {
		t.Errorf("%v, want %v", got, living)
	}
	if got := entries(filepath.Join(dir, "run")); len(got) > 0 {
		t.Errorf("beside the status socket: %v", got)
	}
	if code, _ := alive.get("/"); code != 200 {
		t.Errorf("the other one: %d", code)
	}
}
