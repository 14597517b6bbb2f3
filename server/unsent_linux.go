package server

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsentLimit is how many bytes of a response the kernel buffers while the client has no room for
// them. Without the limit it buffers some megabytes per connection. Then a thousand clients that do
// not read leave no memory for other connections.
const unsentLimit = 256 << 10

// limitUnsent sets unsentLimit for a connection. (Setting it on the listener is not enough: a
// listener that can speak Multipath TCP, as Go's can, does not pass it on to its connections.)
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
