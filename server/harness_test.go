package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

func reply(ctx context.Context, send pagi.Send, body string) error {
	return errors.Join(
		send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "text/plain")}),
		send(ctx, pagi.HTTPResponseBody{Body: []byte(body)}))
}

// httpOnly makes an application that declines everything but http.
func httpOnly(f func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeHTTP {
			return pagi.Unsupported(scope)
		}
		return f(ctx, scope, receive, send)
	})
}

// echo answers with the path and the body.
var echo = httpOnly(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	body, err := io.ReadAll(request.BodyReader(ctx, receive))
	if err != nil {
		return nil
	}
	return reply(ctx, send, scope.Path+" "+string(body))
})

// running server of a test.
type site struct {
	t      *testing.T
	server *Server
	addr   string
	log    *testkit.Log
	access *testkit.Log
	cancel context.CancelFunc
	done   chan error
	once   sync.Once
	err    error
}

// launch runs s until the test ends or stop is called.
func launch(t *testing.T, s *Server) *site {
	t.Helper()
	x := prepare(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	x.cancel = cancel
	ready := make(chan []net.Addr, 1)
	s.Ready = func(addrs []net.Addr) error { ready <- addrs; return nil }
	go func() { x.done <- s.Run(ctx) }()
	t.Cleanup(func() { x.stop() })
	select {
	case addrs := <-ready:
		x.addr = addrs[0].String()
	case err := <-x.done:
		x.done <- err
		t.Fatalf("server did not start: %v", err)
	case <-time.After(testkit.Patience):
		t.Fatal("server did not start in time")
	}
	return x
}

func prepare(t *testing.T, s *Server) *site {
	x := &site{t: t, server: s, log: &testkit.Log{}, access: &testkit.Log{}, done: make(chan error, 1)}
	if s.Listen == nil && s.Socket == "" && s.Listeners == nil {
		s.Listen = []string{"127.0.0.1:0"}
	}
	s.Logger = x.log.Logger()
	if s.AccessLog == nil {
		s.AccessLog = x.access
	}
	return x
}

// stop ends the server and returns what Run returned.
func (x *site) stop() error {
	x.once.Do(func() {
		x.cancel()
		select {
		case x.err = <-x.done:
		case <-time.After(testkit.Patience):
			x.t.Error("server did not stop in time")
		}
	})
	return x.err
}

func (x *site) dial() *testkit.Conn {
	x.t.Helper()
	return testkit.Dial(x.t, x.addr)
}

// request dials and writes.
func (x *site) request(text string) *testkit.Conn {
	x.t.Helper()
	c := x.dial()
	c.Say(text)
	return c
}

// https returns a client that trusts pool and speaks HTTP/2 if it may.
func https(t *testing.T, pool *x509.CertPool, h2 bool) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: h2}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: testkit.Patience}
}

// onVersions runs a test over HTTP/1.1, and over HTTP/2 and TLS. start launches a server and
// returns its URL and a client that speaks that.
func onVersions(t *testing.T, f func(t *testing.T, start func(*Server) (x *site, url string, client *http.Client))) {
	t.Helper()
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP/1.1", true: "HTTP/2"}[secure], func(t *testing.T) {
			f(t, func(s *Server) (*site, string, *http.Client) {
				if !secure {
					x := launch(t, s)
					return x, "http://" + x.addr, https(t, nil, false)
				}
				pair := testkit.Certificate(t)
				s.TLSCert, s.TLSKey = pair.CertFile, pair.KeyFile
				x := launch(t, s)
				return x, "https://" + x.addr, https(t, pair.Pool, true)
			})
		})
	}
}

func transport(c *http.Client) *http.Transport { return c.Transport.(*http.Transport) }

// requests is the number of those that applications have.
func (x *site) requests() int64 {
	status, _ := x.server.Status()
	return status.Requests
}

// connections is the number of open ones.
func (x *site) connections() int {
	status, _ := x.server.Status()
	return status.Connections
}
