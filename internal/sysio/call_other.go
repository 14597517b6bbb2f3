//go:build !linux || race || 386

package sysio

import "syscall"

// unwatched is false: other systems want their C library called, 386 has other calls, and the race
// detector learns what happens before what from the calls it knows.
const unwatched = false

func read(uintptr, []byte) (int, syscall.Errno)      { return 0, syscall.ENOSYS }
func write(uintptr, []byte) (int, syscall.Errno)     { return 0, syscall.ENOSYS }
func writeMore(uintptr, []byte) (int, syscall.Errno) { return 0, syscall.ENOSYS }
