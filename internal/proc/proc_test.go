//go:build unix

package proc

import (
	"errors"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// begin starts a shell script that has the given file as its output.
func begin(t testing.TB, script string, output *os.File) *Process {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if output == nil {
		output = null
	}
	p, err := Start(Spec{
		Args: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}, Dir: t.TempDir(),
		Files: []uintptr{null.Fd(), output.Fd(), null.Fd()}, DiesWithParent: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// says starts a shell script and returns the first line that it prints.
func says(t testing.TB, script string) (p *Process, line string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p = begin(t, script, w)
	if err := errors.Join(w.Close(), r.SetReadDeadline(time.Now().Add(testkit.Patience))); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, err := r.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return p, strings.TrimSpace(string(buf[:n]))
}

func TestAProcessLeadsAGroupAndHasOnlyWhatItIsGiven(t *testing.T) {
	t.Setenv("PROC_TEST", "must not be passed on")
	p, line := says(t, "echo $$ ${PROC_TEST-none}")
	if want := strconv.Itoa(p.Pid()) + " none"; line != want {
		t.Errorf("got %q, want %q", line, want)
	}
	if !LeadsGroup(p.Pid()) {
		t.Error("it does not lead a group")
	}
	if exit := p.Finish(); exit.String() != "exit status 0" {
		t.Error(exit)
	}
	if LeadsGroup(os.Getpid()) {
		t.Error("this process itself must never be ended as a group")
	}
	for _, pid := range []int{-1, 0, 1} {
		if LeadsGroup(pid) || Group(pid).Exists() { // kill takes -1 for all processes
			t.Errorf("%d is taken for the number of a group", pid)
		}
	}
}

// The test runs itself with a descriptor more, as a program is run that inherits one.
func TestAProcessDoesNotGetWhatThisOneHasInherited(t *testing.T) {
	const inside = "PROC_TEST_INHERITS"
	if os.Getenv(inside) != "" {
		p, line := says(t, "test -e /dev/fd/3 && echo inherited || echo closed")
		p.Finish()
		if line != "closed" {
			t.Error("descriptor 3 is " + line)
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), inside+"=1")
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	cmd.ExtraFiles = []*os.File{null}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestTheEndIsSeenInEachWay(t *testing.T) {
	for name, see := range map[string]func(*Process) bool{
		"by a watch":             func(p *Process) bool { p.Watch(); <-p.Done(); return true },
		"by a caller that waits": func(p *Process) bool { return p.EndsWithin(testkit.Patience) },
		"by both": func(p *Process) bool {
			p.Watch()
			return p.EndsWithin(testkit.Patience) && p.EndsWithin(0)
		},
		"by a watch that takes over from a caller": func(p *Process) bool {
			p.EndsWithin(time.Millisecond)
			<-p.Done()
			return true
		},
		"at last": func(*Process) bool { return true },
	} {
		t.Run(name, func(t *testing.T) {
			p := begin(t, "sleep 0.1; exit 3", nil)
			seen := make(chan struct{})
			p.OnEnd(func() { close(seen) })
			if p.IsReaped() {
				t.Error("it is reaped already")
			}
			if !see(p) {
				t.Error("its end was not seen")
			}
			if exit := p.Wait(); exit.String() != "exit status 3" {
				t.Errorf("%v", exit)
			}
			if again := p.Finish(); !p.IsReaped() || again.Status != 3<<8 {
				t.Errorf("the second time %v", again)
			}
			if strings.Contains(name, "by a watch") {
				testkit.Await(t, seen)
			}
			p.Signal(syscall.SIGKILL) // nobody must be hit
		})
	}
}

func TestFinishKillsWhatIsLeftOfTheGroupAndWaitDoesNot(t *testing.T) {
	for _, finish := range []bool{true, false} {
		p, line := says(t, "sleep 1000 >/dev/null 2>&1 & echo $!")
		child, err := strconv.Atoi(line)
		if err != nil {
			t.Fatal(err)
		}
		if finish {
			p.Finish()
		} else {
			p.Wait()
			if !p.Group().Exists() {
				t.Error("nothing is left of the group")
			}
			ended := make(chan struct{})
			close(ended)
			p.Group().End(testkit.Patience, nil, ended)
		}
		handle := Open(child)
		if !handle.EndsWithin(testkit.Patience) {
			t.Errorf("finish %v: the child goes on", finish)
		}
		handle.Close()
	}
}

func TestEndKillsAfterTheGrace(t *testing.T) {
	for name, c := range map[string]struct {
		script, want string
		grace        time.Duration
	}{
		"a process that ends when it is told to": {"echo ready; exec sleep 1000", "signal: terminated", testkit.Patience},
		"one that tidies up":                     {"trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done", "exit status 5", testkit.Patience},
		"one that does not listen":               {"trap '' TERM; echo ready; while :; do sleep 0.01; done", "signal: killed", 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := says(t, c.script)
			if exit := p.End(c.grace); exit.String() != c.want {
				t.Errorf("%v, want %s", exit, c.want)
			}
		})
	}
}

func TestAGroupIsEndedAtOnceInAHurry(t *testing.T) {
	p, _ := says(t, "trap '' TERM; echo ready; while :; do sleep 0.01; done")
	p.Watch()
	hurry := make(chan struct{})
	close(hurry)
	p.Group().End(time.Hour, hurry, p.Done())
	if exit := p.Wait(); exit.String() != "signal: killed" {
		t.Error(exit)
	}
}

func TestWhatCannotBeStartedLeavesNothing(t *testing.T) {
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(entries)
	}
	before := open()
	defer func() {
		if after := open(); after != before {
			t.Errorf("%d descriptors are open, %d were", after, before)
		}
		if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); !errors.Is(err, syscall.ECHILD) {
			t.Errorf("child %d, %v", pid, err)
		}
	}()
	if _, err := Start(Spec{Args: []string{"/no/such/program"}}); !errors.Is(err, syscall.ENOENT) {
		t.Error(err)
	}
	cmd := exec.Command("no-such-program-anywhere")
	if _, err := FromCommand(cmd); !errors.Is(err, exec.ErrNotFound) {
		t.Error(err)
	}
}

func TestACommandBecomesASpec(t *testing.T) {
	cmd := exec.Command("sh", "-c", "exit 0")
	for name, wrong := range map[string]*exec.Cmd{
		"files":      {Path: "/bin/true", ExtraFiles: []*os.File{os.Stdout}},
		"attributes": {Path: "/bin/true", SysProcAttr: &syscall.SysProcAttr{}},
	} {
		if _, err := FromCommand(wrong); err == nil {
			t.Errorf("%s are lost", name)
		}
	}
	cmd.Dir, cmd.Env = t.TempDir(), []string{"A=1", "A=2"}
	spec, err := FromCommand(cmd)
	if err != nil || spec.Path != cmd.Path || spec.Dir != cmd.Dir || !strings.Contains(strings.Join(spec.Env, " "), "A=2") {
		t.Errorf("%+v, %v", spec, err)
	}
	p, err := Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	if exit := p.Wait(); exit.Status != 0 {
		t.Error(exit)
	}
}

func TestAForkedChildIsAdopted(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "exit 3")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	reaped := 0
	p, err := Adopt(cmd.Process.Pid, func() { reaped++ })
	if err != nil {
		t.Fatal(err)
	}
	if exit := p.Finish(); exit.String() != "exit status 3" || reaped != 1 {
		t.Errorf("%v, told %d times", exit, reaped)
	}
	if err := cmd.Process.Release(); err != nil {
		t.Error(err)
	}
}

// Kernels without pidfd (before 5.4) are waited on with a thread.
func TestAProcessIsAwaitedWithoutAPidfd(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "exit 3")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := newProcess(-1)
	p.pid = cmd.Process.Pid
	if exit := p.Finish(); exit.String() != "exit status 3" {
		t.Error(exit)
	}
	if err := cmd.Process.Release(); err != nil {
		t.Error(err)
	}
}

func TestExitWords(t *testing.T) {
	for _, script := range []string{"exit 0", "exit 7", "exit 255", "kill -KILL $$", "kill -TERM $$", "kill -SEGV $$"} {
		cmd := exec.Command("sh", "-c", script)
		_ = cmd.Run()
		if got, want := Describe(cmd.ProcessState.Sys().(syscall.WaitStatus)), cmd.ProcessState.String(); got != want {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
	}
	for status, want := range map[syscall.WaitStatus]string{
		0: "exit status 0", 3 << 8: "exit status 3", 15: "signal: terminated", 11 | 0x80: "signal: segmentation fault (core dumped)",
	} {
		if got := Describe(status); got != want {
			t.Errorf("%#x: %q, want %q", uint32(status), got, want)
		}
	}
}

func TestWholeSecondsAreRoundedUpWithoutAnOverflow(t *testing.T) {
	for d, want := range map[time.Duration]uint64{1: 1, time.Second: 1, time.Second + 1: 2, math.MaxInt64: math.MaxInt64/1_000_000_000 + 1} {
		if got := wholeSeconds(d); got != want {
			t.Errorf("%v: %d, want %d", d, got, want)
		}
	}
}

func TestResidentOfNobody(t *testing.T) {
	if n, err := Resident(1 << 30); err == nil {
		t.Errorf("%d bytes", n)
	}
}

func TestAnEndIsPolledForWhereThereIsNoPidfd(t *testing.T) {
	p := begin(t, "exec sleep 1000", nil)
	if pollEnd(p.Pid(), 0) {
		t.Error("it runs, and is said to have ended")
	}
	p.End(testkit.Patience)
	if !pollEnd(p.Pid(), testkit.Patience) {
		t.Error("it has ended, and is said to run")
	}
}
