package pool

import (
	"time"

	"golang.org/x/sys/unix"
)

// watchProcess returns a function that waits until the process has ended, or for
// the given time, and reports whether it has; and one that must be called in the
// end. The process need not be a child, and may be one that nobody has reaped yet.
func watchProcess(pid int) (ended func(time.Duration) bool, release func()) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil { // an old kernel; or it has ended already
		return pollProcess(pid), func() {}
	}
	ended = func(patience time.Duration) bool {
		deadline := time.Now().Add(patience)
		for {
			rest := max(time.Until(deadline), 0)
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(rest.Milliseconds()))
			if err == nil || err != unix.EINTR {
				return n > 0
			}
		}
	}
	return ended, func() { _ = unix.Close(fd) } // nothing was written to it
}
