package job

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func rawPipe() (r, w int, err error) {
	var fds [2]int
	err = syscall.Pipe2(fds[:], syscall.O_CLOEXEC)
	return fds[0], fds[1], err
}

// large is the size in bytes to which Enlarge sets a pipe.
const large = 512 << 10

// Enlarge gives a pipe that much passes through more room, so that its two ends wait for each other less often. The kernel
// may refuse: it limits a user's pipes.
func (p *Pipe) Enlarge() {
	if conn, err := p.ours.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, large) })
	}
}
