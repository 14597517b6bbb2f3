package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// h3conn returns a connection that does not go quiet.
func h3conn(t *testing.T, x *site, pair *testkit.Pair) *quic.Conn {
	t.Helper()
	conn, err := quic.DialAddr(t.Context(), x.addr, &tls.Config{RootCAs: pair.Pool, NextProtos: []string{http3.NextProtoH3}}, &quic.Config{KeepAlivePeriod: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseWithError(0, "") }) // the server may have
	return conn
}

// begin opens a stream and begins a head on it.
func begin(t *testing.T, conn *quic.Conn) error {
	t.Helper()
	stream, err := conn.OpenStream()
	if err == nil {
		_, err = stream.Write([]byte{1})
	}
	return err
}

func TestHTTP3StreamsAtOnce(t *testing.T) {
	pair := testkit.Certificate(t)
	x := launch(t, &Server{App: echo, HTTP3: true, TLSCert: pair.CertFile, TLSKey: pair.KeyFile, H2MaxStreams: 3})
	conn := h3conn(t, x, pair)
	for n := range 3 {
		if err := begin(t, conn); err != nil {
			t.Errorf("stream %d: %v", n, err)
		}
	}
	if err := begin(t, conn); err == nil {
		t.Error("a fourth stream")
	}
}

func TestSlowHTTP3Clients(t *testing.T) {
	pair := testkit.Certificate(t)
	const limit = 200 * time.Millisecond
	slow := httpOnly(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		time.Sleep(5 * limit)
		return reply(ctx, send, "slow")
	})
	x := launch(t, &Server{App: slow, HTTP3: true, TLSCert: pair.CertFile, TLSKey: pair.KeyFile, Timeout: limit, HeaderTimeout: limit})
	conn := h3conn(t, x, pair)
	if err := begin(t, conn); err != nil {
		t.Fatal(err)
	}
	testkit.Await(t, conn.Context().Done())
	// A request that takes its time is another matter.
	if res, body := testkit.Get(t, h3(t, pair), "https://"+x.addr+"/"); res.StatusCode != 200 || body != "slow" {
		t.Errorf("%v %q", res, body)
	}
}

// A head that has begun does not hold the stop up.
func TestStopWithASlowHTTP3Client(t *testing.T) {
	pair := testkit.Certificate(t)
	x := launch(t, &Server{App: echo, HTTP3: true, TLSCert: pair.CertFile, TLSKey: pair.KeyFile})
	if err := begin(t, h3conn(t, x, pair)); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := x.stop(); err != nil || time.Since(start) > DefaultShutdownTimeout/3 {
		t.Errorf("stopped after %v: %v", time.Since(start), err)
	}
}

func TestMalformedHTTP3Requests(t *testing.T) {
	pair := testkit.Certificate(t)
	x := launch(t, &Server{App: echo, HTTP3: true, TLSCert: pair.CertFile, TLSKey: pair.KeyFile})
	client := h3(t, pair)
	for _, tt := range []struct {
		host, query string
		status      int
	}{{"x:80", "a=b", 200}, {"x:port", "a=b", 400}, {"x", "a b", 400}, {"x", "a#b", 400}} {
		req := testkit.NewRequest(t, "GET", "https://"+x.addr+"/", nil)
		req.Host, req.URL.RawQuery = tt.host, tt.query
		if res, _ := testkit.Do(t, client, req); res.StatusCode != tt.status {
			t.Errorf("%q, %q: %v", tt.host, tt.query, res)
		}
	}
	x.stop()
	x.access.WaitFor(t, "400")
}

func TestClientCertificatesOfHTTP3(t *testing.T) {
	a, other := newAuthority(t, "CA"), newAuthority(t, "other")
	files, _ := a.issue("server", "127.0.0.1")
	x := launch(t, &Server{HTTP3: true, TLSCert: files.Cert, TLSKey: files.Key, TLS: TLS{ClientAuth: ClientAuthOptional, ClientCA: a.file("ca.pem")},
		App: httpOnly(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
			return reply(ctx, send, fmt.Sprint(scope.TLS().ClientCertName != "", " ", scope.TLS().ClientCertError))
		})})
	for _, tt := range []struct {
		name   string
		signer *authority
		want   string
	}{
		{"one that is right", a, "true "},
		{"one of somebody else", other, "true x509: certificate signed by unknown authority"},
		{"none", nil, "false "},
	} {
		config := &tls.Config{InsecureSkipVerify: true}
		if tt.signer != nil {
			client, _ := tt.signer.issue("client", "client.example")
			pair, err := tls.LoadX509KeyPair(client.Cert, client.Key)
			if err != nil {
				t.Fatal(err)
			}
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		tr := &http3.Transport{TLSClientConfig: config}
		if _, body := testkit.Get(t, &http.Client{Transport: tr, Timeout: testkit.Patience}, "https://"+x.addr+"/"); body != tt.want {
			t.Errorf("%s: %q", tt.name, body)
		}
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	}
}
