package http1

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// unreadBodies are requests whose bodies are unread when the server notices that the client has
// left.
var unreadBodies = []struct{ name, head, body, want string }{
	{"in the head's packet", "Content-Length: 3\r\n\r\nabc", "", "abc"},
	{"in one of its own", "Content-Length: 3\r\n\r\n", "abc", "abc"},
	{"in two", "Content-Length: 3\r\n\r\na", "bc", "abc"},
	{"in chunks", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "", "abc"},
	{"in chunks of their own", "Transfer-Encoding: chunked\r\n\r\n", "3;x\r\nabc\r\n2\r\nde\r\n0\r\nX-A: b\r\n\r\n", "abcde"},
	{"in many chunks", "Transfer-Encoding: chunked\r\n\r\n", strings.Repeat("1\r\na\r\n", 500) + "0\r\n\r\n", strings.Repeat("a", 500)},
	{"that fills the buffer", fmt.Sprintf("Content-Length: %d\r\n\r\n", bufferSize-1), strings.Repeat("a", bufferSize-1), strings.Repeat("a", bufferSize-1)},
}

func TestClientLeavesWithItsBodyUnread(t *testing.T) {
	for _, tt := range unreadBodies {
		for _, reset := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, by a reset: %v", tt.name, reset), func(t *testing.T) {
				begun, ended := make(chan struct{}), make(chan struct{})
				addr := launch(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					done := r.Context().Done()
					close(begun)
					if !reset {
						select {
						case <-done:
							t.Error("taken for gone before the response has begun")
						case <-time.After(20 * time.Millisecond):
						}
						w.WriteHeader(http.StatusOK)
					}
					<-done
					close(ended)
				})})
				c := testkit.Dial(t, addr)
				c.Say("POST / HTTP/1.1\r\nHost: x\r\n" + tt.head)
				testkit.Await(t, begun)
				c.Say(tt.body)
				time.Sleep(time.Millisecond)
				if reset {
					if err := c.Conn.(*net.TCPConn).SetLinger(0); err != nil {
						t.Fatal(err)
					}
				}
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
				select {
				case <-ended:
				case <-time.After(time.Second):
					t.Error("not noticed within a second")
				}
			})
		}
	}
}

// The server notices at once a client that leaves in the middle of its body.
func TestClientLeavesInItsBody(t *testing.T) {
	for _, body := range []string{"Content-Length: 3\r\n\r\nab", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"} {
		ended := make(chan struct{})
		addr := launch(t, &Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			close(ended)
		})})
		c := testkit.Dial(t, addr)
		c.Say("POST / HTTP/1.1\r\nHost: x\r\n" + body)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		testkit.Await(t, ended)
	}
}

// No byte of a whole body is lost when its client leaves, however the handler reads it. The leaving
// is noticed after the body.
func TestBodiesOutliveTheirClient(t *testing.T) {
	for _, tt := range unreadBodies {
		for _, size := range []int{1, 64 << 10} {
			t.Run(fmt.Sprintf("%s, %d bytes at once", tt.name, size), func(t *testing.T) {
				begun, left, bodies, ended := make(chan struct{}), make(chan struct{}), make(chan string, 1), make(chan struct{})
				addr := launch(t, &Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					done := r.Context().Done()
					close(begun)
					<-left
					select {
					case <-done:
						t.Error("taken for gone before the body is read")
					case <-time.After(10 * time.Millisecond):
					}
					var body []byte
					for p, err := make([]byte, size), error(nil); err == nil; {
						var n int
						n, err = r.Body.Read(p)
						if body = append(body, p[:n]...); err != nil && err != io.EOF {
							t.Error(err)
						}
					}
					bodies <- string(body)
					<-done
					close(ended)
				})})
				c := testkit.Dial(t, addr)
				c.Say("POST / HTTP/1.1\r\nHost: x\r\n" + tt.head)
				testkit.Await(t, begun)
				c.Say(tt.body)
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
				close(left)
				if body := testkit.Await(t, bodies); body != tt.want {
					t.Errorf("%d bytes, want %d", len(body), len(tt.want))
				}
				testkit.Await(t, ended)
			})
		}
	}
}

// Bytes of a body that were read ahead are still there for its reader, and so are the bytes behind
// it.
func TestBodiesThatAreWatched(t *testing.T) {
	bodies := append(unreadBodies[:len(unreadBodies):len(unreadBodies)], []struct{ name, head, body, want string }{
		{"that is long", "Content-Length: 100000\r\n\r\n", strings.Repeat("a", 100000), strings.Repeat("a", 100000)},
		{"of one long chunk", "Transfer-Encoding: chunked\r\n\r\n", "186a0\r\n" + strings.Repeat("a", 100000) + "\r\n0\r\n\r\n", strings.Repeat("a", 100000)},
	}...)
	for _, tt := range bodies {
		for _, size := range []int{1, 7, 64 << 10} {
			t.Run(fmt.Sprintf("%s, %d bytes at once", tt.name, size), func(t *testing.T) {
				begun, goOn := make(chan struct{}, 1), make(chan struct{})
				addr := launch(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == "GET" {
						echo(w, r)
						return
					}
					done := r.Context().Done()
					begun <- struct{}{}
					<-goOn
					var body []byte
					for p, err := make([]byte, size), error(nil); err == nil; {
						var n int
						n, err = r.Body.Read(p)
						if body = append(body, p[:n]...); err != nil && err != io.EOF {
							t.Error(err)
						}
					}
					select {
					case <-done:
						t.Error("the client is taken for gone")
					default:
					}
					if string(body) != tt.want {
						t.Errorf("%d bytes, want %d", len(body), len(tt.want))
					}
				})})
				c := testkit.Dial(t, addr)
				c.Say("POST / HTTP/1.1\r\nHost: x\r\n" + tt.head)
				testkit.Await(t, begun)
				c.Say(tt.body + get)
				if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				close(goOn)
				if res, _ := c.Response("POST"); res.StatusCode != 200 {
					t.Errorf("%v", res)
				}
				if res, _ := c.Response("GET"); res.StatusCode != 200 {
					t.Errorf("the next: %v", res)
				}
			})
		}
	}
}

// A client that has ended its side waits for the answers, whether or not a body is read.
func TestPipelineBehindAnUnreadBody(t *testing.T) {
	for _, tt := range unreadBodies {
		t.Run(tt.name, func(t *testing.T) {
			addr := launch(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == "GET" {
					return
				}
				select {
				case <-r.Context().Done():
					t.Error("the client is taken for gone")
				case <-time.After(20 * time.Millisecond): // nothing comes, however long one waits
				}
			})})
			c := testkit.Dial(t, addr)
			c.Say("POST / HTTP/1.1\r\nHost: x\r\n" + tt.head + tt.body + get)
			if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if res, _ := c.Response("POST"); res.StatusCode != 200 {
					t.Errorf("%v", res)
				}
			}
		})
	}
}

// The time limit of a handler applies although the body was watched.
func TestDeadlineOfAWatchedBody(t *testing.T) {
	for _, first := range []bool{true, false} {
		t.Run(fmt.Sprint("set first: ", first), func(t *testing.T) {
			ended := make(chan error, 1)
			addr := launch(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				set := func() {
					if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(30 * time.Millisecond)); err != nil {
						t.Error(err)
					}
				}
				if first {
					set()
				}
				_ = r.Context().Done() // begins to watch
				time.Sleep(time.Millisecond)
				if !first {
					set()
				}
				_, err := io.ReadAll(r.Body)
				ended <- err
			})})
			c := testkit.Dial(t, addr)
			c.Say("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab")
			if err := testkit.Await(t, ended); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

func TestEndOfChunks(t *testing.T) {
	for p, want := range map[string]int{
		"": 0, "0\r\n\r\n": 5, "0\r\n\r": 0, "0\r\n\r\nGET": 5, "3\r\nabc\r\n0\r\n\r\nx": 13, "3\r\nabc\r\n0\r\nA: b\r\n\r\nx": 19,
		"3\r\nabc\r\n0\r\nA: b\r\n": 0, "3\r\nab": 0, "x\r\n": 0, "\n": 0, "fffffffffffffff\r\n": 0, "3": 0,
	} {
		if n := endOfChunks([]byte(p)); n != want {
			t.Errorf("%q: %d, want %d", p, n, want)
		}
	}
}

// lateReset is a connection that is reset at the very moment in which the watch's read is ended for a reader of the
// body. As of a socket, the reset is told once.
type lateReset struct {
	net.Conn // only for its addresses
	request  string
	reads    int
	watched  chan struct{} // closed when the second read has begun
	woken    chan struct{} // closed by a deadline in the past
}

func (c *lateReset) Read(p []byte) (int, error) {
	c.reads++
	switch c.reads {
	case 1:
		return copy(p, c.request), nil
	case 2:
		close(c.watched)
		<-c.woken
		return 0, syscall.ECONNRESET
	}
	return 0, io.EOF
}

func (c *lateReset) SetReadDeadline(t time.Time) error {
	if !t.IsZero() && t.Before(time.Now()) {
		select {
		case <-c.woken:
		default:
			close(c.woken)
		}
	}
	return nil
}

func (c *lateReset) Write(p []byte) (int, error)      { return len(p), nil }
func (c *lateReset) SetWriteDeadline(time.Time) error { return nil }
func (c *lateReset) SetDeadline(time.Time) error      { return nil }
func (c *lateReset) Close() error                     { return nil }

func TestAResetThatTheWatchMeetsReachesTheReaderOfTheBody(t *testing.T) {
	pipe, other := net.Pipe()
	defer pipe.Close()
	defer other.Close()
	c := &lateReset{
		Conn: pipe, request: "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
		watched: make(chan struct{}), woken: make(chan struct{}),
	}
	read := make(chan error, 1)
	s := &Server{Context: t.Context(), Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_ = r.Context().Done() // has the connection watched
		<-c.watched
		_, err := io.ReadAll(r.Body)
		read <- err
	})}
	go s.Take(c, nil)
	if err := testkit.Await(t, read); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the body ends with %v, want the reset", err)
	}
}
