package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/certpool"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/server/http1"
)

// TLS configures TLS. The server reads the files again when they change.
type TLS struct {
	// OCSP is a file with the OCSP response (DER) for TLSCert, which is then stapled as
	// long as it is valid.
	OCSP string
	// Certificates are further ones beside TLSCert. A client gets the first certificate that is for
	// the requested name (SNI) and of a kind that it understands. If none is for that name, it gets
	// the first of such a kind.
	Certificates []CertificateFiles
	// MinVersion is the lowest version that is spoken, "1.2" or "1.3". Default: 1.2.
	MinVersion string
	// ClientAuth says whether clients must show a certificate. Default: off.
	ClientAuth ClientAuth
	// ClientCA is a PEM file with the certificates of the authorities that may sign clients'
	// certificates.
	ClientCA string
	// Managed provides certificates for names without a file, or is nil.
	Managed CertificateSource
}

// CertificateFiles names the files of one certificate.
type CertificateFiles struct {
	// Cert is a PEM file with the certificate chain, leaf first; Key one with its key. OCSP
	// is a file with an OCSP response (DER) for it, or "".
	Cert string `yaml:"cert" path:"yes"`
	Key  string `yaml:"key" path:"yes"`
	OCSP string `yaml:"ocsp" path:"yes"`
}

// CertificateSource gets certificates from elsewhere, as ACME does.
type CertificateSource interface {
	// GetCertificate returns a certificate, or an error if it has none for the client.
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Protocols returns the protocols (ALPN) that the source itself speaks during a handshake.
	Protocols() []string
	// ServeChallenge answers a plain request that asks for a proof, and reports
	// whether the request was one.
	ServeChallenge(http.ResponseWriter, *http.Request) bool
	// Status describes the certificates that the source has, and those that it still waits for.
	Status() []CertificateStatus
}

// ClientAuth selects whether clients must show a certificate.
type ClientAuth string

const (
	// ClientAuthOff does not ask for one.
	ClientAuthOff ClientAuth = "off"
	// ClientAuthOptional asks for one. A connection without one, or with one that
	// cannot be verified, is served; the extension tls tells the application.
	ClientAuthOptional ClientAuth = "optional"
	// ClientAuthRequired serves no connection without a verified one.
	ClientAuthRequired ClientAuth = "required"
)

// certInterval is how often the server checks whether files have changed.
const certInterval = time.Second

// tlsFront is the state that all listeners with TLS share.
type tlsFront struct {
	config  atomic.Pointer[tls.Config]
	base    *tls.Config
	options TLS
	log     *slog.Logger

	files   *certificates                 // nil if a TLSConfig was given
	fixed   *certificate                  // the only one of a TLSConfig, or nil
	clients atomic.Pointer[x509.CertPool] // the authorities that sign clients' certificates
	caStamp stamp

	refreshing sync.Mutex
	stop       chan struct{}
	stopped    chan struct{}
}

// newTLSFront checks the options about TLS; it returns nil if there are none.
func (s *Server) newTLSFront(log *slog.Logger) (*tlsFront, error) {
	f := &tlsFront{options: s.TLS, log: log, base: s.TLSConfig.Clone()}
	files, err := s.certificateFiles()
	if err != nil {
		return nil, err
	}
	switch {
	case f.base != nil && len(files) > 0:
		return nil, errors.New("server: TLSConfig and certificate files exclude one another")
	case f.base != nil:
		f.fixed = onlyCertificate(f.base)
	case len(files) == 0 && s.TLS.Managed == nil:
		if s.TLS.ClientAuth != "" && s.TLS.ClientAuth != ClientAuthOff || s.TLS.ClientCA != "" {
			return nil, errors.New("server: TLS client certificates need a certificate of the server")
		}
		return nil, nil
	default:
		f.base = &tls.Config{GetConfigForClient: f.noteChoice, GetCertificate: f.getCertificate}
		if f.files, err = loadCertificates(files, log); err != nil {
			return nil, err
		}
	}
	if err := f.setRules(); err != nil {
		return nil, err
	}
	f.stop, f.stopped = make(chan struct{}), make(chan struct{})
	go f.watch()
	return f, nil
}

// certificateFiles are TLSCert and those of TLS.
func (s *Server) certificateFiles() ([]CertificateFiles, error) {
	all := slices.Clone(s.TLS.Certificates)
	if s.TLSCert != "" || s.TLSKey != "" {
		all = slices.Insert(all, 0, CertificateFiles{Cert: s.TLSCert, Key: s.TLSKey, OCSP: s.TLS.OCSP})
	}
	for _, c := range all {
		if c.Cert == "" || c.Key == "" {
			return nil, errors.New("server: TLS needs both a certificate file and a key file")
		}
	}
	return all, nil
}

func (f *tlsFront) setRules() error {
	config := f.base
	switch f.options.MinVersion {
	case "", "1.2":
		config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	case "1.3":
		config.MinVersion = tls.VersionTLS13
	default:
		return fmt.Errorf("server: TLS min version %q: must be 1.2 or 1.3", f.options.MinVersion)
	}
	if config.NextProtos == nil {
		config.NextProtos = []string{"h2", "http/1.1"}
	}
	if f.options.Managed != nil {
		config.NextProtos = append(config.NextProtos, f.options.Managed.Protocols()...)
	}
	switch f.options.ClientAuth {
	case "", ClientAuthOff:
		if f.options.ClientCA != "" {
			return errors.New("server: TLS client CA: client certificates are not asked for; set client auth to optional or required")
		}
		f.config.Store(config)
		return nil
	case ClientAuthOptional:
		config.ClientAuth = tls.RequestClientCert // facts verifies it
	case ClientAuthRequired:
		config.ClientAuth = tls.RequireAndVerifyClientCert
	default:
		return fmt.Errorf("server: TLS client auth %q: must be off, optional or required", f.options.ClientAuth)
	}
	if f.options.ClientCA == "" {
		return errors.New("server: TLS client CA is missing: who is to have signed the clients' certificates?")
	}
	return f.loadClientCA()
}

// loadClientCA makes a configuration with the present content of ClientCA.
func (f *tlsFront) loadClientCA() error {
	f.caStamp = stampOf(f.options.ClientCA)
	pool, err := certpool.Read(f.options.ClientCA)
	if err != nil {
		return fmt.Errorf("server: TLS client CA: %w", err)
	}
	config := f.base.Clone()
	config.ClientCAs = pool
	f.clients.Store(pool)
	f.config.Store(config)
	return nil
}

// watch reads the files again when they have changed, until close is called.
func (f *tlsFront) watch() {
	defer close(f.stopped)
	tick := time.NewTicker(certInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f.refresh()
		case <-f.stop:
			return
		}
	}
}

// refresh reads the files that have changed. If one cannot be read, its old content stays in use.
func (f *tlsFront) refresh() {
	if f == nil {
		return
	}
	f.refreshing.Lock()
	defer f.refreshing.Unlock()
	if f.files != nil {
		f.files.refresh(time.Now())
	}
	if f.options.ClientCA == "" {
		return
	}
	if stampOf(f.options.ClientCA) == f.caStamp {
		return
	}
	if err := f.loadClientCA(); err != nil {
		f.log.Error("TLS client CA cannot be read again, the old one stays", "error", err)
		return
	}
	f.log.Info("TLS client CA was read again", "file", f.options.ClientCA)
}

func (f *tlsFront) close() {
	if f != nil {
		close(f.stop)
		<-f.stopped
	}
}

// noteChoice notes which certificate is for a client, whether the handshake needs it
// or continues an earlier session.
func (f *tlsFront) noteChoice(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if c, ok := hello.Conn.(*tracked); ok {
		c.cert, _ = f.choose(hello) // a handshake that needs a certificate calls choose again
	}
	return nil, nil
}

func (f *tlsFront) getCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c, known := hello.Conn.(*tracked)
	if known && c.cert != nil {
		return &c.cert.Certificate, nil
	}
	chosen, err := f.choose(hello)
	if err != nil {
		return nil, err
	}
	if known {
		c.cert = chosen // the certificate has come since noteChoice
	}
	return &chosen.Certificate, nil
}

// choose returns the certificate for a client, or why there is none.
func (f *tlsFront) choose(hello *tls.ClientHelloInfo) (*certificate, error) {
	chosen := f.files.choose(hello)
	if f.options.Managed == nil {
		if chosen == nil {
			return nil, errors.New("there is no certificate")
		}
		return chosen, nil
	}
	proof := slices.ContainsFunc(hello.SupportedProtos, func(p string) bool {
		return slices.Contains(f.options.Managed.Protocols(), p)
	})
	if !proof && chosen != nil && chosen.isFor(hello.ServerName) {
		return chosen, nil
	}
	managed, err := f.options.Managed.GetCertificate(hello)
	switch {
	case err == nil:
		return &certificate{Certificate: *managed, pem: pemOf(managed)}, nil
	case chosen != nil:
		return chosen, nil
	}
	return nil, err
}

// facts returns the description of a connection's TLS for scopes. shown is the server's
// certificate, nil if it is not known.
func (f *tlsFront) facts(shown *certificate, state *tls.ConnectionState) *pagi.TLS {
	info := engine.TLSOf(state)
	switch {
	case shown != nil:
		info.ServerCert = shown.pem
	case f.fixed != nil:
		info.ServerCert = f.fixed.pem
	}
	if len(state.PeerCertificates) > 0 && len(state.VerifiedChains) == 0 {
		if pool := f.clients.Load(); pool != nil {
			info.ClientCertError = verifyClient(state.PeerCertificates, pool)
		}
	}
	return info
}

// verifyClient returns the fault of a client's certificate; "" if there is none.
func verifyClient(chain []*x509.Certificate, roots *x509.CertPool) string {
	options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, cert := range chain[1:] {
		options.Intermediates.AddCert(cert)
	}
	if _, err := chain[0].Verify(options); err != nil {
		return err.Error()
	}
	return ""
}

// tlsInfo returns the description of the TLS connection of a request.
func tlsInfo(req *http.Request) *pagi.TLS {
	if c, ok := req.Context().Value(quicConnKey{}).(*quicConn); ok {
		return c.facts()
	}
	conn, ok := req.Context().Value(http1.ConnContextKey).(*tls.Conn)
	if !ok {
		return nil
	}
	if c, ok := conn.NetConn().(*tracked); ok {
		return c.info
	}
	return nil
}
