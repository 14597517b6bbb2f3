package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// syncBuffer collects what several goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

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
	body, err := io.ReadAll(pagi.BodyReader(ctx, receive))
	if err != nil {
		return nil
	}
	return reply(ctx, send, scope.Path+" "+string(body))
})

// running server of a test.
type site struct {
	t      *testing.T
	addr   string
	log    *syncBuffer
	access *syncBuffer
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
	s.Ready = func(addrs []net.Addr) { ready <- addrs }
	go func() { x.done <- s.Run(ctx) }()
	t.Cleanup(func() { x.stop() })
	select {
	case addrs := <-ready:
		x.addr = addrs[0].String()
	case err := <-x.done:
		x.done <- err
		t.Fatalf("server did not start: %v", err)
	case <-time.After(patience):
		t.Fatal("server did not start in time")
	}
	return x
}

func prepare(t *testing.T, s *Server) *site {
	x := &site{t: t, log: &syncBuffer{}, access: &syncBuffer{}, done: make(chan error, 1)}
	if s.Listen == nil && s.Socket == "" && s.Listeners == nil {
		s.Listen = []string{"127.0.0.1:0"}
	}
	s.Logger = slog.New(slog.NewTextHandler(x.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
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
		case <-time.After(patience):
			x.t.Error("server did not stop in time")
		}
	})
	return x.err
}

type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (x *site) dial() *client {
	x.t.Helper()
	network := "tcp"
	if strings.Contains(x.addr, "/") {
		network = "unix"
	}
	c, err := net.Dial(network, x.addr)
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &client{x.t, c, bufio.NewReader(c)}
}

// request dials and writes.
func (x *site) request(text string) *client {
	x.t.Helper()
	c := x.dial()
	c.write(text)
	return c
}

func (c *client) write(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) response() (*http.Response, string) {
	c.t.Helper()
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatalf("reading the response: %v", err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatalf("reading the response body: %v (so far %q)", err, body)
	}
	return res, string(body)
}

// closed checks that the server ends the connection without another byte.
func (c *client) closed() {
	c.t.Helper()
	if b, err := io.ReadAll(c.r); len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("connection: %q, %v; want it closed", b, err)
	}
}

func await[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("it did not happen in time")
		panic("unreachable")
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

// logged waits for a log line that contains all parts.
func (x *site) logged(parts ...string) {
	x.t.Helper()
	eventually(x.t, "log line with "+strings.Join(parts, ", "), func() bool {
		for line := range strings.Lines(x.log.String()) {
			all := true
			for _, p := range parts {
				all = all && strings.Contains(line, p)
			}
			if all {
				return true
			}
		}
		return false
	})
}

// certificate makes a self-signed pair for 127.0.0.1 and a client that trusts it.
func certificate(t *testing.T) (certFile, keyFile, certPEM string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	if err := errors.Join(os.WriteFile(certFile, []byte(certPEM), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600)); err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(cert)
	return certFile, keyFile, certPEM, pool
}

// https returns a client that trusts pool and speaks HTTP/2 if it may.
func https(t *testing.T, pool *x509.CertPool, h2 bool) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: h2}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

func get(t *testing.T, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}
