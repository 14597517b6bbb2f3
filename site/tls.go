package site

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"reflect"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server"
	"github.com/pagi-go/pagi-bridge/server/acme"
)

// TLS names the certificates and configures TLS.
type TLS struct {
	// Cert is a PEM file with the certificate chain, leaf first; Key its key. OCSP is
	// a file with an OCSP response (DER) for it.
	Cert string `yaml:"cert" path:"yes"`
	Key  string `yaml:"key" path:"yes"`
	OCSP string `yaml:"ocsp" path:"yes"`
	// Certificates are further ones, chosen by the name that a client asks for.
	Certificates []server.CertificateFiles `yaml:"certificates"`
	// MinVersion is 1.2 or 1.3.
	MinVersion string `yaml:"min_version"`
	// ClientAuth is off, optional or required. ClientCA is a PEM file with the authorities that may
	// sign clients' certificates.
	ClientAuth string `yaml:"client_auth"`
	ClientCA   string `yaml:"client_ca" path:"yes"`
	// ACME gets certificates from an authority.
	ACME acme.Options `yaml:"acme"`
}

// given reports whether there is a certificate.
func (t *TLS) given() bool { return t.Cert != "" || len(t.Certificates) > 0 || t.HasACME() }

// HasACME reports whether the gateway gets certificates from an authority.
func (t *TLS) HasACME() bool { return !reflect.ValueOf(t.ACME).IsZero() }

// server returns the options of the server other than Cert and Key.
func (t *TLS) server() server.TLS {
	return server.TLS{
		OCSP: t.OCSP, Certificates: t.Certificates, MinVersion: t.MinVersion,
		ClientAuth: server.ClientAuth(t.ClientAuth), ClientCA: t.ClientCA,
	}
}

func (t *TLS) check() error {
	var errs []error
	if t.Cert != "" || t.Key != "" {
		errs = append(errs, checkFiles("tls", "tls.cert", "tls.key", "tls.ocsp", server.CertificateFiles{Cert: t.Cert, Key: t.Key, OCSP: t.OCSP}))
	}
	for _, c := range t.Certificates {
		errs = append(errs, checkFiles("tls.certificates", "tls.certificates", "tls.certificates", "tls.certificates", c))
	}
	if t.OCSP != "" && t.Cert == "" {
		errs = append(errs, pagi.BadOption("tls.ocsp", "needs tls.cert and tls.key"))
	}
	switch t.MinVersion {
	case "", "1.2", "1.3":
	default:
		errs = append(errs, pagi.BadOption("tls.min_version", "must be 1.2 or 1.3, is %q", t.MinVersion))
	}
	if t.HasACME() {
		var bad *pagi.OptionError
		if err := t.ACME.Check(); errors.As(err, &bad) {
			errs = append(errs, pagi.BadOption("tls.acme."+bad.Option, "%w", bad.Err))
		}
	}
	return errors.Join(append(errs, t.checkClients())...)
}

func (t *TLS) checkClients() error {
	switch server.ClientAuth(t.ClientAuth) {
	case "", server.ClientAuthOff:
		if t.ClientCA != "" {
			return pagi.BadOption("tls.client_ca", "needs tls.client_auth to be optional or required")
		}
		return nil
	case server.ClientAuthOptional, server.ClientAuthRequired:
	default:
		return pagi.BadOption("tls.client_auth", "must be off, optional or required, is %q", t.ClientAuth)
	}
	if t.ClientCA == "" {
		return pagi.BadOption("tls.client_auth", "needs tls.client_ca: who is to have signed the clients' certificates")
	}
	if err := checkFile("tls.client_ca", t.ClientCA); err != nil {
		return err
	}
	pem, err := os.ReadFile(t.ClientCA)
	if err != nil || !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return pagi.BadOption("tls.client_ca", "%s contains no certificate", t.ClientCA)
	}
	if !t.given() {
		return pagi.BadOption("tls.client_auth", "needs a certificate of the server")
	}
	return nil
}

func checkFile(option, file string) error {
	if _, err := os.Stat(file); err != nil {
		return pagi.BadOption(option, "%w", err)
	}
	return nil
}

// checkFiles reports faults of a certificate, its key and its OCSP response, under the options that
// name them.
func checkFiles(all, certOption, keyOption, ocspOption string, f server.CertificateFiles) error {
	if err := checkPair(all, certOption, keyOption, f.Cert, f.Key); err != nil || f.OCSP == "" {
		return err
	}
	if err := f.Check(); err != nil {
		return pagi.BadOption(ocspOption, "%w", err)
	}
	return nil
}

// checkPair reports faults of a certificate and its key, under the options that name them.
func checkPair(both, certOption, keyOption, certFile, keyFile string) error {
	if certFile == "" || keyFile == "" {
		return pagi.BadOption(both, "a certificate and a key must be given together")
	}
	cert, certErr := os.ReadFile(certFile)
	key, keyErr := os.ReadFile(keyFile)
	var errs []error
	if certErr != nil {
		errs = append(errs, pagi.BadOption(certOption, "%w", certErr))
	}
	if keyErr != nil {
		errs = append(errs, pagi.BadOption(keyOption, "%w", keyErr))
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		if !isCertificate(cert) {
			return pagi.BadOption(certOption, "%s: %w", certFile, err)
		}
		return pagi.BadOption(keyOption, "%s: %w", keyFile, err)
	}
	return nil
}

// isCertificate reports whether the first certificate of a PEM file can be read.
func isCertificate(text []byte) bool {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			_, err := x509.ParseCertificate(block.Bytes)
			return err == nil
		}
	}
	return false
}
