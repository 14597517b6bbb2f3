package sysio

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// pairs are connections of each kind, wrapped, with their other ends, which are not.
func pairs(t *testing.T, test func(t *testing.T, c, other net.Conn)) {
	t.Helper()
	for _, kind := range []struct{ network, address string }{
		{"tcp", "127.0.0.1:0"},
		{"unix", filepath.Join(t.TempDir(), "s")},
	} {
		t.Run(kind.network, func(t *testing.T) {
			l, err := net.Listen(kind.network, kind.address)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			other, err := net.Dial(kind.network, l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			accepted, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer accepted.Close()
			c := New(accepted)
			if _, wrapped := c.(*Conn); wrapped != unwatched {
				t.Fatalf("New returned a %T", c)
			}
			test(t, c, other)
		})
	}
}

func TestBytesGoBothWays(t *testing.T) {
	for _, size := range []int{1, 4096, watched, watched + 1, 5 << 20} {
		pairs(t, func(t *testing.T, c, other net.Conn) {
			sent := make([]byte, size)
			rand.Read(sent)
			var tasks sync.WaitGroup
			tasks.Go(func() {
				if n, err := c.Write(sent); n != size || err != nil {
					t.Errorf("%d of %d bytes were written: %v", n, size, err)
				}
			})
			tasks.Go(func() {
				if _, err := io.CopyN(other, other, int64(size)); err != nil {
					t.Error(err)
				}
			})
			got := make([]byte, size)
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d bytes came back otherwise: %v", size, err)
			}
			tasks.Wait()
		})
	}
}

func TestEndOfDataIsEOF(t *testing.T) {
	pairs(t, func(t *testing.T, c, other net.Conn) {
		if _, err := io.WriteString(other, "last"); err != nil {
			t.Fatal(err)
		}
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); string(got) != "last" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Fatalf("%d, %v", n, err)
		}
	})
}

func TestNothingIsReadIntoNoRoom(t *testing.T) {
	pairs(t, func(t *testing.T, c, _ net.Conn) {
		if n, err := c.Read(nil); n != 0 || err != nil {
			t.Errorf("read: %d, %v", n, err)
		}
		if n, err := c.Write(nil); n != 0 || err != nil {
			t.Errorf("write: %d, %v", n, err)
		}
	})
}

func TestDeadlines(t *testing.T) {
	pairs(t, func(t *testing.T, c, other net.Conn) {
		soon := time.Now().Add(20 * time.Millisecond)
		if err := c.SetDeadline(soon); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) || !strings.HasPrefix(err.Error(), "read ") {
			t.Errorf("read: %v", err)
		}
		piece := make([]byte, 32<<10)
		var err error
		wrote := 0
		for err == nil { // until nothing goes in any more
			var n int
			n, err = c.Write(piece)
			wrote += n
		}
		if timeout, ok := err.(net.Error); !ok || !timeout.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) || !strings.HasPrefix(err.Error(), "write ") {
			t.Errorf("write: %v", err)
		}
		if time.Now().Before(soon) {
			t.Error("the deadline was early")
		}
		if err := c.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		// What was counted as written is what arrives.
		go io.WriteString(other, "still here")
		got := make([]byte, 10)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "still here" {
			t.Errorf("after the deadline: %q, %v", got, err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, other); n != int64(wrote) || err != nil {
			t.Errorf("%d bytes of %d arrived: %v", n, wrote, err)
		}
	})
}

func TestCloseWakesWhoWaits(t *testing.T) {
	pairs(t, func(t *testing.T, c, _ net.Conn) {
		failed := make(chan error)
		go func() {
			_, err := c.Read(make([]byte, 1))
			failed <- err
		}()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-failed; !errors.Is(err, net.ErrClosed) {
			t.Errorf("read: %v", err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write: %v", err)
		}
	})
}

func TestErrorsOfTheSystemAreTold(t *testing.T) {
	pairs(t, func(t *testing.T, c, other net.Conn) {
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		var err error
		for err == nil { // TCP takes one write before it hears of the reset
			_, err = c.Write([]byte("nobody reads this"))
		}
		if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("%v", err)
		}
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "write" || op.Addr == nil {
			t.Errorf("%#v", err)
		}
	})
}

func TestWhatHasNoDescriptorStaysAsItIs(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if New(a) != a {
		t.Error("a pipe in memory was wrapped")
	}
}

func TestReadAndWriteDoNotAllocate(t *testing.T) {
	if !unwatched {
		t.Skip("the calls are the standard library's here")
	}
	pairs(t, func(t *testing.T, c, other net.Conn) {
		buf := make([]byte, 64)
		if allocs := testing.AllocsPerRun(100, func() {
			if _, err := c.Write(buf); err != nil {
				t.Fatal(err)
			}
			if _, err := other.Read(buf); err != nil {
				t.Fatal(err)
			}
			if _, err := other.Write(buf); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Read(buf); err != nil {
				t.Fatal(err)
			}
		}); allocs > 0 {
			t.Errorf("%v allocations", allocs)
		}
	})
}

// TestTryWriteDoesNotWait fills what the other end does not take.
func TestTryWriteDoesNotWait(t *testing.T) {
	pairs(t, func(t *testing.T, c, other net.Conn) {
		conn, ok := c.(*Conn)
		if !ok {
			t.Skip("calls are watched here")
		}
		piece := make([]byte, 1<<20)
		rand.Read(piece)
		var sent []byte
		for {
			n, err := conn.TryWrite(piece)
			if err != nil {
				t.Fatal(err)
			}
			sent = append(sent, piece[:n]...)
			if n == 0 { // not before: the kernel may still be passing a part on to the other end
				break
			}
		}
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(other, got); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d bytes came otherwise: %v", len(sent), err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.TryWrite(piece); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// TestWriteAheadWaitsForWhatFollows looks at what has arrived before and after it.
func TestWriteAheadWaitsForWhatFollows(t *testing.T) {
	pairs(t, func(t *testing.T, c, other net.Conn) {
		conn, ok := c.(*Conn)
		if !ok {
			t.Skip("calls are watched here")
		}
		raw, err := other.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if n, err := conn.WriteAhead([]byte("head")); n != 4 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		arrived := 0
		if err := raw.Read(func(fd uintptr) bool {
			arrived, _, err = syscall.Recvfrom(int(fd), make([]byte, 8), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if tcp := other.LocalAddr().Network() == "tcp"; tcp && err != syscall.EAGAIN && time.Since(begun) < 100*time.Millisecond { // the kernel waits for twice as long
			t.Errorf("%d bytes were sent at once, %v", arrived, err)
		}
		if n, err := conn.Write([]byte("tail")); n != 4 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		got := make([]byte, 8)
		if _, err := io.ReadFull(other, got); err != nil || string(got) != "headtail" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestAConnectionIsQuietUntilSomethingComes(t *testing.T) {
	pairs(t, func(t *testing.T, c, other net.Conn) {
		for name, conn := range map[string]net.Conn{"wrapped": c, "plain": other} {
			if !IsQuiet(conn) {
				t.Errorf("%s: a connection on which nothing has come is not quiet", name)
			}
		}
		if _, err := io.WriteString(other, "x"); err != nil {
			t.Fatal(err)
		}
		awaitNoise(t, c)
		if n, err := c.Read(make([]byte, 2)); n != 1 || err != nil {
			t.Errorf("after the look %d bytes can be read: %v", n, err)
		}
		if !IsQuiet(c) {
			t.Error("a connection of which all is read is not quiet")
		}
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		awaitNoise(t, c)
	})
	one, two := net.Pipe()
	defer one.Close()
	defer two.Close()
	if IsQuiet(one) {
		t.Error("a connection that is no socket is quiet")
	}
}

// awaitNoise waits until a connection is not quiet any more.
func awaitNoise(t *testing.T, c net.Conn) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); IsQuiet(c); {
		if time.Now().After(deadline) {
			t.Fatal("what has come is not noticed")
		}
		runtime.Gosched()
	}
}

// shelf is a room that counts how often it was taken and dropped.
type shelf struct {
	p              []byte
	taken, dropped atomic.Int32
}

func (s *shelf) Take() []byte { s.taken.Add(1); return s.p }
func (s *shelf) Drop()        { s.dropped.Add(1) }

func TestAReadThatWaitsHasNoRoom(t *testing.T) {
	if !unwatched {
		t.Skip("here New leaves connections as they are")
	}
	pairs(t, func(t *testing.T, c, other net.Conn) {
		room := &shelf{p: make([]byte, 10)}
		read := make(chan error, 1)
		var n int
		go func() {
			var err error
			n, err = c.(*Conn).ReadInto(room)
			read <- err
		}()
		testkit.Eventually(t, "the room is dropped", func() bool { return room.dropped.Load() == 1 })
		if _, err := io.WriteString(other, "hello"); err != nil {
			t.Fatal(err)
		}
		if err := testkit.Await(t, read); err != nil || string(room.p[:n]) != "hello" {
			t.Errorf("%q and %v are read", room.p[:n], err)
		}
		if taken, dropped := room.taken.Load(), room.dropped.Load(); taken != dropped+1 {
			t.Errorf("the room was taken %d times and dropped %d times", taken, dropped)
		}
		if err := c.SetReadDeadline(time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.(*Conn).ReadInto(room); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after the deadline: %v", err)
		}
		if err := c.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		if n, err := c.(*Conn).ReadInto(room); n != 0 || err != io.EOF {
			t.Errorf("at the end %d bytes and %v are read", n, err)
		}
	})
}
