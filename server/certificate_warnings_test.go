package server

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// TestCertificatesThatClientsWillNotAccept checks that the server warns about such certificates at
// the start.
func TestCertificatesThatClientsWillNotAccept(t *testing.T) {
	a := newAuthority(t, "CA")
	other := newAuthority(t, "Other CA")
	good, _ := a.issue("good", "good.example")
	expired, _ := a.issueFor(-2*time.Hour, -time.Hour, "expired", "expired.example")
	early, _ := a.issueFor(time.Hour, 2*time.Hour, "early", "early.example")
	alone, cert := a.issue("alone", "alone.example")
	a.write("alone.pem", "CERTIFICATE", cert.Raw)
	mixed, cert := a.issue("mixed", "mixed.example")
	a.write("mixed.pem", "CERTIFICATE", cert.Raw, other.cert.Raw)
	pair := testkit.Certificate(t)
	for name, c := range map[string]struct {
		files CertificateFiles
		want  string
	}{
		"good":        {good, ""},
		"self-signed": {CertificateFiles{Cert: pair.CertFile, Key: pair.KeyFile}, ""},
		"expired":     {expired, "it has expired at "},
		"early":       {early, "it is not valid before "},
		"alone":       {alone, `its chain ends with a certificate signed by "CN=CA", which is no authority that this system knows: an intermediate certificate may be missing`},
		"mixed":       {mixed, `certificate 2 of its chain, "CN=Other CA", has not signed the one before it`},
		"not there":   {CertificateFiles{Cert: "none", Key: "none"}, ""},
	} {
		got := strings.Join(c.files.Warnings(), "; ")
		if !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") || strings.Contains(got, ";") {
			t.Errorf("%s: %q", name, got)
		}
		if name == "not there" {
			continue
		}
		log := &testkit.Log{}
		if _, err := loadCertificates([]CertificateFiles{c.files}, log.Logger()); err != nil {
			t.Error(err)
		}
		if (log.String() == "") != (c.want == "") || strings.Count(log.String(), "level=WARN") > 1 {
			t.Errorf("%s: logged %s", name, log)
		}
	}
}

// TestACertificateOutOfDateDoesNotReplaceAValidOne also checks that a certificate that is not valid
// yet replaces the old one once it is.
func TestACertificateOutOfDateDoesNotReplaceAValidOne(t *testing.T) {
	a := newAuthority(t, "CA")
	files, first := a.issue("site", "site.example")
	log := &testkit.Log{}
	c, err := loadCertificates([]CertificateFiles{files}, log.Logger())
	if err != nil {
		t.Fatal(err)
	}
	look := func(after time.Duration, want *x509.Certificate, what string) {
		t.Helper()
		for range 3 { // the same again
			c.refresh(time.Now().Add(after))
			if got := c.set.Load().list[0].Leaf; !got.Equal(want) {
				t.Errorf("%s: %s is in use", what, got.NotAfter)
			}
		}
	}
	a.issueFor(-2*time.Hour, -time.Minute, "site", "site.example")
	look(0, first, "an expired one")
	if n := strings.Count(log.String(), "is not used, the old one stays"); n != 1 || !strings.Contains(log.String(), "it has expired at") {
		t.Errorf("told %d times: %s", n, log)
	}
	_, next := a.issueFor(30*time.Minute, 2*time.Hour, "site", "site.example")
	look(0, first, "one that is not valid yet")
	look(29*time.Minute, first, "a minute before")
	look(31*time.Minute, next, "once it is valid")
	_, renewed := a.issue("site", "site.example")
	look(0, renewed, "another one")
	_, expired := a.issueFor(-2*time.Hour, -time.Minute, "site", "site.example")
	look(2*time.Hour, expired, "an expired one instead of an expired one")
	log.WaitFor(t, "level=WARN", "TLS certificate: it has expired at")
}
