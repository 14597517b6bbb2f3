package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// A client that has connected before another process took over is served, at whatever stage its
// connection was.
func TestHandoverOverTLS(t *testing.T) {
	pair := testkit.Certificate(t)
	s := &Server{App: newVersion("old"), TLSCert: pair.CertFile, TLSKey: pair.KeyFile, Listen: []string{"127.0.0.1:0", "127.0.0.1:0,redirect"}}
	prepare(t, s)
	ready, ended := make(chan []net.Addr, 1), make(chan error, 1)
	s.Ready = func(addrs []net.Addr) error { ready <- addrs; return nil }
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	go func() { ended <- s.Run(ctx) }()
	addrs := testkit.Await(t, ready)

	dial := func(protocol string) *tls.Conn {
		t.Helper()
		c, err := net.DialTimeout("tcp", addrs[0].String(), testkit.Patience)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return tls.Client(c, &tls.Config{RootCAs: pair.Pool, ServerName: "127.0.0.1", NextProtos: []string{protocol}})
	}
	one, two, idle := dial("http/1.1"), dial("h2"), testkit.Dial(t, addrs[1].String())
	testkit.Eventually(t, "all to be accepted", func() bool { status, _ := s.Status(); return status.Connections == 3 })
	cancel(ErrHandedOver)
	time.Sleep(50 * time.Millisecond)

	if err := two.Handshake(); err != nil {
		t.Errorf("HTTP/2: %v", err)
	} else if res, err := over(two).Get("https://127.0.0.1/"); err != nil || res.StatusCode != 200 || res.ProtoMajor != 2 {
		t.Errorf("HTTP/2: %v %v", res, err)
	}
	if err := one.Handshake(); err != nil {
		t.Errorf("HTTP/1.1: %v", err)
	} else {
		c := testkit.NewConn(t, one)
		c.Say(ask)
		if res, body := c.Response("GET"); body != "old" || !res.Close {
			t.Errorf("HTTP/1.1: %q, close %v", body, res.Close)
		}
	}
	idle.Say(ask)
	if res, _ := idle.Response("GET"); res.StatusCode != 301 || !res.Close {
		t.Errorf("to https: %s, close %v", res.Status, res.Close)
	}
	if err := testkit.Await(t, ended); err != nil {
		t.Error(err)
	}
}

// A socket from systemd stays one of systemd however often it is handed over.
func TestSystemdsSocketsAreHandedOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	sockets := []Socket{{Name: "local", File: file(t, l)}}
	for _, place := range []string{path, "systemd:local", "", "systemd", path} {
		s := &Server{App: echo, Inherited: sockets}
		if place != "" {
			s.Listen = []string{place}
		} else {
			s.Listen = []string{} // which prepare leaves alone
		}
		x := launch(t, s)
		if sockets, err = s.Sockets(); err != nil {
			t.Fatal(err)
		}
		c := testkit.Dial(t, path)
		c.Say(ask)
		c.Response("GET")
		if err := x.stop(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Fatalf("listening at %q: the file was removed", place)
		}
	}
	if err := sockets[0].File.Close(); err != nil {
		t.Error(err)
	}
}

// over returns a client that speaks HTTP/2 on a connection.
func over(c *tls.Conn) *http.Client {
	return &http.Client{Timeout: testkit.Patience, Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		DialTLSContext:    func(context.Context, string, string) (net.Conn, error) { return c, nil },
	}}
}

// A successor's options may spell a place differently, or not contain it any more.
func TestPlacesOfASuccessor(t *testing.T) {
	for _, tt := range []struct {
		name, before, after string // %s: the port
		taken               bool
	}{
		{"a name for an address", "127.0.0.1:%s", "localhost:%s", true},
		{"an address for a name", "localhost:%s", "127.0.0.1:%s", true},
		{"another spelling", "[::1]:%s", "[0:0:0:0:0:0:0:1]:%s", true},
		{"one family of both", ":%s", "0.0.0.0:%s", false},
		{"another address", "127.0.0.1:%s", "127.0.0.2:%s", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first := launch(t, &Server{App: echo, Listen: []string{fmt.Sprintf(tt.before, "0")}})
			_, port, err := net.SplitHostPort(first.addr)
			if err != nil {
				t.Fatal(err)
			}
			sockets, err := first.server.Sockets()
			if err != nil {
				t.Fatal(err)
			}
			sockets[0].Place = fmt.Sprintf(tt.before, port)
			h, err := newInheritance(sockets)
			if err != nil {
				t.Fatal(err)
			}
			set, err := h.take(Place{Address: fmt.Sprintf(tt.after, port)})
			if err != nil || tt.taken != (len(set) == 1) {
				t.Errorf("taken %d, error %v", len(set), err)
			}
			set.close()
			h.left().close()
		})
	}
	t.Run("Unix sockets", func(t *testing.T) {
		dir := t.TempDir()
		kept, dropped := filepath.Join(dir, "kept"), filepath.Join(dir, "dropped")
		first := launch(t, &Server{App: echo, Listen: []string{kept, dropped}})
		sockets, err := first.server.Sockets()
		if err != nil {
			t.Fatal(err)
		}
		second := launch(t, &Server{App: echo, Listen: []string{dir + "/./kept"}, Inherited: sockets})
		testkit.Eventually(t, "the dropped file to go", func() bool { _, err := os.Lstat(dropped); return err != nil })
		first.server.run.Load().listeners.disown()
		if err := first.stop(); err != nil {
			t.Error(err)
		}
		c := testkit.Dial(t, kept)
		c.Say(ask)
		c.Response("GET")
		if err := second.stop(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(kept); err == nil {
			t.Error("the kept file is left behind")
		}
	})
	t.Run("an abstract Unix socket", func(t *testing.T) {
		if runtime.GOOS != "linux" {
			t.Skip("there is none")
		}
		place := fmt.Sprintf("unix:@pagi-bridge-%d", os.Getpid())
		first := launch(t, &Server{App: echo, Listen: []string{place}})
		sockets, err := first.server.Sockets()
		if err != nil {
			t.Fatal(err)
		}
		second := launch(t, &Server{App: echo, Listen: []string{place}, Inherited: sockets})
		if err := errors.Join(first.stop(), second.stop()); err != nil {
			t.Error(err)
		}
	})
	t.Run("Unix sockets of a successor that does not start", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		first := launch(t, &Server{App: echo, Socket: path})
		sockets, err := first.server.Sockets()
		if err != nil {
			t.Fatal(err)
		}
		failing := newVersion("failing")
		failing.startup = errors.New("no database")
		if err := (&Server{App: failing, Listen: []string{"127.0.0.1:0"}, Inherited: sockets}).Run(t.Context()); err == nil {
			t.Error("it started")
		}
		c := testkit.Dial(t, path)
		c.Say(ask)
		c.Response("GET")
	})
}
