package http1

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

// When a client leaves, the context ends for a request that waits for that.
func TestClientLeaves(t *testing.T) {
	ended := make(chan error, 1)
	addr := launch(t, &Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		ended <- r.Context().Err()
	})})
	c := testkit.Dial(t, addr)
	c.Say(get)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := testkit.Await(t, ended); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

// The context also ends for a client that leaves while its body is read, once the body has ended.
func TestClientLeavesAfterItsBody(t *testing.T) {
	ended := make(chan error, 1)
	addr := launch(t, &Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		done := r.Context().Done()
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			ended <- err
		}
		<-done
		ended <- nil
	})})
	c := testkit.Dial(t, addr)
	c.Say("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := testkit.Await(t, ended); err != nil {
		t.Error(err)
	}
}

// Bytes that are read while watching for a client that leaves are the next request.
func TestRequestsThatComeWhileAnotherIsWatched(t *testing.T) {
	watched := make(chan struct{}, 1)
	goOn := make(chan struct{})
	addr := launch(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/watched" {
			done := r.Context().Done()
			watched <- struct{}{}
			select {
			case <-done:
			case <-goOn:
			}
		}
		echo(w, r)
	})})
	c := testkit.Dial(t, addr)
	c.Say("GET /watched HTTP/1.1\r\nHost: x\r\n\r\n")
	testkit.Await(t, watched)
	// Enough to fill the buffer.
	for range 100 {
		c.Say("POST /next HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + strings.Repeat("a", 100))
	}
	close(goOn)
	if _, body := c.Response("GET"); !strings.HasPrefix(body, "GET /watched") {
		t.Fatalf("the first answer is %q", body)
	}
	for i := range 100 {
		if _, body := c.Response("POST"); body != `POST /next x "`+strings.Repeat("a", 100)+`"` {
			t.Fatalf("answer %d is %q", i, body)
		}
	}
}

// A client that sends all its requests and then ends its side of the connection may wait for the
// answers.
func TestPipelineThatIsHalfClosed(t *testing.T) {
	for _, between := range []string{"", "\r\n\r\n"} {
		begun, goOn := make(chan struct{}, 1), make(chan struct{})
		addr := launch(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/first" {
				done := r.Context().Done()
				begun <- struct{}{}
				<-goOn
				select {
				case <-done:
					t.Error("the client is taken for gone")
				case <-time.After(20 * time.Millisecond): // nothing comes, however long one waits
				}
			}
			echo(w, r)
		})})
		c := testkit.Dial(t, addr)
		c.Say("GET /first HTTP/1.1\r\nHost: x\r\n\r\n")
		testkit.Await(t, begun)
		c.Say(between + get + get)
		if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		close(goOn)
		for i := range 3 {
			if res, _ := c.Response("GET"); res.StatusCode != 200 {
				t.Errorf("answer %d: status %d", i, res.StatusCode)
			}
		}
		c.Closed()
	}
}

func TestPanicEndsTheConnection(t *testing.T) {
	addr := launch(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			panic("in a test")
		}
		echo(w, r)
	})})
	c := testkit.Dial(t, addr)
	c.Say("GET /fine HTTP/1.1\r\nHost: x\r\n\r\n" + get)
	if res, _ := c.Response("GET"); res.StatusCode != 200 {
		t.Errorf("status %d", res.StatusCode)
	}
	c.Closed()
}

func TestHijack(t *testing.T) {
	addr := launch(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-time.After(0)
		_ = r.Context().Done() // begins to read ahead
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		if _, _, err := w.(http.Hijacker).Hijack(); !errors.Is(err, http.ErrHijacked) {
			t.Errorf("a second time: %v", err)
		}
		go func() {
			line, err := rw.ReadString('\n')
			if err == nil {
				_, err = rw.WriteString("you said " + line)
			}
			if err := errors.Join(err, rw.Flush(), conn.Close()); err != nil {
				t.Error(err)
			}
		}()
	})})
	for _, early := range []bool{true, false} {
		c := testkit.Dial(t, addr)
		if early {
			c.Say(get + "something else\n")
		} else {
			c.Say(get)
			c.Say("something else\n")
		}
		if got := c.Rest(); got != "you said something else\n" {
			t.Errorf("%q", got)
		}
	}
}

// The server reads a body that the handler has not read if it is short, so that the connection can
// go on.
func TestUnreadBodies(t *testing.T) {
	addr := launch(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(200)
	})})
	for _, tt := range []struct {
		name, request string
		on            bool
	}{
		{"short", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", true},
		{"short, in chunks", chunks("3\r\nabc\r\n0\r\n\r\n"), true},
		{"long", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc", false},
		{"broken", chunks("3\r\nabcd\r\n0\r\n\r\n"), false},
		{"expected", "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := testkit.Dial(t, addr)
			c.Say(tt.request)
			res, _ := c.Response("POST")
			if res.StatusCode != 200 || tt.name == "long" && !res.Close {
				t.Errorf("status %d, close %v", res.StatusCode, res.Close)
			}
			if !tt.on {
				c.Cut()
				return
			}
			c.Say(get)
			if res, _ := c.Response("GET"); res.StatusCode != 200 {
				t.Errorf("the next one: status %d", res.StatusCode)
			}
		})
	}
}

// An HTTP/1.0 client that asks for keep-alive is not promised it when the handler wants to close.
func TestHandlerClosesInHTTP10(t *testing.T) {
	addr := launch(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(200)
	})})
	c := testkit.Dial(t, addr)
	c.Say("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	if head := c.Rest(); strings.Contains(strings.ToLower(head), "keep-alive") {
		t.Errorf("answered %q", head)
	}
}

func TestTimeouts(t *testing.T) {
	refused := make(chan *Refusal, 9)
	s := &Server{Handler: echo, Limits: Limits{HeadTimeout: 50 * time.Millisecond, IdleTimeout: 60 * time.Millisecond},
		Refused: func(r *Refusal) { refused <- r }}
	addr := launch(t, s)
	t.Run("a client that says nothing", func(t *testing.T) {
		testkit.Dial(t, addr).Closed()
	})
	t.Run("a head that does not end", func(t *testing.T) {
		c := testkit.Dial(t, addr)
		c.Say("GET / HTTP/1.1\r\n")
		if res, _ := c.Response("GET"); res.StatusCode != 408 || !res.Close {
			t.Errorf("status %d", res.StatusCode)
		}
		c.Closed()
		if r := testkit.Await(t, refused); r.Status != 408 || r.Client != c.LocalAddr().String() {
			t.Errorf("%+v", r)
		}
	})
	t.Run("an idle connection", func(t *testing.T) {
		c := testkit.Dial(t, addr)
		c.Say(get)
		c.Response("GET")
		c.Closed()
	})
}

func TestShutdown(t *testing.T) {
	begun, goOn := make(chan struct{}, 1), make(chan struct{})
	s := &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			begun <- struct{}{}
			<-goOn
		}
		echo(w, r)
	})}
	addr := launch(t, s)
	idle, fresh, busy := testkit.Dial(t, addr), testkit.Dial(t, addr), testkit.Dial(t, addr)
	idle.Say(get)
	idle.Response("GET")
	busy.Say("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	testkit.Await(t, begun)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("with a request under way: %v", err)
	}
	idle.Closed()
	fresh.Cut()
	close(goOn)
	if res, _ := busy.Response("GET"); res.StatusCode != 200 || !res.Close {
		t.Errorf("status %d, close %v", res.StatusCode, res.Close)
	}
	busy.Closed()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// A client that was not told that the connection ends may send another request on it.
func TestEndIsAnnounced(t *testing.T) {
	s := &Server{}
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
		s.End()
	})
	c := testkit.Dial(t, launch(t, s))
	for _, last := range []bool{false, true} {
		c.Say(get)
		if res, _ := c.Response("GET"); res.Close != last {
			t.Errorf("the connection ends: %v, not %v", res.Close, last)
		}
	}
	c.Closed()
}
