//go:build linux && (race || 386)

package sysio

import "syscall"

// SendMessage sends p, which must not be empty, as one message on a socket, with the control messages in rights. It does not
// wait.
func SendMessage(fd int, p, rights []byte) error {
	return syscall.Sendmsg(fd, p, rights, nil, syscall.MSG_NOSIGNAL|syscall.MSG_DONTWAIT)
}
