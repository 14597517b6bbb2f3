package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// h3conn returns a connection that keeps itself alive.
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
	x := launch(t, &Server{App: echo, HTTP3: true, TLSCert: pair.CertFile, TLSKey: pair.KeyFile, Limits: Limits{H2MaxStreams: 3}})
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
	x := launch(t, &Server{App: slow, HTTP3: true, TLSCert: pair.CertFile, TLSKey: pair.KeyFile, Timeouts: Timeouts{Timeout: limit, HeaderTimeout: limit}})
	conn := h3conn(t, x, pair)
	if err := begin(t, conn); err != nil {
		t.Fatal(err)
	}
	testkit.Await(t, conn.Context().Done())
	// A slow request does not end its connection.
	if res, body := testkit.Get(t, h3(t, pair), "https://"+x.addr+"/"); res.StatusCode != 200 || body != "slow" {
		t.Errorf("%v %q", res, body)
	}
}

// A head that has begun does not delay the stop.
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

// TestHTTP3AtAPlaceForProxies: clients do not go past the proxy by UDP, and are not told that
// they could.
func TestHTTP3AtAPlaceForProxies(t *testing.T) {
	pair := testkit.Certificate(t)
	proxied := &Server{App: echo, HTTP3: true, TLSCert: pair.CertFile, TLSKey: pair.KeyFile,
		Listen: []string{"127.0.0.1:0,proxy,tls"}, ProxyProtocolFrom: []string{"127.0.0.1"}}
	if err := proxied.Run(t.Context()); !errors.Is(err, ErrHTTP3Proxied) {
		t.Errorf("alone: %v", err)
	}
	proxied.Listen = append(proxied.Listen, "127.0.0.1:0,tls")
	x := prepare(t, proxied)
	ready := make(chan []net.Addr, 1)
	proxied.Ready = func(addrs []net.Addr) error { ready <- addrs; return nil }
	ctx, cancel := context.WithCancel(t.Context())
	go func() { x.done <- proxied.Run(ctx) }()
	addrs := testkit.Await(t, ready)
	defer func() {
		cancel()
		if err := testkit.Await(t, x.done); err != nil {
			t.Error(err)
		}
	}()
	if res, body := testkit.Get(t, h3(t, pair), "https://"+addrs[1].String()+"/"); res.ProtoMajor != 3 || res.StatusCode != 200 {
		t.Errorf("at the other place: %v %q", res, body)
	}
	short, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer stop()
	if conn, err := quic.DialAddr(short, addrs[0].String(), &tls.Config{RootCAs: pair.Pool, NextProtos: []string{http3.NextProtoH3}}, nil); err == nil {
		_ = conn.CloseWithError(0, "")
		t.Error("HTTP/3 is spoken at the place for proxies")
	}
	for i, told := range []bool{false, true} {
		client := https(t, pair.Pool, false)
		if !told {
			client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				var d net.Dialer
				c, err := d.DialContext(ctx, network, address)
				if err == nil {
					_, err = io.WriteString(c, "PROXY TCP4 192.0.2.7 192.0.2.8 4711 443\r\n")
				}
				return c, err
			}
		}
		if res, _ := testkit.Get(t, client, "https://"+addrs[i].String()+"/"); (res.Header.Get("Alt-Svc") != "") != told {
			t.Errorf("at place %d: %v", i, res.Header)
		}
	}
}

// TestHTTP3ConnectionsCountWithAllOthers: clients cannot exceed either limit by another protocol.
func TestHTTP3ConnectionsCountWithAllOthers(t *testing.T) {
	pair := testkit.Certificate(t)
	for name, s := range map[string]*Server{
		"in all":           {Limits: Limits{MaxConnections: 2}},
		"from one address": {Limits: Limits{MaxConnectionsPerAddress: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			s.App, s.HTTP3, s.TLSCert, s.TLSKey = echo, true, pair.CertFile, pair.KeyFile
			x := launch(t, s)
			get := func(client *http.Client) error {
				res, err := client.Get("https://" + x.addr + "/")
				if err == nil {
					err = res.Body.Close()
				}
				return err
			}
			first, second := h3(t, pair), https(t, pair.Pool, true)
			for _, client := range []*http.Client{first, second} {
				if err := get(client); err != nil {
					t.Fatal(err)
				}
			}
			status, _ := x.server.Status()
			if status.Connections != 2 {
				t.Errorf("%d connections", status.Connections)
			}
			for protocol, client := range map[string]*http.Client{"HTTP/3": h3(t, pair), "HTTP/2": https(t, pair.Pool, true)} {
				if get(client) == nil {
					t.Errorf("a third connection, of %s", protocol)
				}
			}
			if err := errors.Join(get(first), get(second)); err != nil {
				t.Errorf("those there are: %v", err)
			}
			first.Transport.(*http3.Transport).CloseIdleConnections()
			_ = first.Transport.(*http3.Transport).Close()
			testkit.Eventually(t, "room", func() bool { return get(https(t, pair.Pool, true)) == nil })
		})
	}
}

// TestHTTP3AsksForClientCertificates: HTTP/3 asks for client certificates as the TCP listener does.
func TestHTTP3AsksForClientCertificates(t *testing.T) {
	pair := testkit.Certificate(t)
	x := launch(t, &Server{App: echo, HTTP3: true, TLSCert: pair.CertFile, TLSKey: pair.KeyFile, TLS: TLS{ClientAuth: ClientAuthRequired, ClientCA: pair.CertFile}})
	if res, err := h3(t, pair).Get("https://" + x.addr + "/"); err == nil {
		t.Errorf("%v without a certificate", res.Status)
	}
}

// TestDatagramsOfOneFamily: a place of one address family is not served over the other by UDP.
func TestDatagramsOfOneFamily(t *testing.T) {
	for address, want := range map[string]string{"0.0.0.0:0": "udp4", "127.0.0.1:0": "udp4", "[::]:0": "udp6", "[::1]:0": "udp6", ":0": "udp"} {
		place, err := ParsePlace(address)
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen(place.network(), address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // nothing was to be kept
		tcp := l.Addr().(*net.TCPAddr)
		of, err := reachOf(l, tcp)
		if got := datagrams(of, tcp); err != nil || got != want {
			t.Errorf("%s: %s, %v", address, got, err)
		}
	}
}

// deaf is the socket of a client that sends and never receives, like a client with a forged
// address.
type deaf struct {
	net.PacketConn
	answered chan struct{} // has a value when the server has answered
}

func (d *deaf) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		if _, _, err := d.PacketConn.ReadFrom(p); err != nil {
			return 0, nil, err
		}
		select {
		case d.answered <- struct{}{}:
		default:
		}
	}
}

// A handshake that is not completed may have a forged address, so it does not count for that
// address.
func TestHTTP3CountsNoForgedAddresses(t *testing.T) {
	pair := testkit.Certificate(t)
	x := launch(t, &Server{App: echo, HTTP3: true, TLSCert: pair.CertFile, TLSKey: pair.KeyFile, Limits: Limits{MaxConnections: 2, MaxConnectionsPerAddress: 1}})
	address, err := net.ResolveUDPAddr("udp", x.addr)
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		socket, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		d := &deaf{socket, make(chan struct{}, 1)}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := quic.Dial(ctx, d, address, &tls.Config{RootCAs: pair.Pool, ServerName: "localhost", NextProtos: []string{"h3"}}, nil)
			done <- err
		}()
		t.Cleanup(func() {
			cancel()
			if err := testkit.Await(t, done); err == nil {
				t.Error("a handshake that takes nothing in is complete")
			}
			_ = socket.Close() // nothing was to be kept
		})
		testkit.Await(t, d.answered)
	}
	if status, _ := x.server.Status(); status.Connections != 0 {
		t.Errorf("%d connections are counted", status.Connections)
	}
	res, err := h3(t, pair).Get("https://" + x.addr + "/")
	if err != nil {
		t.Fatalf("a client of the same address: %v", err)
	}
	if err := res.Body.Close(); err != nil {
		t.Error(err)
	}
	if status, _ := x.server.Status(); status.Connections != 1 {
		t.Errorf("%d connections are counted", status.Connections)
	}
}
