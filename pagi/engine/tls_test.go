package engine_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

type ctx = context.Context

var discard = slog.New(slog.DiscardHandler)

func TestTLSExtension(t *testing.T) {
	certificate := testkit.SelfSigned(t, &x509.Certificate{
		Subject:     pkix.Name{CommonName: "Jane, Doe", Organization: []string{"Acme"}, Country: []string{"DE"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	issuer := testkit.SelfSigned(t, &x509.Certificate{Subject: pkix.Name{CommonName: "CA"}})
	certificate.Certificate = append(certificate.Certificate, issuer.Certificate...)
	for _, tt := range []struct {
		version string
		tls     uint16
	}{{"1.1", tls.VersionTLS13}, {"2", tls.VersionTLS13}, {"1.1", tls.VersionTLS12}, {"2", tls.VersionTLS12}} {
		version := tt.version
		t.Run("HTTP/"+version+", "+tls.VersionName(tt.tls), func(t *testing.T) {
			scopes := make(chan *pagi.Scope, 1)
			options := engine.Handler{TLSInfo: func(r *http.Request) *pagi.TLS {
				info := engine.TLSOf(r.TLS)
				info.ServerCert = "PEM"
				return info
			}}
			x := start(t, options, func(c *call) error {
				scopes <- c.scope
				return c.reply("")
			}, func(s *httptest.Server) {
				s.EnableHTTP2 = version == "2"
				s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
				s.StartTLS()
			})
			client := x.srv.Client()
			config := client.Transport.(*http.Transport).TLSClientConfig
			config.Certificates, config.MaxVersion = []tls.Certificate{certificate}, tt.tls
			res, _ := testkit.Get(t, client, x.url)
			s := testkit.Await(t, scopes)
			info := s.TLS()
			if s.Scheme != "https" || s.HTTPVersion != version || info == nil || s.Headers.Get("host") != x.addr {
				t.Fatalf("scope %+v", s)
			}
			if info.ServerCert != "PEM" || info.Version != tt.tls || info.Version != res.TLS.Version || info.CipherSuite != res.TLS.CipherSuite ||
				info.ClientCertName != `CN=Jane\, Doe,O=Acme,C=DE` || info.ClientCertError == "" {
				t.Errorf("tls %+v", info)
			}
			var chain [][]byte
			for _, text := range info.ClientCertChain {
				if block, rest := pem.Decode([]byte(text)); block != nil && len(rest) == 0 {
					chain = append(chain, block.Bytes)
				}
			}
			if diff := cmp.Diff(certificate.Certificate, chain); diff != "" {
				t.Errorf("chain: %s", diff)
			}
		})
	}
}

func TestDistinguishedName(t *testing.T) {
	dc := asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}
	cn := asn1.ObjectIdentifier{2, 5, 4, 3}
	other := asn1.ObjectIdentifier{1, 2, 3}
	encoded := func(tag int, value string) asn1.RawValue { return asn1.RawValue{Tag: tag, Bytes: []byte(value)} }
	for _, tt := range []struct {
		name string
		rdns pkix.RDNSequence
		want string
	}{
		{"last one first", pkix.RDNSequence{{{Type: dc, Value: "net"}}, {{Type: dc, Value: "example"}}, {{Type: cn, Value: "x"}}}, "CN=x,DC=example,DC=net"},
		{"several in one", pkix.RDNSequence{{{Type: cn, Value: "a"}, {Type: dc, Value: "b"}}}, "CN=a+DC=b"},
		{"escapes", pkix.RDNSequence{{{Type: cn, Value: ` #a"+,;<>\ `}}}, `CN=\ #a\"\+\,\;\<\>\\\ `},
		{"number sign in front", pkix.RDNSequence{{{Type: cn, Value: "#a"}}}, `CN=\#a`},
		{"type without a name, PrintableString", pkix.RDNSequence{{{Type: other, Value: encoded(asn1.TagPrintableString, "Hi")}}}, "1.2.3=#13024869"},
		{"type without a name, IA5String", pkix.RDNSequence{{{Type: other, Value: encoded(asn1.TagIA5String, "Hi")}}}, "1.2.3=#16024869"},
		{"type without a name, UTF8String", pkix.RDNSequence{{{Type: other, Value: encoded(asn1.TagUTF8String, "Hi")}}}, "1.2.3=#0c024869"},
		{"name, IA5String", pkix.RDNSequence{{{Type: dc, Value: encoded(asn1.TagIA5String, "example")}}}, "DC=example"},
		{"name, but no string", pkix.RDNSequence{{{Type: cn, Value: encoded(asn1.TagInteger, "\x07")}}}, "CN=#020107"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			der, err := asn1.Marshal(tt.rdns)
			if err != nil {
				t.Fatal(err)
			}
			if got := engine.DistinguishedName(der); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	if got := engine.DistinguishedName([]byte("junk")); got != "" {
		t.Errorf("junk gave %q", got)
	}
}
