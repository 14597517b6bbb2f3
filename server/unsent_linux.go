package server

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsentLimit is how much the kernel takes of a response before the client has room for
// it. Without it, it is some megabytes for each connection, and a thousand clients that
// do not read leave no memory for the connections of the others.
const unsentLimit = 256 << 10

// limitUnsent sets unsentLimit for a connection. (What a listener has is not handed on by
// one that could speak Multipath TCP, and Go's could.)
func limitUnsent(c net.Conn) error {
	socket, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentLimit)
	})
	return errors.Join(err, set)
}
