//go:build linux

package confine

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// adapterName is the name of this test program when it is an adapter.
const adapterName = "confined-test-adapter"

// TestMain is also the adapter: it confines itself, and runs a command or one of adapterModes.
func TestMain(m *testing.M) {
	if os.Args[0] != adapterName {
		os.Exit(m.Run())
	}
	if err := Apply(); err != nil {
		fmt.Println("apply:", err)
		os.Exit(3)
	}
	if mode := adapterModes[os.Args[1]]; mode != nil {
		mode()
		return
	}
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

var adapterModes = map[string]func(){"threads": readInThreads, "family": crossThreads}

// readInThreads tries to read a file in as many threads at once.
func readInThreads() {
	const threads = 20
	var ready, done sync.WaitGroup
	ready.Add(threads)
	results := make(chan error, threads)
	for range threads {
		done.Go(func() {
			runtime.LockOSThread()
			ready.Done()
			ready.Wait() // so no two share a thread
			_, err := os.ReadFile(os.Args[2])
			results <- err
		})
	}
	done.Wait()
	refused := 0
	for range threads {
		if errors.Is(<-results, os.ErrPermission) {
			refused++
		}
	}
	fmt.Println("refused", refused)
}

// crossThreads starts a process in one thread and looks at it and ends it in another.
func crossThreads() {
	started, ended := make(chan *exec.Cmd), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		cmd := exec.Command("cat")
		in, _ := cmd.StdinPipe()
		fmt.Println("start", cmd.Start())
		started <- cmd
		<-ended
		fmt.Println("wait", cmd.Wait())
		_ = in.Close() // it has ended
		close(started)
	}()
	runtime.LockOSThread()
	cmd := <-started
	_, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", cmd.Process.Pid))
	fmt.Println("environ", err)
	fmt.Println("kill", syscall.Kill(cmd.Process.Pid, syscall.SIGTERM))
	close(ended)
	<-started
}

// asRoot skips a test that other users cannot run.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can start processes of other users, and make files that they cannot read")
	}
}

// withLandlock skips a test where the kernel has not the version.
func withLandlock(t *testing.T, version int) {
	t.Helper()
	if have := landlockVersion(); have < version {
		t.Skipf("the kernel's Landlock has version %d, the test needs %d", have, version)
	}
}

// directory makes a directory that all users can read.
func directory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "confine-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func write(t *testing.T, path, content string, mode os.FileMode) string {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, []byte(content), mode), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
	return path
}

// command returns the command of an adapter that runs args. Without the variable the race detector would have it sleep for
// a second at its end.
func command(args ...string) *exec.Cmd {
	return &exec.Cmd{Path: selfProgram, Args: append([]string{adapterName}, args...), Dir: "/", Env: []string{"GORACE=atexit_sleep_ms=0"}}
}

func prepare(t *testing.T, i Isolation, cmd *exec.Cmd, needs Needs) *Plan {
	t.Helper()
	plan, err := i.Prepare(cmd, needs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plan.Close(); err != nil {
			t.Error(err)
		}
	})
	return plan
}

// run runs args in an adapter and returns what they print.
func run(t *testing.T, i Isolation, needs Needs, args ...string) string {
	t.Helper()
	cmd := command(args...)
	plan := prepare(t, i, cmd, needs)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if len(plan.Missing()) > 0 {
		t.Errorf("the system lacks something: %q", plan.Missing())
	}
	return string(out)
}

// adapter is a running adapter.
type adapter struct {
	cmd  *exec.Cmd
	plan *Plan
	in   io.WriteCloser
	out  *bufio.Reader
	once sync.Once
}

// start starts an adapter that runs until its input ends, and reads the first line that it prints.
func start(t *testing.T, i Isolation, needs Needs, args ...string) (a *adapter, first string) {
	t.Helper()
	a = &adapter{cmd: command(args...)}
	a.plan = prepare(t, i, a.cmd, needs)
	in, err := a.cmd.StdinPipe()
	out, err2 := a.cmd.StdoutPipe()
	a.cmd.Stderr = a.cmd.Stdout
	if err := errors.Join(err, err2, a.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	a.in, a.out = in, bufio.NewReader(out)
	t.Cleanup(a.stop)
	first, err = a.out.ReadString('\n')
	if err != nil {
		t.Fatalf("%q, %v", first, err)
	}
	if err := a.plan.Started(a.cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	return a, strings.TrimSuffix(first, "\n")
}

func (a *adapter) stop() {
	a.once.Do(func() {
		_ = a.in.Close()   // its end ends the adapter
		_ = a.cmd.Wait()   // how it ends is no matter here
		_ = a.plan.Close() // the plan's own cleanup reports
	})
}

// tries is a Perl program that tries to do what its arguments say, "read FILE" or "write FILE" and so on, and prints the
// first word of each with "done" or the error.
const tries = `
use strict; use warnings; use Socket;
for (@ARGV) {
	my ($verb, $what, $more) = split / /;
	my %do = (
		read   => sub { -d $what ? opendir(my $d, $what) : open(my $f, '<', $what) },
		write  => sub { open(my $f, '>>', $what) },
		create => sub { open(my $f, '>', $what) and unlink $what },
		mkdir  => sub { mkdir $what and rmdir $what },
		readlink => sub { defined readlink $what },
		unlink => sub { unlink $what },
		symlink => sub { symlink $more, $what },
		link   => sub { link $what, $more },
		rename => sub { rename $what, $more },
		kill   => sub { kill 0, $what },
		truncate => sub { truncate $what, 0 },
		run    => sub { my $r = system { $what } $what; $r == 0 },
		connect => sub { my $s; socket($s, PF_INET, SOCK_STREAM, 0) and connect($s, pack_sockaddr_in($what, inet_aton('127.0.0.1'))) },
		bind   => sub { my $s; socket($s, PF_INET, SOCK_STREAM, 0) and bind($s, pack_sockaddr_in($what, inet_aton('127.0.0.1'))) },
		unix   => sub { my $s; socket($s, PF_UNIX, SOCK_STREAM, 0) and connect($s, pack_sockaddr_un($what)) },
	);
	$! = 0;
	print "$verb $what: ", ($do{$verb}->() ? 'done' : $!+0), "\n";
}`

// tried is an attempt and the error that is wanted: 0 is none.
type tried struct {
	what string
	want syscall.Errno
}

// attempt has a Perl below an adapter, or one below a shell below it, make attempts.
func attempt(t *testing.T, i Isolation, needs Needs, attempts ...tried) {
	t.Helper()
	perl := testkit.Tool(t, "perl", "perl")
	for name, before := range map[string][]string{
		"a child":      {perl, "-e", tries},
		"a grandchild": {"/bin/sh", "-c", `"$@"; true`, "sh", perl, "-e", tries},
	} {
		args, want := before, ""
		for _, a := range attempts {
			args = append(args, a.what)
			fields := strings.Fields(a.what)
			result := "done"
			if a.want != 0 {
				result = fmt.Sprint(int(a.want))
			}
			want += fields[0] + " " + fields[1] + ": " + result + "\n"
		}
		got := run(t, i, needs, args...)
		if got == want {
			continue
		}
		wanted := strings.Split(want, "\n")
		for n, line := range strings.Split(got, "\n") {
			if n >= len(wanted) || line != wanted[n] {
				t.Errorf("%s: got %q, want %q", name, line, wanted[min(n, len(wanted)-1)])
			}
		}
	}
}

func join(elements ...string) string { return filepath.Join(elements...) }
