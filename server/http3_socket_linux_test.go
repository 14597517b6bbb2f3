package server

import (
	"context"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A socket that another program has opened has options that its place does not contain. A client
// that may not connect by TCP may not connect by UDP either.
func TestDatagramsReachWhatTheListenerDoes(t *testing.T) {
	for name, option := range map[string]func(fd int) error{
		"one family":  func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1) },
		"both":        func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0) },
		"one device":  func(fd int) error { return bindDevice(fd, "lo") },
		"any devices": func(int) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
				var set error
				if err := c.Control(func(fd uintptr) { set = option(int(fd)) }); err != nil {
					return err
				}
				return set
			}}
			socket, err := config.Listen(context.Background(), "tcp", "[::]:0")
			if err != nil {
				t.Fatal(err)
			}
			defer socket.Close() // nothing was to be kept
			want, err := reachOf(socket, socket.Addr().(*net.TCPAddr))
			if err != nil {
				t.Fatal(err)
			}
			udp, err := listenDatagrams(&listener{Listener: socket, place: Place{Address: "fd:9"}, foreign: true}, socket.Addr().(*net.TCPAddr))
			if err != nil {
				t.Fatal(err)
			}
			defer udp.Close() // nothing was to be kept
			raw, err := udp.(*net.UDPConn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			err = raw.Control(func(fd uintptr) {
				only, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
				device, deviceErr := boundDevice(int(fd))
				if got := (reach{only != 0, device}); err != nil || deviceErr != nil || got != want {
					t.Errorf("it reaches %+v, and the listener %+v (%v, %v)", got, want, err, deviceErr)
				}
			})
			if err != nil {
				t.Error(err)
			}
			if want.onlyIPv6 != (name == "one family") || (want.device != "") != (name == "one device") {
				t.Errorf("the listener reaches %+v", want)
			}
		})
	}
}
