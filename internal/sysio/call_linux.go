//go:build !race && !386

package sysio

import (
	"syscall"
	"unsafe"
)

// unwatched says that system calls can be made here without telling the scheduler.
const unwatched = true

// call reads into, or writes, p, which must not be empty.
func call(trap, fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return int(n), errno
}

func read(fd uintptr, p []byte) (int, syscall.Errno)  { return call(syscall.SYS_READ, fd, p) }
func write(fd uintptr, p []byte) (int, syscall.Errno) { return call(syscall.SYS_WRITE, fd, p) }

// writeMore writes p. The kernel may hold p back until more is written.
func writeMore(fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), syscall.MSG_MORE|syscall.MSG_NOSIGNAL, 0, 0)
	return int(n), errno
}

// peek looks for a byte and leaves it where it is.
func peek(fd uintptr) error {
	var one [1]byte
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&one[0])), 1, syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// SendMessage sends p, which must not be empty, as one message on a socket, with the control messages in rights. It does not
// wait. The receiver is often run at once, while the sender is in the call.
func SendMessage(fd int, p, rights []byte) error {
	part := syscall.Iovec{Base: &p[0]}
	part.SetLen(len(p))
	head := syscall.Msghdr{Iov: &part, Iovlen: 1}
	if len(rights) > 0 {
		head.Control = &rights[0]
		head.SetControllen(len(rights))
	}
	for {
		_, _, errno := syscall.RawSyscall(syscall.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&head)), syscall.MSG_NOSIGNAL|syscall.MSG_DONTWAIT)
		switch errno {
		case 0:
			return nil
		case syscall.EINTR:
		default:
			return errno
		}
	}
}
