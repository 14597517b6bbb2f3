//go:build unix

package cgi

import (
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func alive(pid int) bool { return pid > 0 && syscall.Kill(pid, 0) == nil }

// keepOnExec makes f look like a descriptor this process was started with.
func keepOnExec(t testing.TB, f *os.File) {
	t.Helper()
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0); err != nil {
		t.Fatal(err)
	}
}
