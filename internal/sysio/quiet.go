package sysio

import (
	"errors"
	"net"
	"syscall"
)

// IsQuiet reports whether a connection is open and nothing has come by it that was not read yet. It
// does not wait, and takes nothing from the connection. It is false for a connection that is no
// socket.
func IsQuiet(c net.Conn) bool {
	if x, is := c.(*Conn); is {
		return x.in.isQuiet()
	}
	has, is := c.(syscall.Conn)
	if !is {
		return false
	}
	raw, err := has.SyscallConn()
	if err != nil {
		return false
	}
	d := &direction{wait: raw.Read}
	d.peek = d.peekOnce
	return d.isQuiet()
}

func (d *direction) isQuiet() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = nil
	return d.wait(d.peek) == nil && errors.Is(d.err, syscall.EAGAIN)
}

// peekOnce looks for a byte without waiting. The error EAGAIN says that nothing has come.
func (d *direction) peekOnce(fd uintptr) bool {
	for {
		if d.err = peek(fd); d.err != syscall.EINTR {
			return true
		}
	}
}
