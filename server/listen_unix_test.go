package server

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestSocketThatMayBeServedIsNotTakenOver(t *testing.T) {
	for _, tt := range []struct {
		name string
		hold func(t *testing.T, path string)
		want error
	}{
		{"its queue is full", func(t *testing.T, path string) {
			fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { syscall.Close(fd) })
			if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 0)); err != nil {
				t.Fatal(err)
			}
			for range 100 {
				c, err := net.DialTimeout("unix", path, staleDial)
				if err != nil {
					return
				}
				t.Cleanup(func() { c.Close() })
			}
			t.Skip("a queue that never is full")
		}, nil},
		{"it is for datagrams", func(t *testing.T, path string) {
			c, err := net.ListenPacket("unixgram", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
		}, syscall.EPROTOTYPE},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			tt.hold(t, path)
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			err = (&Server{App: echo, Socket: path}).Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), "may be another server's") || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("error %v", err)
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("the file is another one now, or gone: %v", err)
			}
		})
	}
}

func TestStopLeavesAnotherServersSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first := launch(t, &Server{App: echo, Socket: path})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second := launch(t, &Server{App: echo, Socket: path})
	if err := first.stop(); err != nil {
		t.Error(err)
	}
	if res, _ := second.request(ask).Response("GET"); res.StatusCode != 200 {
		t.Errorf("response %v", res)
	}
	if err := second.stop(); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestOneOfManyStartersGetsTheSocket(t *testing.T) {
	for _, stale := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "s")
		if stale {
			leaveStale(t, path)
		}
		var won atomic.Pointer[net.Listener]
		var winners atomic.Int64
		var starters sync.WaitGroup
		for range 16 {
			starters.Go(func() {
				l, err := listenUnix(path, &Place{Mode: 0o600})
				if err != nil {
					return
				}
				winners.Add(1)
				won.Store(&l)
			})
		}
		starters.Wait()
		if winners.Load() != 1 {
			t.Fatalf("%d winners, stale %v", winners.Load(), stale)
		}
		l := *won.Load()
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := l.Accept(); err != nil || s.LocalAddr().String() != path || s.Close() != nil {
			t.Errorf("accepted %v, %v", s, err)
		}
		if err := errors.Join(c.Close(), l.Close(), l.Close()); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}

// TestSocketIsNeverSeenUnready watches the name from before the start on.
func TestSocketIsNeverSeenUnready(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stop := make(chan struct{})
	bad := make(chan string, 1)
	go func() {
		defer close(bad)
		for {
			select {
			case <-stop:
				return
			default:
			}
			info, err := os.Lstat(path)
			if err == nil && info.Mode().Perm() != 0o604 {
				bad <- info.Mode().String()
				return
			}
		}
	}()
	for range 200 {
		l, err := listenUnix(path, &Place{Mode: 0o604})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if mode, ok := <-bad; ok {
		t.Errorf("seen with mode %s", mode)
	}
}

func TestSocketPathLength(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name      string
		dir, base int // bytes, the dir's with a slash at its end
		fits      bool
	}{
		{"longest, of a long name", len(dir) + 1, maxSocketPath - len(dir) - 1, true},
		{"longest, of a short name", maxSocketPath - 1, 1, true},
		{"too long", len(dir) + 1, maxSocketPath - len(dir), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := dir
			if more := tt.dir - len(dir) - 2; more > 0 {
				dir = filepath.Join(dir, strings.Repeat("d", more))
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			path := filepath.Join(dir, strings.Repeat("s", tt.base))
			if !tt.fits {
				_, err := listenUnix(path, &Place{})
				if err == nil || !strings.Contains(err.Error(), "bytes") {
					t.Errorf("error %v", err)
				}
				return
			}
			if len(path) != maxSocketPath {
				t.Fatalf("the test's path has %d bytes", len(path))
			}
			x := launch(t, &Server{App: echo, Socket: path})
			x.request(ask).Response("GET")
			if err := x.stop(); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("file after the stop: %v", err)
			}
		})
	}
}

// leaveStale leaves the socket of a server that is no more.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSocketsThatWereNotRenamedAreRemoved: their server was killed in between.
func TestSocketsThatWereNotRenamedAreRemoved(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s[1]")
	make := func(name string, age time.Duration, served bool) {
		t.Helper()
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, name), Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		if !served {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		} else {
			t.Cleanup(func() { _ = l.Close() })
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(filepath.Join(dir, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	make(".s[1].abcdefgh", time.Hour, false)
	make(".s[1].youngone", 0, false)
	make(".s[1].isserved", time.Hour, true)
	make(".s[1].too-long-for-it", time.Hour, false)
	make(".other.abcdefgh", time.Hour, false)
	if err := os.WriteFile(filepath.Join(dir, ".s[1].nosocket"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	launch(t, &Server{App: echo, Socket: path})
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	if want := ".other.abcdefgh .s[1].isserved .s[1].nosocket .s[1].too-long-for-it .s[1].youngone s[1]"; strings.Join(names, " ") != want {
		t.Errorf("%s, want %s", names, want)
	}
}
