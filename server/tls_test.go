package server

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  crypto.Signer
	dir  string
	last int64
	rsa  bool // the keys of what it issues are of RSA, not ECDSA
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	pair := testkit.SelfSigned(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, cert: cert, key: pair.PrivateKey.(crypto.Signer), dir: t.TempDir(), last: 1}
	a.write("ca.pem", "CERTIFICATE", cert.Raw)
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func (a *authority) write(name, kind string, ders ...[]byte) {
	a.t.Helper()
	var text []byte
	for _, der := range ders {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	if err := os.WriteFile(a.file(name), text, 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// issue signs a certificate for names and writes NAME.pem and NAME.key.
func (a *authority) issue(name string, names ...string) (CertificateFiles, *x509.Certificate) {
	a.t.Helper()
	return a.issueFor(-time.Hour, time.Hour, name, names...)
}

// issueFor is issue with the time from and until when it is valid, from now on.
func (a *authority) issueFor(from, until time.Duration, name string, names ...string) (CertificateFiles, *x509.Certificate) {
	a.t.Helper()
	var key crypto.Signer
	var err error
	if a.rsa {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		a.t.Fatal(err)
	}
	a.last++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.last), Subject: pkix.Name{CommonName: name}, DNSNames: names,
		NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(until),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".key", "PRIVATE KEY", private)
	a.write(name+".pem", "CERTIFICATE", der, a.cert.Raw)
	return CertificateFiles{Cert: a.file(name + ".pem"), Key: a.file(name + ".key")}, cert
}

// shake does a handshake and returns what the client knows of it.
func shake(t *testing.T, addr string, config *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.ConnectionState(), nil
}

// tlsEcho answers with what the tls extension says.
var tlsEcho = httpOnly(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
	info := scope.TLS()
	if info == nil {
		return reply(ctx, send, "plain")
	}
	return reply(ctx, send, strings.Join([]string{info.ClientCertName, info.ClientCertError, strings.Join(info.ClientCertChain, ""), info.ServerCert}, "|"))
})

func TestCertificatesByName(t *testing.T) {
	a := newAuthority(t, "CA")
	one, _ := a.issue("one", "one.example")
	two, _ := a.issue("two", "two.example", "*.two.example")
	x := launch(t, &Server{App: tlsEcho, TLSCert: one.Cert, TLSKey: one.Key, TLS: TLS{Certificates: []CertificateFiles{two}}})
	for name, want := range map[string]string{
		"one.example": "one", "two.example": "two", "TWO.example": "two", "a.two.example": "two",
		"a.b.two.example": "one", "other.example": "one", "": "one",
	} {
		state, err := shake(t, x.addr, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := state.PeerCertificates[0].Subject.CommonName; got != want {
			t.Errorf("%q gets %s", name, got)
		}
		if name == "" {
			continue
		}
		client := https(t, a.pool(), false)
		config := client.Transport.(*http.Transport).TLSClientConfig
		config.ServerName, config.InsecureSkipVerify = name, true
		res, body := testkit.Get(t, client, "https://"+x.addr+"/")
		told, _ := pem.Decode([]byte(strings.Split(body, "|")[3]))
		if told == nil || !bytes.Equal(told.Bytes, res.TLS.PeerCertificates[0].Raw) {
			t.Errorf("%q: the application is told of another certificate: %q", name, body)
		}
	}
}

// A client gets a certificate whose algorithms it has, whatever name it asks for.
func TestCertificatesByAlgorithm(t *testing.T) {
	a := newAuthority(t, "CA")
	ec, _ := a.issue("ec", "both.example")
	a.rsa = true
	rsa, _ := a.issue("rsa", "both.example")
	wild, _ := a.issue("wild", "*.example")
	x := launch(t, &Server{App: echo, TLSCert: ec.Cert, TLSKey: ec.Key, TLS: TLS{Certificates: []CertificateFiles{rsa, wild}}})
	for _, tt := range []struct {
		name, asks string
		suite      uint16
		want       string
	}{
		{"the name of two, with ECDSA", "both.example", tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ec"},
		{"the name of two, with RSA", "both.example", tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "rsa"},
		{"an unknown name, with ECDSA", "other.invalid", tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ec"},
		{"an unknown name, with RSA", "other.invalid", tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "rsa"},
		{"no name, with ECDSA", "", tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ec"},
		{"no name, with RSA", "", tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "rsa"},
		{"a name for a wildcard", "a.example", tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "wild"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			state, err := shake(t, x.addr, &tls.Config{ServerName: tt.asks, InsecureSkipVerify: true,
				MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tt.suite}})
			if err != nil {
				t.Fatal(err)
			}
			if got := state.PeerCertificates[0].Subject.CommonName; got != tt.want {
				t.Errorf("the client gets %s", got)
			}
		})
	}
}

func TestCertificatesAreReadAgain(t *testing.T) {
	a := newAuthority(t, "CA")
	files, old := a.issue("site", "site.example")
	x := launch(t, &Server{App: echo, TLSCert: files.Cert, TLSKey: files.Key})
	config := &tls.Config{ServerName: "site.example", RootCAs: a.pool()}
	serial := func() int64 {
		state, err := shake(t, x.addr, config)
		if err != nil {
			t.Fatal(err)
		}
		return state.PeerCertificates[0].SerialNumber.Int64()
	}
	if serial() != old.SerialNumber.Int64() {
		t.Error("not the certificate there is")
	}
	if err := os.WriteFile(files.Cert, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	x.log.WaitFor(t, "level=ERROR", "cannot be read again")
	if serial() != old.SerialNumber.Int64() {
		t.Error("the old one was given up")
	}
	_, fresh := a.issue("site", "site.example")
	testkit.Eventually(t, "the new certificate", func() bool { return serial() == fresh.SerialNumber.Int64() })
}

func TestClientCertificates(t *testing.T) {
	a, other := newAuthority(t, "CA"), newAuthority(t, "Other")
	files, _ := a.issue("site", "site.example")
	good, goodCert := a.issue("Jane, Doe")
	bad, _ := other.issue("Mallory")
	for _, tt := range []struct {
		auth    ClientAuth
		shows   *CertificateFiles
		served  bool
		subject string
		err     string
	}{
		{ClientAuthOff, &good, true, "", ""},
		{ClientAuthOptional, nil, true, "", ""},
		{ClientAuthOptional, &good, true, `CN=Jane\, Doe`, ""},
		{ClientAuthOptional, &bad, true, "CN=Mallory", "signed by unknown authority"},
		{ClientAuthRequired, nil, false, "", ""},
		{ClientAuthRequired, &good, true, `CN=Jane\, Doe`, ""},
		{ClientAuthRequired, &bad, false, "", ""},
	} {
		ca := a.file("ca.pem")
		if tt.auth == ClientAuthOff {
			ca = ""
		}
		x := launch(t, &Server{App: tlsEcho, TLSCert: files.Cert, TLSKey: files.Key, TLS: TLS{ClientAuth: tt.auth, ClientCA: ca}})
		for _, h2 := range []bool{false, true} {
			client := https(t, a.pool(), h2)
			config := client.Transport.(*http.Transport).TLSClientConfig
			config.ServerName = "site.example"
			if tt.shows != nil {
				pair, err := tls.LoadX509KeyPair(tt.shows.Cert, tt.shows.Key)
				if err != nil {
					t.Fatal(err)
				}
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
			}
			res, err := client.Get("https://" + x.addr + "/")
			if err != nil {
				if tt.served {
					t.Errorf("%s, %v: %v", tt.auth, tt.shows, err)
				}
				continue
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || !tt.served {
				t.Fatalf("%s, %v: served %v, %v", tt.auth, tt.shows, tt.served, err)
			}
			parts := strings.Split(string(body), "|")
			if parts[0] != tt.subject || !strings.Contains(parts[1], tt.err) || tt.err == "" && parts[1] != "" || !strings.HasPrefix(parts[3], "-----BEGIN CERTIFICATE-----\n") {
				t.Errorf("%s, %v: %q", tt.auth, tt.shows, parts)
			}
			if tt.subject == `CN=Jane\, Doe` {
				var chain [][]byte
				for block, rest := pem.Decode([]byte(parts[2])); block != nil; block, rest = pem.Decode(rest) {
					chain = append(chain, block.Bytes)
				}
				if diff := cmp.Diff([][]byte{goodCert.Raw, a.cert.Raw}, chain); diff != "" { // both were sent
					t.Errorf("chain: %s", diff)
				}
			}
		}
		x.stop()
	}
}

// A connection that continues an earlier session has the same TLS facts.
func TestResumedSessions(t *testing.T) {
	a := newAuthority(t, "CA")
	files, _ := a.issue("site", "site.example")
	mine, _ := a.issue("me")
	pair, err := tls.LoadX509KeyPair(mine.Cert, mine.Key)
	if err != nil {
		t.Fatal(err)
	}
	x := launch(t, &Server{App: tlsEcho, TLSCert: files.Cert, TLSKey: files.Key, TLS: TLS{ClientAuth: ClientAuthRequired, ClientCA: a.file("ca.pem")}})
	config := &tls.Config{RootCAs: a.pool(), ServerName: "site.example", Certificates: []tls.Certificate{pair}, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	var bodies []string
	for i := range 2 {
		conn, err := tls.Dial("tcp", x.addr, config)
		if err != nil {
			t.Fatal(err)
		}
		c := testkit.NewConn(t, conn)
		c.Say("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		_, body := c.Response("GET")
		bodies = append(bodies, body)
		c.Rest()
		if resumed := conn.ConnectionState().DidResume; resumed != (i == 1) {
			t.Errorf("%d: resumed %v", i, resumed)
		}
	}
	if bodies[0] != bodies[1] || !strings.HasPrefix(bodies[0], "CN=me||-----BEGIN") {
		t.Errorf("%q", bodies)
	}
}

func TestOCSPStapling(t *testing.T) {
	a := newAuthority(t, "CA")
	files, cert := a.issue("site", "site.example")
	files.OCSP = a.file("site.ocsp")
	respond := func(status int, next time.Time) []byte {
		der, err := ocsp.CreateResponse(a.cert, a.cert, ocsp.Response{
			Status: status, SerialNumber: cert.SerialNumber, ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: next, RevokedAt: time.Now().Add(-time.Minute),
		}, a.key)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(files.OCSP, der, 0o600); err != nil {
			t.Fatal(err)
		}
		return der
	}
	der := respond(ocsp.Good, time.Now().Add(time.Hour))
	x := launch(t, &Server{App: echo, TLSCert: files.Cert, TLSKey: files.Key, TLS: TLS{OCSP: files.OCSP}})
	staple := func() string {
		state, err := shake(t, x.addr, &tls.Config{ServerName: "site.example", RootCAs: a.pool()})
		if err != nil {
			t.Fatal(err)
		}
		return string(state.OCSPResponse)
	}
	if staple() != string(der) {
		t.Error("not stapled")
	}
	respond(ocsp.Revoked, time.Now().Add(time.Hour))
	testkit.Eventually(t, "the response to go", func() bool { return staple() == "" })
	x.log.WaitFor(t, "level=WARN", "not stapled")
	der = respond(ocsp.Good, time.Now().Add(2*time.Second))
	testkit.Eventually(t, "the next response", func() bool { return staple() == string(der) })
	testkit.Eventually(t, "the response to be out of date", func() bool { return staple() == "" })
}

func TestTLSOptionsThatCannotBe(t *testing.T) {
	a := newAuthority(t, "CA")
	files, _ := a.issue("site", "site.example")
	_, _ = a.issue("other")
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, s := range map[string]*Server{
		"must be 1.2 or 1.3":             {TLS: TLS{MinVersion: "1.1"}},
		"must be off, optional or":       {TLS: TLS{ClientAuth: "maybe", ClientCA: empty}},
		"client CA is missing":           {TLS: TLS{ClientAuth: ClientAuthRequired}},
		"there is no certificate in it":  {TLS: TLS{ClientAuth: ClientAuthRequired, ClientCA: empty}},
		"are not asked for":              {TLS: TLS{ClientCA: empty}},
		"OCSP response " + empty:         {TLS: TLS{OCSP: empty}},
		"a certificate file and a key":   {TLS: TLS{Certificates: []CertificateFiles{{Cert: "x"}}}},
		"it is to speak TLS, but there":  {Listen: []string{"127.0.0.1:0,tls"}},
		"need a certificate of the serv": {TLS: TLS{ClientAuth: ClientAuthRequired}, Listen: []string{"127.0.0.1:0"}},
	} {
		s.App = echo
		if !strings.Contains(want, "need a cert") && !strings.Contains(want, "it is to speak") {
			s.TLSCert, s.TLSKey = files.Cert, files.Key
		}
		if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}

func TestLowestVersion(t *testing.T) {
	a := newAuthority(t, "CA")
	files, _ := a.issue("site", "site.example")
	for version, ok := range map[string]bool{"": true, "1.2": true, "1.3": false} {
		x := launch(t, &Server{App: echo, TLSCert: files.Cert, TLSKey: files.Key, TLS: TLS{MinVersion: version}})
		if _, err := shake(t, x.addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}); (err == nil) != ok {
			t.Errorf("at least %q, 1.2 offered: %v", version, err)
		}
		if _, err := shake(t, x.addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
			t.Errorf("at least %q: 1.1 is spoken", version)
		}
	}
}

func TestPlacesAndTLS(t *testing.T) {
	a := newAuthority(t, "CA")
	files, _ := a.issue("site", "127.0.0.1")
	socket := filepath.Join(t.TempDir(), "s")
	s := &Server{App: tlsEcho, TLSCert: files.Cert, TLSKey: files.Key,
		Listen: []string{"127.0.0.1:0", "127.0.0.1:0,plain", "127.0.0.1:0,redirect", "127.0.0.1:0,redirect=8443", "127.0.0.1:0,redirect=443", socket + ",tls,mode=0600"}}
	x := launch(t, s)
	status, ok := s.Status()
	if !ok || len(status.Listeners) != 6 || len(status.Certificates) != 1 {
		t.Fatalf("status %+v", status)
	}
	_, port, _ := strings.Cut(status.Listeners[0].Address, ":")
	plain := testkit.Dial(t, status.Listeners[1].Address)
	plain.Say(ask)
	if _, body := plain.Response("GET"); body != "plain" {
		t.Errorf("the plain place: %q", body)
	}
	for i, p := range map[int]string{2: ":" + port, 3: ":8443", 4: ""} {
		for request, want := range map[string]string{
			"GET /a%20b?c=d HTTP/1.1\r\nHost: site.example:80\r\n\r\n":           "301 https://site.example" + p + "/a%20b?c=d",
			"POST /x HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 0\r\n\r\n":    "308 https://[::1]" + p + "/x",
			"GET //evil.example/ HTTP/1.1\r\nHost: site.example\r\n\r\n":         "301 https://site.example" + p + "//evil.example/",
			"GET http://other.example/y HTTP/1.1\r\nHost: other.example\r\n\r\n": "301 https://other.example" + p + "/y",
			"GET / HTTP/1.0\r\n\r\n": "400 ",
		} {
			c := testkit.Dial(t, status.Listeners[i].Address)
			c.Say(request)
			res, _ := c.Response("GET")
			if got := res.Status[:3] + " " + res.Header.Get("Location"); got != want {
				t.Errorf("%q: %s, want %s", request, got, want)
			}
		}
	}
	conn := tls.Client(testkit.Dial(t, socket).Conn, &tls.Config{InsecureSkipVerify: true})
	c := testkit.NewConn(t, conn)
	c.Say(ask)
	if _, body := c.Response("GET"); body == "plain" {
		t.Errorf("the Unix socket: %q", body)
	}
	x.stop()
	if access := x.access.String(); !strings.Contains(access, `"GET /a%20b?c=d HTTP/1.1" 301 `) {
		t.Errorf("access log %q", access)
	}
}

func TestRedirectSpeaksNoHTTP2(t *testing.T) {
	x := launch(t, &Server{App: echo, H2C: true, Listen: []string{"127.0.0.1:0,redirect=443"}})
	c := x.request("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	if res, body, err := c.Try("GET"); err != nil || res.StatusCode < 300 || strings.Contains(body, "/") {
		t.Errorf("%v %q %v", res, body, err)
	}
	c = x.request("GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n")
	if res, _ := c.Response("GET"); res.StatusCode != 301 {
		t.Errorf("asked for h2c: %s", res.Status)
	}
}
