package server

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// file returns a listener's socket as another process would pass it.
func file(t *testing.T, l net.Listener) *os.File {
	t.Helper()
	var f *os.File
	if err := control(l, func(fd uintptr) error {
		dup, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 10)
		f = os.NewFile(uintptr(dup), "inherited")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestInheritedSockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	open := func() (tcp, unix Socket, addr string) {
		t.Helper()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		u, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		u.SetUnlinkOnClose(false)
		addr = l.Addr().String()
		return Socket{Name: "web", File: file(t, l)}, Socket{Name: "local", File: file(t, u)}, addr
	}
	for _, tt := range []struct {
		name   string
		listen func(addr string) []string
		want   int // listeners
		left   bool
	}{
		{"all of them where nothing else is said", func(string) []string { return nil }, 2, false},
		{"all of them", func(string) []string { return []string{"systemd"} }, 2, false},
		{"one by its name", func(string) []string { return []string{"systemd:web"} }, 1, true},
		{"by address", func(addr string) []string { return []string{addr, path} }, 2, false},
		{"by address, and others", func(addr string) []string { return []string{addr, "127.0.0.1:0", path} }, 3, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tcp, local, addr := open()
			defer os.Remove(path)
			s := &Server{App: echo, Listen: tt.listen(addr), Inherited: []Socket{tcp, local}}
			x := &site{t: t, log: &testkit.Log{}, access: &testkit.Log{}, done: make(chan error, 1)}
			s.Logger = x.log.Logger()
			ready := make(chan []net.Addr, 1)
			s.Ready = func(addrs []net.Addr) error { ready <- addrs; return nil }
			ctx, cancel := context.WithCancel(t.Context())
			x.cancel = cancel
			go func() { x.done <- s.Run(ctx) }()
			if addrs := testkit.Await(t, ready); len(addrs) != tt.want {
				t.Errorf("listens at %v", addrs)
			}
			c := testkit.Dial(t, addr)
			c.Say(ask)
			c.Response("GET")
			if tt.want > 1 {
				c := testkit.Dial(t, path)
				c.Say(ask)
				c.Response("GET")
			}
			if err := x.stop(); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("another one's socket file was removed: %v", err)
			}
			if left := strings.Contains(x.log.String(), "no place to listen at for an inherited socket"); left != tt.left {
				t.Errorf("warned about left sockets: %v", left)
			}
		})
	}
	t.Run("a name that is not there", func(t *testing.T) {
		tcp, local, _ := open()
		err := (&Server{App: echo, Listen: []string{"systemd:other"}, Inherited: []Socket{tcp, local}}).Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "passed no such socket") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("that of the default place, from a predecessor", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		ready := make(chan []net.Addr, 1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := &Server{App: echo, Inherited: []Socket{{Place: "127.0.0.1:5000", File: file(t, l)}}, Ready: func(addrs []net.Addr) error { ready <- addrs; return nil }}
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		select {
		case addrs := <-ready:
			if len(addrs) != 1 || addrs[0].String() != addr {
				t.Errorf("listens at %v, not %s", addrs, addr)
			}
			cancel()
			err = testkit.Await(t, ended)
		case err = <-ended:
		}
		if err != nil {
			t.Error(err)
		}
	})
	t.Run("a descriptor", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		f := file(t, l)
		dup, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD, 10)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		x := launch(t, &Server{App: echo, Listen: []string{fmt.Sprintf("fd:%d", dup)}})
		if x.addr != addr {
			t.Errorf("listens at %s, not %s", x.addr, addr)
		}
		c := x.request(ask)
		c.Response("GET")
	})
	t.Run("a descriptor that is another's", func(t *testing.T) {
		own, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f := file(t, own)
		defer f.Close()
		given, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD, 10)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(given) // which leaves a number of nothing
		null, err := unix.Open(os.DevNull, unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(null)
		for fd, want := range map[int]string{
			int(f.Fd()): "was not started with",
			given:       "was not started with",
			null:        "is no socket",
		} {
			err := (&Server{App: echo, Listen: []string{fmt.Sprintf("fd:%d", fd)}}).Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v", err)
			}
		}
	})
	t.Run("something that is no socket", func(t *testing.T) {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		if err := (&Server{App: echo, Inherited: []Socket{{File: f}}}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no socket") {
			t.Errorf("error %v", err)
		}
	})
}
