// Package acme gets certificates from a certificate authority that speaks ACME (RFC 8555), Let's
// Encrypt for example. It renews them in time and answers the authority's challenges on the
// server's own listeners. certmagic does the work; this package fits it to a server.Server.
package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/certmagic"
	"golang.org/x/net/idna"

	"github.com/pagi-go/pagi-bridge/internal/certpool"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Protocol is the protocol that the authority negotiates in a TLS handshake to check a domain (RFC
// 8737).
const Protocol = "acme-tls/1"

// DefaultStorage is the directory where keys and certificates are kept.
const DefaultStorage = "acme"

// Options configures the domains to certify and the ACME directory to use. Domains and Agree must
// be set.
type Options struct {
	// Domains are the names that the certificates are for.
	Domains []string `yaml:"domains"`
	// Agree says that you have read the authority's terms and agree to them.
	Agree bool `yaml:"agree"`
	// Email is the address to which the authority reports problems.
	Email string `yaml:"email"`
	// Directory is the URL of the authority's directory. Default: Let's Encrypt.
	Directory string `yaml:"directory"`
	// DirectoryCA is a PEM file with the certificates that identify the authority's own server.
	// Default: those that the system trusts.
	DirectoryCA string `yaml:"directory_ca" path:"yes"`
	// Storage is a directory for keys and certificates, mode 0700. Default: acme.
	Storage string `yaml:"storage" path:"yes"`
}

// Check reports options that cannot work.
func (o *Options) Check() error {
	switch {
	case len(o.Domains) == 0:
		return pagi.BadOption("domains", "is missing: the names to have certificates for")
	case !o.Agree:
		return pagi.BadOption("agree", "must be true: read the terms of the certificate authority, and say that you agree to them")
	}
	for _, domain := range o.Domains {
		if !certmagic.SubjectQualifiesForCert(domain) {
			return pagi.BadOption("domains", "%q cannot have a certificate", domain)
		}
	}
	_, err := o.roots()
	return err
}

func (o *Options) roots() (*x509.CertPool, error) {
	if o.DirectoryCA == "" {
		return nil, nil
	}
	pool, err := certpool.Read(o.DirectoryCA)
	if err != nil {
		return nil, pagi.BadOption("directory_ca", "%w", err)
	}
	return pool, nil
}

// Manager is a server.CertificateSource. Its method Run gets the certificates.
type Manager struct {
	options Options
	cache   *certmagic.Cache
	config  *certmagic.Config
	issuer  *certmagic.ACMEIssuer
	started atomic.Bool // set by Run; before that only New has touched the other fields
}

// New makes a manager and its storage.
func New(o Options, log *slog.Logger) (*Manager, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	roots, err := o.roots()
	if err != nil {
		return nil, err
	}
	if o.Storage == "" {
		o.Storage = DefaultStorage
	}
	storage, err := filepath.Abs(o.Storage)
	if err != nil {
		return nil, err
	}
	m := &Manager{options: o}
	logger := newZap(log)
	m.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return m.config, nil },
		Logger:           logger,
	})
	m.config = certmagic.New(m.cache, certmagic.Config{Storage: &certmagic.FileStorage{Path: storage}, Logger: logger})
	directory := o.Directory
	if directory == "" {
		directory = certmagic.LetsEncryptProductionCA
	}
	m.issuer = certmagic.NewACMEIssuer(m.config, certmagic.ACMEIssuer{
		CA: directory, TestCA: directory, Email: o.Email, Agreed: o.Agree, TrustedRoots: roots, Logger: logger,
	})
	m.config.Issuers = []certmagic.Issuer{m.issuer}
	return m, nil
}

// Ports are the ports at which the server listens. The authority must reach them as 80 and 443.
type Ports struct {
	// TLS is the port of a place that speaks TLS; 0: there is none.
	TLS int
	// Redirect is the port of a place that redirects to https; 0: there is none.
	Redirect int
}

// Run takes certificates from the storage or gets new ones, and renews them until ctx ends. The
// server must be serving.
func (m *Manager) Run(ctx context.Context, ports Ports) error {
	defer m.cache.Stop()
	if ports.TLS == 0 && ports.Redirect == 0 {
		return errors.New("acme: the certificate authority cannot be answered: no place speaks TLS over TCP, and none redirects to https")
	}
	m.issuer.AltTLSALPNPort, m.issuer.DisableTLSALPNChallenge = ports.TLS, ports.TLS == 0
	m.issuer.AltHTTPPort, m.issuer.DisableHTTPChallenge = ports.Redirect, ports.Redirect == 0
	m.started.Store(true)
	storage := m.config.Storage.(*certmagic.FileStorage).Path
	if err := os.MkdirAll(storage, 0o700); err != nil {
		return fmt.Errorf("acme: %w", err)
	}
	if err := m.config.ManageAsync(ctx, m.options.Domains); err != nil {
		return fmt.Errorf("acme: %w", err)
	}
	<-ctx.Done()
	return nil
}

// errNotStarted is the error of a handshake before Run has started.
var errNotStarted = errors.New("acme: it is not running yet")

// GetCertificate implements server.CertificateSource.
func (m *Manager) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if !m.started.Load() {
		return nil, errNotStarted
	}
	return m.config.GetCertificate(hello)
}

// Status implements server.CertificateSource. It has one element for each domain, in their order.
func (m *Manager) Status() []status.Certificate {
	all := make([]status.Certificate, len(m.options.Domains))
	for i, domain := range m.options.Domains {
		all[i].Domain = domain
		name := asciiName(domain)
		for _, c := range m.cache.AllMatchingCertificates(name) {
			// A certificate for *.example also matches where the domain is www.example.
			if slices.Contains(c.Names, name) && c.Leaf.NotAfter.After(all[i].Expires) {
				all[i].Names, all[i].Expires, all[i].Stapled = c.Names, c.Leaf.NotAfter, len(c.OCSPStaple) > 0
			}
		}
	}
	return all
}

// asciiName is a domain as its certificate names it.
func asciiName(domain string) string {
	name, err := idna.ToASCII(strings.ToLower(strings.TrimSpace(domain)))
	if err != nil {
		return domain // no certificate is for such a name
	}
	return name
}

// Protocols implements server.CertificateSource.
func (m *Manager) Protocols() []string { return []string{Protocol} }

// ServeChallenge implements server.CertificateSource.
func (m *Manager) ServeChallenge(w http.ResponseWriter, r *http.Request) bool {
	return m.started.Load() && m.issuer.HandleHTTPChallenge(w, r)
}
