package server

import (
	"crypto/tls"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// passedSockets opens sockets at one port of TCP and UDP, as systemd does: without SO_REUSEPORT, so
// that no second socket can be opened at the port.
func passedSockets(t *testing.T) (tcp, udp Socket) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := control(c, func(fd uintptr) error {
		dup, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 10)
		udp = Socket{Name: "web", File: os.NewFile(uintptr(dup), "datagrams")}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return Socket{Name: "web", File: file(t, l)}, udp
}

// HTTP/3 is served at the UDP socket that systemd has opened, and by the process that takes over.
func TestInheritedDatagrams(t *testing.T) {
	pair := testkit.Certificate(t)
	tcp, udp := passedSockets(t)
	s := &Server{App: echo, HTTP3: true, TLSCert: pair.CertFile, TLSKey: pair.KeyFile, Inherited: []Socket{tcp, udp}, Listen: []string{"systemd:web"}}
	x := launch(t, s)
	if res, body := testkit.Get(t, h3(t, pair), "https://"+x.addr+"/a"); res.ProtoMajor != 3 || body != "/a " {
		t.Errorf("%s %q", res.Proto, body)
	}
	sockets, err := s.Sockets()
	if err != nil || len(sockets) != 2 {
		t.Fatalf("%d sockets are passed on: %v", len(sockets), err)
	}
	if err := x.stop(); err != nil {
		t.Error(err)
	}
	next := launch(t, &Server{App: echo, HTTP3: true, TLSCert: pair.CertFile, TLSKey: pair.KeyFile, Inherited: sockets, Listen: []string{"systemd:web"}})
	if res, body := testkit.Get(t, h3(t, pair), "https://"+next.addr+"/b"); next.addr != x.addr || res.ProtoMajor != 3 || body != "/b " {
		t.Errorf("the successor: %s %q", res.Proto, body)
	}
}

func TestInheritedDatagramsThatNothingUses(t *testing.T) {
	tcp, udp := passedSockets(t)
	x := launch(t, &Server{App: echo, Inherited: []Socket{tcp, udp}, Listen: []string{"systemd:web"}})
	x.log.WaitFor(t, "level=WARN", "no HTTP/3 is spoken at an inherited UDP socket", x.addr)
	if _, body := testkit.Get(t, https(t, nil, false), "http://"+x.addr+"/a"); body != "/a " {
		t.Errorf("%q", body)
	}
	testkit.Eventually(t, "the socket to be closed", func() bool {
		c, err := net.ListenPacket("udp", x.addr)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	})

	// Datagrams of a Unix socket are no use.
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[1])
	err = (&Server{App: echo, Inherited: []Socket{{File: os.NewFile(uintptr(pair[0]), "pair")}}, TLSConfig: &tls.Config{}}).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "not of UDP") {
		t.Errorf("error %v", err)
	}
}
