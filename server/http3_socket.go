package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// reach is the restriction that a socket's options put on its clients.
type reach struct {
	onlyIPv6 bool   // IPV6_V6ONLY
	device   string // SO_BINDTODEVICE, on Linux; "" for any
}

// reachOf reads the options of a listener's socket. Another program may have opened it, with
// options that the Place does not contain.
func reachOf(l net.Listener, address *net.TCPAddr) (is reach, err error) {
	c, ok := l.(syscall.Conn)
	if !ok {
		return is, fmt.Errorf("a %T has no descriptor", l)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return is, err
	}
	var optionErr error
	err = raw.Control(func(fd uintptr) {
		if address.IP.To4() == nil {
			only, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
			is.onlyIPv6, optionErr = only != 0, err
		}
		device, err := boundDevice(int(fd))
		is.device, optionErr = device, errors.Join(optionErr, err)
	})
	return is, errors.Join(err, optionErr)
}

// listenDatagrams opens the socket for HTTP/3 at the port of a TCP listener, for the clients that may
// connect to that one.
func listenDatagrams(l *listener, tcp *net.TCPAddr) (net.PacketConn, error) {
	of, err := reachOf(l.Listener, tcp)
	if err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) {
			// A process that takes over listens beside the one it takes over from.
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			if err == nil && of.device != "" {
				err = bindDevice(int(fd), of.device)
			}
		}), err)
	}}
	return config.ListenPacket(context.Background(), datagrams(of, tcp), l.Addr().String())
}

// datagrams returns the network that serves the same clients as a TCP listener.
func datagrams(of reach, tcp *net.TCPAddr) string {
	switch {
	case tcp.IP.To4() != nil:
		return "udp4"
	case of.onlyIPv6:
		return "udp6"
	}
	return "udp"
}
