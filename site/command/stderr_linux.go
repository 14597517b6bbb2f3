package command

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Go's runtime itself writes a crash to standard error, in very many pieces. Without a reader the
// process would hang in these writes instead of ending, and a supervisor would not start it again.

// largePipe is the size of a pipe in bytes. At a crash a slow reader may be behind by so much
// without a loss.
const largePipe = 1 << 20

// neverBlock makes writes to a descriptor fail instead of waiting, as far as possible. It opens the
// same pipe or terminal again, so that other processes with the old descriptor do not notice. A
// socket cannot be opened again. It is left alone unless systemd says that it leads to the journal,
// because no other program writes to that socket.
func neverBlock(file *os.File) {
	info, err := file.Stat()
	if err != nil {
		return // it is closed
	}
	fd := int(file.Fd())
	switch {
	case info.Mode().Type() == fs.ModeNamedPipe, isTerminal(file):
		own, err := syscall.Open(fmt.Sprintf("/proc/self/fd/%d", fd), syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return // no /proc, or that of another user: nothing changes
		}
		_, _ = unix.FcntlInt(uintptr(own), unix.F_SETPIPE_SZ, largePipe) // after an error it keeps its size
		_ = unix.Dup2(own, fd)
		_ = syscall.Close(own) // nothing was written to it
	case info.Mode().Type() == fs.ModeSocket && os.Getenv("JOURNAL_STREAM") == streamOf(info):
		_ = syscall.SetNonblock(fd, true) // after an error it stays as it was
	}
}

// streamOf returns the name of a stream in JOURNAL_STREAM (systemd.exec(5)).
func streamOf(info fs.FileInfo) string {
	sys, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d:%d", sys.Dev, sys.Ino)
}
