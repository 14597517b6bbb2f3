package cgi

import (
	"errors"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// platformNote says what this system cannot do: on Linux there is nothing.
const platformNote = ""

// attributes asks for a process group of its own, for KILL when this process
// dies, and for a pidfd.
//
// Linux ties Pdeathsig to the thread that started the child; the Go runtime keeps
// its threads, and a caller that locked its goroutine to one is in Serve until
// the script has ended.
func (p *process) attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, PidFD: &p.handle}
}

func rawPipe() (r, w int, err error) {
	var fds [2]int
	err = syscall.Pipe2(fds[:], syscall.O_CLOEXEC)
	return fds[0], fds[1], err
}

// enlarge gives a pipe that much passes through more room, so that its two ends wait
// for each other less often. The kernel may refuse: it limits a user's pipes.
func (p *pipe) enlarge() {
	if conn, err := p.ours.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, largePipe) })
	}
}

// await returns when the process has become a zombie. With a pidfd the runtime's
// poller does the waiting and no thread is held.
func (p *process) await() {
	if p.handle >= 0 && p.poll() {
		return
	}
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, p.pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// tries is how often the end is looked for before a thread is given to waiting: a
// process that has closed its output is about to end.
const tries = 20

// awaitBriefly waits for the end in the calling thread and reports whether it came
// within d.
func (p *process) awaitBriefly(d time.Duration) bool {
	if p.handle < 0 {
		return false
	}
	for range tries {
		if p.hasEnded() {
			_ = syscall.Close(p.handle) // Linux frees the descriptor whatever it returns
			return true
		}
		runtime.Gosched()
	}
	ended := awaitReadable(p.handle, d)
	if ended {
		_ = syscall.Close(p.handle) // Linux frees the descriptor whatever it returns
	}
	return ended
}

// awaitReadable waits up to d in the calling thread.
func awaitReadable(fd int, d time.Duration) bool {
	for deadline := time.Now().Add(d); d > 0; d = time.Until(deadline) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(d/time.Millisecond)+1)
		switch {
		case err == nil && n == 1:
			return true
		case err != nil && !errors.Is(err, unix.EINTR):
			return false
		}
	}
	return false
}

// hasEnded reports whether the process is a zombie.
func (p *process) hasEnded() bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PIDFD, p.handle, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
	return err == nil && info.Signo != 0
}

// poll waits by way of the pidfd and reports whether it could.
func (p *process) poll() bool {
	if syscall.SetNonblock(p.handle, true) != nil {
		_ = syscall.Close(p.handle)
		return false
	}
	f := os.NewFile(uintptr(p.handle), "pidfd")
	defer f.Close() // nothing was written
	conn, err := f.SyscallConn()
	if err != nil {
		return false
	}
	seen := false
	err = conn.Read(func(fd uintptr) bool {
		var info unix.Siginfo
		werr := unix.Waitid(unix.P_PIDFD, int(fd), &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
		seen = werr == nil && info.Signo != 0
		return seen || werr != nil && !errors.Is(werr, unix.EINTR)
	})
	return err == nil && seen
}

func (p *process) reap() { p.wait4() }
