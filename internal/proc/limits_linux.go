package proc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// LimitsWork says whether Limits can be set on this system.
const LimitsWork = true

// kernelLimit is one of setrlimit's. name is how the program prlimit calls it.
type kernelLimit struct {
	resource   int
	name       string
	soft, hard uint64
}

func (l *Limits) kernelLimits() []kernelLimit {
	var all []kernelLimit
	same := func(resource int, name string, n int64) {
		if n != 0 {
			all = append(all, kernelLimit{resource, name, uint64(n), uint64(n)})
		}
	}
	if soft, hard := l.CPUSeconds(); soft != 0 {
		all = append(all, kernelLimit{unix.RLIMIT_CPU, "cpu", soft, hard})
	}
	same(unix.RLIMIT_DATA, "data", l.Memory)
	same(unix.RLIMIT_NPROC, "nproc", int64(l.Processes))
	same(unix.RLIMIT_NOFILE, "nofile", int64(l.OpenFiles))
	return all
}

// apply gives the limits to a process that has not begun to run. Its children inherit them.
func (l *Limits) apply(pid int) error {
	for _, k := range l.kernelLimits() {
		if err := unix.Prlimit(pid, k.resource, &unix.Rlimit{Cur: k.soft, Max: k.hard}, nil); err != nil {
			return fmt.Errorf("prlimit %s: %w", k.name, err)
		}
	}
	return l.renice(pid)
}

func (l *Limits) renice(pid int) error {
	if l.Nice == 0 {
		return nil
	}
	// Relative to our own, which the system call shifts to 1..40.
	own, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err == nil {
		err = unix.Setpriority(unix.PRIO_PROCESS, pid, max(-20, min(19, 20-own+l.Nice)))
	}
	if err != nil {
		return fmt.Errorf("setpriority: %w", err)
	}
	return nil
}

// startLimited starts a program within limits, which hold before its first instruction.
func (p *Profile) startLimited(s Spec, attr *syscall.ProcAttr) (pid int, err error) {
	apply := p.limits.apply
	if p.launcher != nil {
		if !isProgram(s.Path) {
			return 0, syscall.ENOEXEC // the launcher's C library would have a shell run it
		}
		apply = func(int) error { return nil }
		if p.nicer == "" {
			apply = p.limits.renice // the launcher sets the others
		}
		s.Path, s.Args = p.launcher[0], append(slices.Clone(p.launcher), s.Args...)
	}
	switch {
	case s.Traced:
		if pid, err = forkExecTraced(s.Path, s.Args, attr); err != nil {
			return 0, err
		}
		if err = awaitStop(pid); err == nil {
			err = apply(pid)
		}
		return pid, err
	case p.launcher != nil:
		if pid, err = syscall.ForkExec(s.Path, s.Args, attr); err != nil {
			return 0, err
		}
		return pid, apply(pid)
	}
	return forkExecStopped(s.Path, s.Args, attr, apply)
}

// forkExecTraced starts a program that stops before its first instruction, traced by the calling thread.
func forkExecTraced(path string, args []string, attr *syscall.ProcAttr) (pid int, err error) {
	attr.Sys.Ptrace = true
	return syscall.ForkExec(path, args, attr)
}

// forkExecStopped starts a program that is stopped before its first instruction, calls prepare and lets it run. Decision
// 11 says why.
func forkExecStopped(path string, args []string, attr *syscall.ProcAttr, prepare func(pid int) error) (pid int, err error) {
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	if pid, err = forkExecTraced(path, args, attr); err != nil {
		return 0, err
	}
	if err := awaitStop(pid); err != nil {
		return pid, err
	}
	err = prepare(pid)
	// ESRCH: it was killed, so there is nothing to be let go of.
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

// launcherProgram is util-linux's program that gives itself limits and becomes another program, niceProgram the one of
// coreutils that makes itself nicer.
const (
	launcherProgram = "prlimit"
	niceProgram     = "nice"
)

// setLauncher chooses how limits are set. The limits of another user's process are out of our reach without the capability
// SYS_RESOURCE, and its priority without SYS_NICE. Containers seldom have them. The programs prlimit and nice, run as
// that user, can set their own.
func (p *Profile) setLauncher() error {
	if p.limits.Nice < 0 && !p.mayBeLessNice() {
		return ErrNoNice
	}
	noNice := p.user != nil && p.limits.Nice > 0 && !hasCapability(unix.CAP_SYS_NICE)
	noLimits := p.user != nil && len(p.limits.kernelLimits()) > 0 && !hasCapability(unix.CAP_SYS_RESOURCE)
	if !noNice && !noLimits {
		return tryStopping()
	}
	var err error
	if noNice {
		if p.nicer, err = exec.LookPath(niceProgram); err != nil {
			return fmt.Errorf("%w: %w", ErrNoNice, err)
		}
	}
	program := ""
	if len(p.limits.kernelLimits()) > 0 {
		if program, err = exec.LookPath(launcherProgram); err != nil {
			return fmt.Errorf("%w: %w", ErrNoLauncher, err)
		}
	}
	p.launch(program)
	return nil
}

// mayBeLessNice reports whether we may give the profile's processes a negative Nice. Both system calls count from 1, the
// nicest, to 40.
func (p *Profile) mayBeLessNice() bool {
	if hasCapability(unix.CAP_SYS_NICE) {
		return true
	}
	own, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	var allowed unix.Rlimit
	if err != nil || p.user != nil || unix.Getrlimit(unix.RLIMIT_NICE, &allowed) != nil {
		return false
	}
	return uint64(min(40, own-p.limits.Nice)) <= allowed.Cur
}

// launch has the program prlimit set the limits, and nicer, unless it is "", the priority.
func (p *Profile) launch(program string) {
	p.launcher, p.prlimit = nil, program
	if all := p.limits.kernelLimits(); len(all) > 0 {
		p.launcher = []string{program}
		for _, k := range all {
			p.launcher = append(p.launcher, fmt.Sprintf("--%s=%d:%d", k.name, k.soft, k.hard))
		}
		p.launcher = append(p.launcher, "--")
	}
	if p.nicer != "" {
		p.launcher = append(p.launcher, p.nicer, "-n", strconv.Itoa(p.limits.Nice), "--")
	}
}

// WithoutCPU returns the profile without its limit of processor time.
func (p *Profile) WithoutCPU() *Profile {
	if p == nil || p.limits.CPU == 0 {
		return p
	}
	other := *p
	other.limits.CPU = 0
	if p.launcher != nil {
		other.launch(p.prlimit)
	}
	return &other
}

func hasCapability(number int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<number) != 0
}

// isProgram reports whether the kernel knows how to run a file. One that cannot be read may be a program.
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

// tryStopping finds out, once, whether this system lets us stop a program at its begin: some sandboxes forbid to trace.
var tryStopping = sync.OnceValue(func() error {
	p := newProcess(-1)
	attr := &syscall.ProcAttr{Dir: "/", Env: []string{}, Sys: p.attributes(true)}
	killed := func(pid int) error { return unix.Kill(pid, unix.SIGKILL) }
	pid, err := forkExecStopped("/proc/self/exe", []string{"/proc/self/exe"}, attr, killed)
	if pid != 0 {
		p.pid = pid
		p.Signal(syscall.SIGKILL) // where it was not killed yet
		p.Finish()
	}
	if err != nil {
		return fmt.Errorf("%w (ptrace): %w", ErrNoStop, err)
	}
	return nil
})
