package server

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// respond writes an OCSP response that is valid until next, and returns it.
func (a *authority) respond(files CertificateFiles, cert *x509.Certificate, next time.Time) string {
	a.t.Helper()
	der, err := ocsp.CreateResponse(a.cert, a.cert, ocsp.Response{Status: ocsp.Good, SerialNumber: cert.SerialNumber, ThisUpdate: time.Now(), NextUpdate: next}, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	if err := os.WriteFile(files.OCSP, der, 0o600); err != nil {
		a.t.Fatal(err)
	}
	return string(der)
}

// A certificate is renewed before its OCSP response is there.
func TestARenewedCertificateDoesNotWaitForItsOCSPResponse(t *testing.T) {
	a := newAuthority(t, "CA")
	files, first := a.issue("site", "site.example")
	files.OCSP = a.file("site.ocsp")
	respond := func(cert *x509.Certificate) string { return a.respond(files, cert, time.Now().Add(time.Hour)) }
	staple := respond(first)
	x := launch(t, &Server{App: echo, TLSCert: files.Cert, TLSKey: files.Key, TLS: TLS{OCSP: files.OCSP}})
	shows := func(cert *x509.Certificate, staple string) bool {
		state, err := shake(t, x.addr, &tls.Config{ServerName: "site.example", RootCAs: a.pool()})
		if err != nil {
			t.Fatal(err)
		}
		return state.PeerCertificates[0].Equal(cert) && string(state.OCSPResponse) == staple
	}
	if err := os.WriteFile(files.OCSP, []byte("half of"), 0o600); err != nil {
		t.Fatal(err)
	}
	x.log.WaitFor(t, "level=WARN", "OCSP response cannot be read again", "stapled=true")
	if !shows(first, staple) {
		t.Error("the response there was is not stapled any more")
	}
	respond(first)
	_, second := a.issue("site", "site.example")
	testkit.Eventually(t, "the new certificate", func() bool { return shows(second, "") })
	staple = respond(second)
	testkit.Eventually(t, "its OCSP response", func() bool { return shows(second, staple) })
}

// A server that has given up its privileges may not be able to read its key again.
func TestOCSPResponsesWithoutTheKey(t *testing.T) {
	a := newAuthority(t, "CA")
	files, cert := a.issue("site", "site.example")
	files.OCSP = a.file("site.ocsp")
	next := time.Now().Add(time.Hour).Truncate(time.Second)
	a.respond(files, cert, next)
	var log testkit.Log
	c, err := loadCertificates([]CertificateFiles{files}, log.Logger())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(files.Key); err != nil {
		t.Fatal(err)
	}
	stapled := func(after time.Duration) string {
		c.refresh(next.Add(after))
		return string(c.set.Load().list[0].OCSPStaple)
	}
	if stapled(-time.Minute) == "" {
		t.Error("one that is valid is not stapled")
	}
	for i := range 10 {
		if stapled(time.Duration(i+1)*time.Second) != "" {
			t.Fatal("one that is out of date is stapled")
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 2 { // about the key, and the response
		t.Errorf("%d lines: %s", n, &log)
	}
	if fresh := a.respond(files, cert, next.Add(2*time.Hour)); stapled(time.Minute) != fresh {
		t.Error("a fresh one is not stapled")
	}
	c.refresh(next.Add(time.Minute))
	if n := strings.Count(log.String(), "\n"); n != 3 {
		t.Errorf("%d lines: %s", n, &log)
	}
}

// managed is a source with one certificate.
type managed struct{ tls.Certificate }

func (m *managed) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return &m.Certificate, nil
}
func (*managed) Protocols() []string                                    { return nil }
func (*managed) ServeChallenge(http.ResponseWriter, *http.Request) bool { return false }
func (*managed) Status() []CertificateStatus                            { return []CertificateStatus{{Domain: "site.example"}} }

func TestResumedSessionsWithAManagedCertificate(t *testing.T) {
	a := newAuthority(t, "CA")
	files, _ := a.issue("site", "site.example")
	other, _ := a.issue("other", "other.example")
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*Server{"alone": {}, "beside a file": {TLSCert: other.Cert, TLSKey: other.Key}} {
		t.Run(name, func(t *testing.T) {
			s.App, s.TLS.Managed, s.Listen = tlsEcho, &managed{pair}, []string{"127.0.0.1:0,tls"}
			x := launch(t, s)
			config := &tls.Config{RootCAs: a.pool(), ServerName: "site.example", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
			for i := range 2 {
				conn := tls.Client(x.dial().Conn, config)
				c := testkit.NewConn(t, conn)
				c.Say("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
				_, body := c.Response("GET")
				if want := "|||" + pemOf(&pair); body != want {
					t.Errorf("%d: %q, want %q", i, body, want)
				}
				if resumed := conn.ConnectionState().DidResume; resumed != (i == 1) {
					t.Errorf("%d: resumed %v", i, resumed)
				}
			}
		})
	}
}
