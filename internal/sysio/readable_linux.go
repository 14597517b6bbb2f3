package sysio

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// AwaitReadable waits in the calling thread until something can be read from fd, its end included, for the given time at
// most. It reports whether something can. It looks at least once.
func AwaitReadable(fd int, patience time.Duration) bool {
	for deadline := time.Now().Add(patience); ; {
		wait := 0
		if patience > 0 {
			wait = int(patience/time.Millisecond) + 1
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, wait)
		switch {
		case err == nil && n == 1:
			return true
		case err != nil && !errors.Is(err, unix.EINTR):
			return false
		}
		if patience = time.Until(deadline); patience <= 0 {
			return false
		}
	}
}
