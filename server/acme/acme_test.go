package acme_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/pagi-go/pagi-bridge/internal/metrics"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server"
	"github.com/pagi-go/pagi-bridge/server/acme"
)

// pebbleModule is the authority the tests use.
const pebbleModule = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1"

// buildPebble returns the path of a program; the test is skipped where it cannot be
// built.
func buildPebble(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "install", pebbleModule)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOBIN="+dir, "GOFLAGS=-mod=mod")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("pebble, a certificate authority for tests, cannot be built (go install %s): %v\n%s", pebbleModule, err, out)
	}
	return filepath.Join(dir, "pebble")
}

// everythingIsHere starts a DNS server that gives every name the address of this machine.
func everythingIsHere(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // pebble asks over TCP
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, ask *dns.Msg) {
		answer := new(dns.Msg)
		answer.SetReply(ask)
		if q := ask.Question[0]; q.Qtype == dns.TypeA {
			answer.Answer = append(answer.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)})
		}
		_ = w.WriteMsg(answer) // a client without an answer asks again
	})}
	go func() { _ = s.ActivateAndServe() }() // until Shutdown
	t.Cleanup(func() { _ = s.Shutdown() })
	return l.Addr().String()
}

// freePort returns a port at which nothing listened a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// authority starts a pebble that reaches sites at the given ports.
func authority(t *testing.T, program string, ports acme.Ports) (directory, ca string) {
	t.Helper()
	pair := testkit.Certificate(t)
	address := freePort(t)
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": address, "certificate": pair.CertFile, "privateKey": pair.KeyFile,
		"httpPort": max(ports.Redirect, 1), "tlsPort": max(ports.TLS, 1), "domainBlocklist": []string{"blocked-domain.example"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pebble.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-config", file, "-dnsserver", everythingIsHere(t))
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
	var log testkit.Log
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("pebble:\n%s", &log)
		}
	})
	testkit.Eventually(t, "pebble to listen", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return "https://" + address + "/dir", pair.CertFile
}

func TestCertificates(t *testing.T) {
	program := buildPebble(t)
	for _, tt := range []struct {
		name   string
		listen []string
	}{
		{"proof in the handshake", []string{"127.0.0.1:0,tls"}},
		{"proof by a plain request", []string{"unix:" + filepath.Join(t.TempDir(), "s") + ",tls", "127.0.0.1:0,redirect=8443"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// The server's ports must be known to pebble, and pebble's to the server.
			var ports acme.Ports
			for i, place := range tt.listen {
				if strings.HasPrefix(place, "unix:") {
					continue
				}
				address := freePort(t)
				tt.listen[i] = strings.Replace(place, "127.0.0.1:0", address, 1)
				_, text, _ := net.SplitHostPort(address)
				port, err := strconv.Atoi(text)
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(place, "redirect") {
					ports.Redirect = port
				} else {
					ports.TLS = port
				}
			}
			directory, ca := authority(t, program, ports)
			storage := filepath.Join(t.TempDir(), "acme")
			var log testkit.Log
			// The second name is refused by the authority.
			m, err := acme.New(acme.Options{Domains: []string{"site.example", "blocked-domain.example"}, Agree: true, Directory: directory, DirectoryCA: ca, Storage: storage}, log.Logger())
			if err != nil {
				t.Fatal(err)
			}
			app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
				if scope.Type != pagi.TypeHTTP {
					return pagi.Unsupported(scope)
				}
				return reply.Text(ctx, scope, send, 200, scope.TLS().ServerCert)
			})
			ready, ended := make(chan struct{}), make(chan error, 2)
			s := &server.Server{App: app, Listen: tt.listen, TLS: server.TLS{Managed: m}, Logger: log.Logger(), Ready: func([]net.Addr) error { close(ready); return nil }}
			ctx, cancel := context.WithCancel(t.Context())
			go func() { ended <- s.Run(ctx) }()
			testkit.Await(t, ready)
			wantCertificates(t, s, status.Certificate{Domain: "site.example"}, status.Certificate{Domain: "blocked-domain.example"})
			go func() { ended <- m.Run(ctx, ports) }()
			defer func() {
				cancel()
				if err := errors.Join(testkit.Await(t, ended), testkit.Await(t, ended)); err != nil {
					t.Error(err)
				}
				if t.Failed() {
					t.Logf("log:\n%s", &log)
				}
			}()
			network, address := "tcp", strings.TrimSuffix(tt.listen[0], ",tls")
			if path, ok := strings.CutPrefix(address, "unix:"); ok {
				network, address = "unix", path
			}
			var conn *tls.Conn
			testkit.Eventually(t, "a certificate", func() bool {
				d := tls.Dialer{NetDialer: &net.Dialer{Timeout: time.Second}, Config: &tls.Config{ServerName: "site.example", InsecureSkipVerify: true}}
				c, err := d.DialContext(ctx, network, address)
				if err == nil {
					conn = c.(*tls.Conn)
				}
				return err == nil
			})
			leaf := conn.ConnectionState().PeerCertificates[0]
			if !strings.Contains(leaf.Issuer.CommonName, "Pebble") || leaf.VerifyHostname("site.example") != nil {
				t.Errorf("certificate of %s for %v", leaf.Issuer, leaf.DNSNames)
			}
			wantCertificates(t, s, status.Certificate{Domain: "site.example", Names: leaf.DNSNames, Expires: leaf.NotAfter},
				status.Certificate{Domain: "blocked-domain.example"})
			c := testkit.NewConn(t, conn)
			c.Say("GET / HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\n\r\n")
			if res, body := c.Response("GET"); res.StatusCode != 200 || !strings.HasPrefix(body, "-----BEGIN CERTIFICATE-----") {
				t.Errorf("%s %q", res.Status, body)
			}
			if info, err := os.Stat(storage); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("storage: %v %v", info, err)
			}
		})
	}
}

// wantCertificates compares the certificates in the status of a server, and in the metrics that are made of it, with those
// wanted.
func wantCertificates(t *testing.T, s *server.Server, want ...status.Certificate) {
	t.Helper()
	now, _ := s.Status()
	if !cmp.Equal(now.Certificates, want) {
		t.Errorf("certificates %+v, want %+v", now.Certificates, want)
	}
	r := metrics.New()
	r.SetSource(func() *status.Gateway { return &status.Gateway{Server: now} })
	text, err := r.Text(metrics.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range want {
		seconds := 0.0
		if !c.Expires.IsZero() {
			seconds = float64(c.Expires.Unix())
		}
		line := fmt.Sprintf(`pagi_bridge_certificate_expiry_timestamp_seconds{domain=%q,file=""} %v`, c.Domain, seconds)
		if !strings.Contains(string(text), line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
}

func TestOptionsThatCannotBe(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for option, o := range map[string]acme.Options{
		"domains":      {Agree: true},
		"domains: \"":  {Domains: []string{"a b"}, Agree: true},
		"agree":        {Domains: []string{"site.example"}},
		"directory_ca": {Domains: []string{"site.example"}, Agree: true, DirectoryCA: empty},
	} {
		if _, err := acme.New(o, nil); err == nil || !strings.HasPrefix(err.Error(), option) {
			t.Errorf("%s: %v", option, err)
		}
	}
	var log testkit.Log
	m, err := acme.New(acme.Options{Domains: []string{"site.example"}, Agree: true, Storage: t.TempDir()}, log.Logger())
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Run(t.Context(), acme.Ports{}); err == nil || !strings.Contains(err.Error(), "cannot be answered") {
		t.Errorf("without a place: %v", err)
	}
}

// The server serves before Run is called.
func TestRunWhileClientsAsk(t *testing.T) {
	var log testkit.Log
	m, err := acme.New(acme.Options{Domains: []string{"site.example"}, Agree: true, Directory: "https://127.0.0.1:1/", Storage: t.TempDir()}, log.Logger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx, acme.Ports{TLS: 443}) }()
	conn, _ := net.Pipe()
	defer func() { _ = conn.Close() }()
	challenge := httptest.NewRequest("GET", "http://site.example/.well-known/acme-challenge/x", nil)
	for end := time.Now().Add(20 * time.Millisecond); time.Now().Before(end); {
		if m.ServeChallenge(httptest.NewRecorder(), challenge) {
			t.Fatal("a proof of nothing")
		}
		if cert, err := m.GetCertificate(&tls.ClientHelloInfo{ServerName: "site.example", Conn: conn}); err == nil {
			t.Fatalf("certificate %v", cert)
		}
	}
	cancel()
	if err := testkit.Await(t, ended); err != nil {
		t.Error(err)
	}
}
