//go:build !race

package sysio

import (
	"syscall"
	"unsafe"
)

// unwatched tells that calls can be made without the scheduler's knowledge.
const unwatched = true

// call reads into, or writes, p, which must not be empty.
func call(trap, fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return int(n), errno
}
