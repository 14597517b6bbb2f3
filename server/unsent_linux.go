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

// limitUnsent sets unsentLimit for all connections of a listener.
func limitUnsent(l net.Listener) error {
	socket, ok := l.(*net.TCPListener)
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
