package proc

import (
	"errors"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pagi-go/pagi-bridge/internal/sysio"
)

// DiesWithParentWorks says whether Spec.DiesWithParent has an effect on this system.
const DiesWithParentWorks = true

func (p *Process) attributes(diesWithParent bool) *syscall.SysProcAttr {
	sys := &syscall.SysProcAttr{Setpgid: true, PidFD: &p.handle}
	if diesWithParent {
		sys.Pdeathsig = syscall.SIGKILL
	}
	return sys
}

// openHandle returns a pidfd. It returns -1 where the kernel has none, or gives none because there are too many.
func openHandle(pid int) (int, error) {
	handle, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return -1, err
	}
	if err != nil {
		return -1, nil
	}
	return handle, nil
}

// await returns when the process has become a zombie. With a pidfd the runtime's poller waits, and no thread is held.
func (p *Process) await() {
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

// tries is how often the end is looked for before a thread waits for it: a process that has closed its output is about
// to end.
const tries = 20

// awaitBriefly waits for the end in the calling thread and reports whether it came within d.
func (p *Process) awaitBriefly(d time.Duration) bool {
	if p.handle < 0 {
		return false
	}
	for range tries {
		if p.hasEnded() {
			_ = syscall.Close(p.handle) // Linux frees the descriptor, whatever close returns
			return true
		}
		runtime.Gosched()
	}
	ended := sysio.AwaitReadable(p.handle, d)
	if ended {
		_ = syscall.Close(p.handle) // Linux frees the descriptor, whatever close returns
	}
	return ended
}

// hasEnded reports whether the process is a zombie.
func (p *Process) hasEnded() bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PIDFD, p.handle, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
	return err == nil && info.Signo != 0
}

// poll waits by way of the pidfd, which it closes, and reports whether it could.
func (p *Process) poll() bool {
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

func (p *Process) reap() { p.wait4() }

// Abandon gives up a process that nobody has waited for. Another one has to reap it.
func (p *Process) Abandon() {
	if p.handle >= 0 && p.EndUnwatched() {
		_ = syscall.Close(p.handle) // Linux frees the descriptor, whatever close returns
	}
}
