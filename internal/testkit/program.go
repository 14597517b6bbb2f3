package testkit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// RunWith builds commands of this module and then runs the tests of m. Each key is the path of a
// command in the module ("cmd/pagi-bridge"). RunWith sets its value to the path of the built
// program. It returns the exit code for a TestMain.
func RunWith(m *testing.M, programs map[string]*string) int {
	dir, err := os.MkdirTemp("", "pagi-bridge-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for command, program := range programs {
		*program = filepath.Join(dir, path.Base(command))
		// With a profile every package would be compiled once more.
		build := exec.Command("go", "build", "-pgo=off", "-ldflags=-w", "-o", *program, "github.com/pagi-go/pagi-bridge/"+command)
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "build", command, err)
			return 1
		}
	}
	return m.Run()
}

// Command returns a command that runs a program in dir ("": the current directory). The program
// gets the environment of this process without PAGI_ENV and PLACK_ENV, which would choose its mode.
func Command(dir, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "PAGI_ENV=") && !strings.HasPrefix(e, "PLACK_ENV=") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	return cmd
}

// Tool returns the path of a program; the test is skipped where it is missing. debian
// names the package that has it.
func Tool(t testing.TB, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed (apt-get install %s)", name, debian)
	}
	return path
}

// Program is a running pagi-bridge, or a program like it.
type Program struct {
	Process *os.Process
	URL     string // of the first address it serves at over TCP, without a slash at the end
	Log     Log    // its standard error

	t      testing.TB
	cmd    *exec.Cmd
	exited chan struct{}
}

var serving = regexp.MustCompile(`Serving at (http\S*)/\n`)

// Start starts cmd and waits until it says "Serving at". When the test ends, it is
// stopped with SIGTERM, unless it has been before; its exit code must be 0.
func Start(t testing.TB, cmd *exec.Cmd) *Program {
	t.Helper()
	return begin(t, cmd, true)
}

// StartAnyExit is Start for a program whose exit code does not matter.
func StartAnyExit(t testing.TB, cmd *exec.Cmd) *Program {
	t.Helper()
	return begin(t, cmd, false)
}

func begin(t testing.TB, cmd *exec.Cmd, mustSucceed bool) *Program {
	t.Helper()
	p := &Program{t: t, cmd: cmd, exited: make(chan struct{})}
	logged := p.log()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Stderr.(*os.File).Close() // the program has it
	p.Process = cmd.Process
	go func() {
		_ = cmd.Wait() // Wait asks for the exit code
		select {
		case <-logged:
		case <-time.After(time.Second): // another process writes there, too
		}
		close(p.exited)
	}()
	t.Cleanup(func() {
		if code := p.Stop(syscall.SIGTERM); code != 0 && mustSucceed {
			t.Errorf("exit code %d", code)
		}
		if t.Failed() {
			t.Logf("standard error:\n%s", &p.Log)
		}
	})
	p.Eventually("its address", func() bool {
		m := serving.FindStringSubmatch(p.Log.String())
		if m != nil {
			p.URL = m[1]
		}
		return m != nil
	})
	return p
}

// log copies the standard error of the program to Log. It closes the channel when no process can
// write there any more. That may be after the end of the program, which may start a process that
// outlives it.
func (p *Program) log() <-chan struct{} {
	p.t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd.Stderr = write
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		_, _ = io.Copy(&p.Log, read) // until its end or an error
		_ = read.Close()
	}()
	return logged
}

// Address is the host:port of URL.
func (p *Program) Address() string {
	_, address, _ := strings.Cut(p.URL, "://")
	return address
}

// Eventually is like the function of this name, but fails at once when the program has ended before
// the condition holds.
func (p *Program) Eventually(what string, condition func() bool) {
	p.t.Helper()
	Eventually(p.t, what, func() bool {
		select {
		case <-p.exited:
			if !condition() {
				p.t.Fatalf("the program ended (%v) before %s", p.cmd.ProcessState, what)
			}
			return true
		default:
			return condition()
		}
	})
}

// Stop sends a signal, waits for the end and returns the exit code. It sends nothing to a program
// that has ended already.
func (p *Program) Stop(signal os.Signal) int {
	p.t.Helper()
	if err := p.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Error(err)
	}
	return p.Wait()
}

// Exited returns a channel that is closed when the program has ended and its standard error has been read.
func (p *Program) Exited() <-chan struct{} { return p.exited }

// Wait waits for the program's end and returns the exit code. It kills a program
// that does not end in time.
func (p *Program) Wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(Patience):
		p.t.Error("it does not stop")
		_ = p.Process.Kill() // if that fails, it has just ended
		<-p.exited
	}
	return p.cmd.ProcessState.ExitCode()
}
