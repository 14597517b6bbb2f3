package server

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// A certificate is renewed before somebody has asked for the OCSP response.
func TestARenewedCertificateDoesNotWaitForItsOCSPResponse(t *testing.T) {
	a := newAuthority(t, "CA")
	files, first := a.issue("site", "site.example")
	files.OCSP = a.file("site.ocsp")
	respond := func(cert *x509.Certificate) string {
		der, err := ocsp.CreateResponse(a.cert, a.cert, ocsp.Response{Status: ocsp.Good, SerialNumber: cert.SerialNumber, ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}, a.key)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(files.OCSP, der, 0o600); err != nil {
			t.Fatal(err)
		}
		return string(der)
	}
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
