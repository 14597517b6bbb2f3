package site_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/server"
	"github.com/pagi-go/pagi-bridge/site"
)

func TestOCSPResponsesAreChecked(t *testing.T) {
	wrong := filepath.Join(t.TempDir(), "ocsp")
	if err := os.WriteFile(wrong, []byte("no response"), 0o600); err != nil {
		t.Fatal(err)
	}
	pair := testkit.Certificate(t)
	files := server.CertificateFiles{Cert: pair.CertFile, Key: pair.KeyFile, OCSP: wrong}
	for option, tls := range map[string]site.TLS{
		"tls.ocsp":         {Cert: files.Cert, Key: files.Key, OCSP: wrong},
		"tls.certificates": {Certificates: []server.CertificateFiles{files}},
	} {
		err := (&site.Settings{TLS: tls}).Check()
		if err == nil || !strings.HasPrefix(err.Error(), option+": server: OCSP response "+wrong) {
			t.Errorf("%s: %v", option, err)
		}
	}
}

// TestHTTP3AtPlacesForProxiesAlone checks that the fault is reported before any socket is opened.
func TestHTTP3AtPlacesForProxiesAlone(t *testing.T) {
	pair := testkit.Certificate(t)
	tls := site.TLS{Cert: pair.CertFile, Key: pair.KeyFile}
	for _, c := range []struct {
		listen []string
		ok     bool
	}{
		{nil, true},
		{[]string{":443"}, true},
		{[]string{":443,proxy"}, false},
		{[]string{":443,proxy,tls", "/run/s", ":80,redirect", ":81,plain"}, false},
		{[]string{":443,proxy,tls", ":444"}, true},
		{[]string{"systemd"}, true},
		{[]string{"systemd:site,proxy"}, false},
	} {
		err := (&site.Settings{TLS: tls, HTTP3: true, Listen: c.listen, ProxyProtocolFrom: []string{"10.0.0.1"}}).Check()
		if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "http3: cannot be spoken at a place with the option proxy (listen)") {
			t.Errorf("%q: %v", c.listen, err)
		}
	}
}
