package http1

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/sysio"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// lendingListener accepts connections that read into a room, as those of package server do, under the race detector too.
type lendingListener struct{ net.Listener }

func (l lendingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &lending{TCPConn: c.(*net.TCPConn)}, nil
}

type lending struct {
	*net.TCPConn
	waits  atomic.Bool // with no room
	writes atomic.Int32
}

// Write implements net.Conn.
func (c *lending) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.TCPConn.Write(p)
}

// WriteBuffers is the method of the connections of package server.
func (c *lending) WriteBuffers(pieces *net.Buffers) error {
	c.writes.Add(1)
	_, err := pieces.WriteTo(c.TCPConn)
	return err
}

// ReadInto implements lender.
func (c *lending) ReadInto(room sysio.Room) (n int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		c.waits.Store(false)
		n, failed = syscall.Read(int(fd), room.Take())
		if failed == syscall.EAGAIN {
			room.Drop()
			c.waits.Store(true)
			return false
		}
		return true
	})
	switch {
	case err != nil:
		return 0, err
	case n == 0 && failed == nil:
		return 0, io.EOF
	}
	return max(n, 0), failed
}

// A connection has no buffers while it waits for a request, and while its handler only waits for the client to leave.
func TestAConnectionThatWaitsHasNoBuffers(t *testing.T) {
	conns := make(chan *conn, 1)
	var served *conn
	goOn := make(chan struct{})
	addr := launch(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := w.(*stream).c
		_, _ = io.WriteString(w, "begun\n")
		w.(http.Flusher).Flush()
		if x.out != nil {
			t.Error("the write buffer stays after a flush")
		}
		r.Context().Done() // now the connection is watched
		conns <- x
		<-goOn
	})})
	c := testkit.Dial(t, addr)
	for range 3 {
		c.Say(get)
		served = testkit.Await(t, conns)
		testkit.Eventually(t, "the watch waits without a buffer", served.net.(*lending).waits.Load)
		goOn <- struct{}{}
		if res, body := c.Response("GET"); res.StatusCode != http.StatusOK || body != "begun\n" {
			t.Fatalf("the answer is %d, %q", res.StatusCode, body)
		}
		testkit.Eventually(t, "the connection waits for a request without a buffer", func() bool {
			return served.state.Load() == stateIdle && served.net.(*lending).waits.Load()
		})
	}
}

// A head that comes byte by byte, and one that is larger than a buffer, are whole after waits without a buffer.
func TestHeadsInPiecesAfterAWait(t *testing.T) {
	addr := launch(t, &Server{Handler: echo})
	c := testkit.Dial(t, addr)
	large := "GET /large HTTP/1.1\r\nHost: x\r\nX-Large: " + strings.Repeat("0123456789", bufferSize/10+10)
	for _, request := range []struct{ head, want string }{
		{"GET /small HTTP/1.1\r\nHost: x\r\n\r\n", `GET /small x ""`},
		{large + "\r\n\r\n", `GET /large x ""`},
		{"GET /again HTTP/1.1\r\nHost: x\r\n\r\n", `GET /again x ""`},
	} {
		for i := range request.head {
			c.Say(request.head[i : i+1])
		}
		if res, body := c.Response("GET"); res.StatusCode != http.StatusOK || body != request.want {
			t.Fatalf("the answer is %d, %q, want %q", res.StatusCode, body, request.want)
		}
	}
}

// Small pieces of a body leave together, also behind a flush, which has let the write buffer go.
func TestSmallPiecesBehindAFlushLeaveTogether(t *testing.T) {
	for _, c := range []struct{ name, length string }{{"of a known length", "2100"}, {"in chunks", ""}} {
		t.Run(c.name, func(t *testing.T) {
			wrote := make(chan int32, 1)
			addr := launch(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conn := w.(*stream).c.net.(*lending)
				if c.length != "" {
					w.Header().Set("Content-Length", c.length)
				}
				_, _ = io.WriteString(w, strings.Repeat("a", 100))
				w.(http.Flusher).Flush()
				before := conn.writes.Load()
				for range 200 {
					_, _ = io.WriteString(w, "0123456789")
				}
				wrote <- conn.writes.Load() - before
			})})
			client := testkit.Dial(t, addr)
			client.Say(get)
			if n := testkit.Await(t, wrote); n > 1 {
				t.Errorf("200 pieces of 10 bytes took %d writes", n)
			}
			if res, body := client.Response("GET"); res.StatusCode != http.StatusOK || len(body) != 2100 {
				t.Errorf("the answer is %d with %d bytes", res.StatusCode, len(body))
			}
		})
	}
}
