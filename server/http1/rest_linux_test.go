package http1

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// resting starts a server whose connections rest at once, and returns a function that waits until so many are parked.
func resting(t *testing.T, limits Limits) (s *Server, address string, parked func(n int)) {
	t.Helper()
	s = &Server{Handler: echo, Limits: limits, rest: time.Nanosecond}
	address = launch(t, s)
	return s, address, func(n int) {
		t.Helper()
		testkit.Eventually(t, "connections to be parked", func() bool { return s.lot.Len() == n })
	}
}

// A connection that rests serves further requests, in pieces and pipelined, and rests again.
func TestAConnectionThatRestsServesOn(t *testing.T) {
	_, addr, parked := resting(t, Limits{})
	c := testkit.Dial(t, addr)
	for range 5 {
		c.Say(get)
		if res, _ := c.Response("GET"); res.StatusCode != http.StatusOK {
			t.Fatalf("status %d", res.StatusCode)
		}
		parked(1)
	}
	c.Say("G")
	parked(0)
	c.Say(strings.TrimPrefix(get, "G") + get)
	for range 2 {
		if res, _ := c.Response("GET"); res.StatusCode != http.StatusOK {
			t.Fatalf("status %d", res.StatusCode)
		}
	}
	parked(1)
}

func TestConnectionsThatRestEnd(t *testing.T) {
	ended := func(t *testing.T, s *Server) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
		defer cancel()
		if err := s.WaitGone(ctx); err != nil {
			t.Fatal(err)
		}
		if n := s.lot.Len(); n != 0 {
			t.Errorf("%d connections are parked", n)
		}
	}
	t.Run("the client leaves", func(t *testing.T) {
		s, addr, parked := resting(t, Limits{})
		c := testkit.Dial(t, addr)
		c.Say(get)
		c.Response("GET")
		parked(1)
		_ = c.Close() // nothing was written that could be lost
		ended(t, s)
	})
	t.Run("the idle time is over", func(t *testing.T) {
		s, addr, _ := resting(t, Limits{IdleTimeout: 20 * time.Millisecond})
		c := testkit.Dial(t, addr)
		c.Say(get)
		c.Response("GET")
		c.Closed()
		ended(t, s)
	})
	for name, end := range map[string]func(*Server){"the server stops": (*Server).Drain, "the server closes": (*Server).Close} {
		t.Run(name, func(t *testing.T) {
			s, addr, parked := resting(t, Limits{})
			var clients []*testkit.Conn
			for range 20 {
				c := testkit.Dial(t, addr)
				c.Say(get)
				c.Response("GET")
				clients = append(clients, c)
			}
			parked(len(clients))
			end(s)
			for _, c := range clients {
				c.Closed()
			}
			ended(t, s)
		})
	}
}

// Connections that are parked, woken and closed all the time neither hang nor are lost.
func TestRestIsNoPlaceToGetLost(t *testing.T) {
	s, addr, _ := resting(t, Limits{})
	done := make(chan struct{})
	for range 8 {
		go func() {
			defer func() { done <- struct{}{} }()
			for range 20 {
				c := testkit.Dial(t, addr)
				for range 5 {
					c.Say(get)
					if res, _, err := c.Try("GET"); err != nil || res.StatusCode != http.StatusOK {
						t.Errorf("%v", err)
						return
					}
				}
				_ = c.Close() // nothing was written that could be lost
			}
		}()
	}
	for range 8 {
		testkit.Await(t, done)
	}
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	if err := s.WaitGone(ctx); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "epoll to be closed", func() bool { return !hasEpoll(t) })
}

// hasEpoll reports whether a lot has an epoll of its own open, beside that of Go.
func hasEpoll(t *testing.T) bool {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil && strings.Contains(to, "[eventpoll]") {
			n++
		}
	}
	return n > 1
}

// A connection with TLS rests as well: what its client sends then is a whole record, of which nothing was read before.
func TestATLSConnectionRests(t *testing.T) {
	s := &Server{Handler: echo, Context: t.Context(), rest: time.Nanosecond}
	defer s.Close()
	certificate := testkit.SelfSigned(t, &x509.Certificate{DNSNames: []string{"x"}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	secure := tls.Server(accepted, &tls.Config{Certificates: []tls.Certificate{certificate}})
	go func() {
		if err := secure.Handshake(); err != nil {
			t.Error(err)
		}
		state := secure.ConnectionState()
		s.Take(secure, &state)
	}()
	c := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
	if err := c.SetDeadline(time.Now().Add(testkit.Patience)); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(c)
	for range 5 {
		if _, err := io.WriteString(c, get); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("status %d, %v", res.StatusCode, err)
		}
		testkit.Eventually(t, "the connection to be parked", func() bool { return s.lot.Len() == 1 })
	}
}
