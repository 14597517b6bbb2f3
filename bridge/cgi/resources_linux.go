package cgi

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const resourcesWork = true

// kernelLimit is one of setrlimit's. name is how the program prlimit calls it.
type kernelLimit struct {
	resource   int
	name       string
	soft, hard uint64
}

func (a *app) kernelLimits() []kernelLimit {
	var all []kernelLimit
	same := func(resource int, name string, n int64) {
		if n != 0 {
			all = append(all, kernelLimit{resource, name, uint64(n), uint64(n)})
		}
	}
	if soft, hard := a.cpuLimit(); soft != 0 {
		all = append(all, kernelLimit{unix.RLIMIT_CPU, "cpu", soft, hard})
	}
	same(unix.RLIMIT_DATA, "data", a.Memory)
	same(unix.RLIMIT_NPROC, "nproc", int64(a.Processes))
	same(unix.RLIMIT_NOFILE, "nofile", int64(a.OpenFiles))
	return all
}

// cpuLimit returns the seconds of cpu_time, and those after which KILL comes; 0: no limit.
func (a *app) cpuLimit() (soft, hard uint64) {
	if a.CPUTime == 0 {
		return 0, 0
	}
	soft = wholeSeconds(a.CPUTime)
	return soft, soft + wholeSeconds(a.KillAfter)
}

// limitZygote is limitResources without the processor time, which is its children's.
func (a *app) limitZygote(pid int) error {
	for _, l := range a.kernelLimits() {
		if l.resource == unix.RLIMIT_CPU {
			continue
		}
		if err := l.set(pid); err != nil {
			return err
		}
	}
	return a.renice(pid)
}

func (l *kernelLimit) set(pid int) error {
	if err := unix.Prlimit(pid, l.resource, &unix.Rlimit{Cur: l.soft, Max: l.hard}, nil); err != nil {
		return fmt.Errorf("prlimit %s: %w", l.name, err)
	}
	return nil
}

// limitResources gives the limits of a to a process that has not begun to run. Its
// children inherit them.
func (a *app) limitResources(pid int) error {
	for _, l := range a.kernelLimits() {
		if err := l.set(pid); err != nil {
			return err
		}
	}
	return a.renice(pid)
}

func (a *app) renice(pid int) error {
	if a.Nice == 0 {
		return nil
	}
	// Relative to our own, which the system call shifts to 1..40.
	own, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err == nil {
		err = unix.Setpriority(unix.PRIO_PROCESS, pid, max(-20, min(19, 20-own+a.Nice)))
	}
	if err != nil {
		return fmt.Errorf("setpriority: %w", err)
	}
	return nil
}

// wholeSeconds rounds up.
func wholeSeconds(d time.Duration) uint64 { return uint64((d + time.Second - 1) / time.Second) }

// forkExecStopped starts a program that stops before its first instruction, because
// it is traced, calls prepare and lets it run. Decision 11 says why.
func forkExecStopped(c command, attr *syscall.ProcAttr, prepare func(pid int) error) (pid int, err error) {
	runtime.LockOSThread() // a tracer is a thread
	defer runtime.UnlockOSThread()
	attr.Sys.Ptrace = true
	pid, err = syscall.ForkExec(c.argv[0], c.argv, attr)
	if err != nil {
		return 0, err
	}
	if err := awaitStop(pid); err != nil {
		return pid, err
	}
	err = prepare(pid)
	// ESRCH: it was killed and has nothing to be let go of.
	if gone := unix.PtraceDetach(pid); gone != nil && !errors.Is(gone, unix.ESRCH) {
		err = errors.Join(err, gone)
	}
	return pid, err
}

// awaitStop waits until a traced process has stopped, or ended.
func awaitStop(pid int) error {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// prlimitProgram is util-linux's program that gives itself limits and becomes
// another program.
const prlimitProgram = "prlimit"

// setLauncher chooses who sets the limits of a's scripts: as another user's process
// they are out of our reach without the capability SYS_RESOURCE, which containers
// seldom have. The program prlimit, run as that user, can lower its own.
func (a *app) setLauncher() error {
	if !a.hasResources() {
		return nil
	}
	if a.credential == nil || hasSysResource() {
		return tryResources()
	}
	program, err := exec.LookPath(prlimitProgram)
	if err != nil {
		return fmt.Errorf("user: with cpu_time, memory, processes, open_files or nice it needs the capability SYS_RESOURCE or the program %s (util-linux): %w", prlimitProgram, err)
	}
	a.launcher = []string{program}
	for _, l := range a.kernelLimits() {
		a.launcher = append(a.launcher, fmt.Sprintf("--%s=%d:%d", l.name, l.soft, l.hard))
	}
	a.launcher = append(a.launcher, "--")
	return nil
}

func hasSysResource() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}

// forkExecLaunched starts c by way of the launcher.
func (a *app) forkExecLaunched(c command, attr *syscall.ProcAttr) (pid int, err error) {
	if !isProgram(c.argv[0]) {
		return 0, syscall.ENOEXEC // the launcher's library would have a shell try
	}
	launcher := slices.Clone(a.launcher)
	if c.control != 0 { // a zygote's children have that limit, each for itself
		launcher = slices.DeleteFunc(launcher, func(arg string) bool { return strings.HasPrefix(arg, "--cpu=") })
	}
	pid, err = syscall.ForkExec(launcher[0], append(launcher, c.argv...), attr)
	if err != nil {
		return 0, err
	}
	return pid, a.renice(pid)
}

// isProgram reports whether the kernel knows how to run a file. One that cannot be
// read may be a program.
func isProgram(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return true
	}
	defer f.Close() // opened for reading
	var first [4]byte
	n, _ := io.ReadFull(f, first[:]) // a shorter file is none
	return strings.HasPrefix(string(first[:n]), "#!") || string(first[:n]) == "\x7fELF"
}

// tryResources finds out, once, whether this system lets us stop a program at its
// begin: some sandboxes forbid to trace.
var tryResources = sync.OnceValue(func() error {
	c := command{argv: []string{"/proc/self/exe"}, dir: "/"}
	p := &process{exited: make(chan struct{}), handle: -1, onExit: func() {}}
	killed := func(pid int) error { return unix.Kill(pid, unix.SIGKILL) }
	attr := &syscall.ProcAttr{Dir: c.dir, Env: []string{}, Sys: p.attributes()}
	pid, err := forkExecStopped(c, attr, killed)
	if pid != 0 {
		p.pid = pid
		p.watch()
		p.finish()
	}
	if err != nil {
		return fmt.Errorf("cpu_time, memory, processes, open_files, nice: a process cannot be stopped at its begin here (ptrace): %w", err)
	}
	return nil
})
