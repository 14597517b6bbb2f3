//go:build !linux || race || 386

package sysio

import "syscall"

// unwatched is false. Other systems require calls through their C library, 386 has other calls, and
// the race detector derives the order of events from the calls it knows.
const unwatched = false

func read(uintptr, []byte) (int, syscall.Errno)      { return 0, syscall.ENOSYS }
func write(uintptr, []byte) (int, syscall.Errno)     { return 0, syscall.ENOSYS }
func writeMore(uintptr, []byte) (int, syscall.Errno) { return 0, syscall.ENOSYS }

// peek looks for a byte and leaves it where it is.
func peek(fd uintptr) error {
	_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err
}
