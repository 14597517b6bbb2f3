package hung

import (
	"maps"

	"golang.org/x/sys/unix"
)

// init adds the calls that newer machines do not have.
func init() {
	maps.Copy(calls, map[int]call{
		unix.SYS_OPEN: {"open", 0}, unix.SYS_POLL: {"poll", 0}, unix.SYS_SELECT: {"select", 0}, unix.SYS_PAUSE: {"pause", 0},
		unix.SYS_EPOLL_WAIT: {"epoll_wait", 1}, unix.SYS_ACCEPT: {"accept", 1}, unix.SYS_FORK: {"fork", 0}, unix.SYS_VFORK: {"vfork", 0},
		unix.SYS_STAT: {"stat", 0}, unix.SYS_LSTAT: {"lstat", 0}, unix.SYS_RENAME: {"rename", 0}, unix.SYS_UNLINK: {"unlink", 0},
		unix.SYS_GETDENTS: {"getdents", 1}, unix.SYS_SEMOP: {"semop", 0}, unix.SYS_SEMTIMEDOP: {"semtimedop", 0},
	})
}
