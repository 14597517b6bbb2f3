package server

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// datagramSocket is an inherited socket of UDP, for HTTP/3: systemd's ListenDatagram.
type datagramSocket struct {
	net.PacketConn
	socket Socket
	used   bool
}

// isDatagram reports whether a descriptor is a socket of datagrams.
func isDatagram(f *os.File) bool {
	raw, err := f.SyscallConn() // Fd would make the descriptor blocking
	if err != nil {
		return false
	}
	is := false
	err = raw.Control(func(fd uintptr) {
		kind, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE)
		is = err == nil && kind == unix.SOCK_DGRAM
	})
	return err == nil && is
}

// newDatagramSocket makes a packet connection of an inherited socket. The caller still owns its
// file.
func newDatagramSocket(s Socket) (*datagramSocket, error) {
	c, err := net.FilePacketConn(s.File)
	if err != nil {
		return nil, err
	}
	if _, isUDP := c.LocalAddr().(*net.UDPAddr); !isUDP {
		_ = c.Close() // only a duplicate
		return nil, fmt.Errorf("it is a datagram socket of %s, not of UDP", c.LocalAddr().Network())
	}
	return &datagramSocket{PacketConn: c, socket: s}, nil
}

// takeDatagrams returns the inherited socket for HTTP/3 at the address of a TCP listener, or nil.
func (r *running) takeDatagrams(tcp *net.TCPAddr) *datagramSocket {
	for _, d := range r.datagrams {
		udp := d.LocalAddr().(*net.UDPAddr)
		if !d.used && udp.Port == tcp.Port && udp.IP.Equal(tcp.IP) {
			d.used = true
			return d
		}
	}
	return nil
}

// leaveDatagrams closes the inherited sockets that are not used, so that clients do not wait there
// for an answer.
func (r *running) leaveDatagrams() {
	for _, d := range r.datagrams {
		if !d.used {
			r.log.Warn("no HTTP/3 is spoken at an inherited UDP socket; it is closed", "socket", d.LocalAddr().String(),
				"needed", "http3, and a place that speaks TLS at the same address and port")
			_ = d.Close() // nothing was read from it
		}
	}
}

// closeDatagrams closes all inherited sockets for HTTP/3.
func (r *running) closeDatagrams() {
	for _, d := range r.datagrams {
		_ = d.Close() // closed already, or not needed any more
	}
}
