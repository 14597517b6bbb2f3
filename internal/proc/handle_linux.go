package proc

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pagi-go/pagi-bridge/internal/sysio"
)

// Handle stands for a process that need not be a child of this one. It stays that process's when the number has passed to
// another.
type Handle struct {
	pid int
	fd  int // the pidfd, -1 where there is none
}

// Open returns a handle, which must be closed.
func Open(pid int) *Handle {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil { // an old kernel, or it has ended already
		fd = -1
	}
	return &Handle{pid, fd}
}

// EndsWithin waits for the end of the process in the calling thread, for the given time at most, and reports whether it
// has ended. If the kernel has pidfds, a zombie counts as ended.
func (h *Handle) EndsWithin(patience time.Duration) bool {
	if h.fd < 0 {
		return pollEnd(h.pid, patience)
	}
	return sysio.AwaitReadable(h.fd, patience)
}

// Signal sends a signal to the process alone, not to its group. It does nothing where the process has ended, or the kernel
// has no pidfds.
func (h *Handle) Signal(sig syscall.Signal) {
	if h.fd >= 0 {
		_ = unix.PidfdSendSignal(h.fd, sig, nil, 0) // ESRCH: it has ended
	}
}

// Close closes the handle.
func (h *Handle) Close() {
	if h.fd >= 0 {
		_ = unix.Close(h.fd) // nothing was written to it
	}
}
