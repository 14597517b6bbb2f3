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
