package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/crypto/ocsp"
)

// certificate is a certificate with its key, and its leaf in PEM.
type certificate struct {
	tls.Certificate
	pem     string    // the leaf in PEM
	stapled time.Time // until when the OCSP response is valid; zero: there is none
}

// isFor reports whether the certificate is for a name.
func (c *certificate) isFor(name string) bool {
	return c.Leaf != nil && c.Leaf.VerifyHostname(name) == nil
}

// pemOf returns the leaf of a certificate in PEM.
func pemOf(c *tls.Certificate) string {
	if len(c.Certificate) == 0 {
		return ""
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}))
}

// onlyCertificate returns the certificate of a configuration that has only one.
func onlyCertificate(config *tls.Config) *certificate {
	if len(config.Certificates) != 1 || config.GetCertificate != nil || config.GetConfigForClient != nil {
		return nil
	}
	return &certificate{Certificate: config.Certificates[0], pem: pemOf(&config.Certificates[0])}
}

// Check reports an error if the files cannot be served.
func (f CertificateFiles) Check() error {
	_, err := loadCertificate(f, time.Now())
	return err
}

// loadCertificate reads the files of one certificate.
func loadCertificate(files CertificateFiles, now time.Time) (*certificate, error) {
	c, err := loadPair(files)
	if err != nil {
		return nil, err
	}
	return c, c.staple(files, now)
}

// loadPair reads a certificate and its key.
func loadPair(files CertificateFiles) (*certificate, error) {
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, fmt.Errorf("server: TLS certificate %s with key %s: %w", files.Cert, files.Key, err)
	}
	return &certificate{Certificate: pair, pem: pemOf(&pair)}, nil
}

// staple adds the OCSP response of the files, unless there is none or it is out of date.
func (c *certificate) staple(files CertificateFiles, now time.Time) error {
	if files.OCSP == "" {
		return nil
	}
	response, err := c.readOCSP(files.OCSP)
	if err != nil {
		return fmt.Errorf("server: OCSP response %s for certificate %s: %w", files.OCSP, files.Cert, err)
	}
	if response.Status == ocsp.Good && (response.NextUpdate.IsZero() || now.Before(response.NextUpdate)) {
		c.OCSPStaple, c.stapled = response.Raw, response.NextUpdate
	}
	return nil
}

// readOCSP reads a response for the certificate.
func (c *certificate) readOCSP(file string) (*ocsp.Response, error) {
	der, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var issuer *x509.Certificate
	if len(c.Certificate.Certificate) > 1 {
		if issuer, err = x509.ParseCertificate(c.Certificate.Certificate[1]); err != nil {
			return nil, err
		}
	}
	response, err := ocsp.ParseResponseForCert(der, c.Leaf, issuer)
	if err != nil {
		return nil, err
	}
	if response.SerialNumber.Cmp(c.Leaf.SerialNumber) != 0 {
		return nil, errors.New("it is for another certificate")
	}
	return response, nil
}

// unstapled returns the certificate without its OCSP response.
func (c *certificate) unstapled() *certificate {
	bare := *c
	bare.OCSPStaple, bare.stapled = nil, time.Time{}
	return &bare
}

// certificates are the certificates that come from files.
type certificates struct {
	log   *slog.Logger
	files []CertificateFiles
	set   atomic.Pointer[certificateSet]

	stamps []([3]stamp)
	failed []string    // the error of the last attempt to read the files
	early  []time.Time // when the certificate of the files becomes valid; zero: it is valid, or has expired
}

// certificateSet is the content of the files at one moment.
type certificateSet struct {
	list   []*certificate
	byName map[string][]*certificate
}

// loadCertificates reads all files.
func loadCertificates(files []CertificateFiles, log *slog.Logger) (*certificates, error) {
	c := &certificates{log: log, files: files, stamps: make([][3]stamp, len(files)), failed: make([]string, len(files)), early: make([]time.Time, len(files))}
	now := time.Now()
	list := make([]*certificate, len(files))
	for i, f := range files {
		c.stamps[i] = stampsOf(f)
		var err error
		if list[i], err = loadCertificate(f, now); err != nil {
			return nil, err
		}
		if f.OCSP != "" && list[i].OCSPStaple == nil {
			log.Warn("OCSP response does not say that the certificate is good now; it is not stapled", "file", f.OCSP)
		}
		for _, text := range list[i].warnings(now) {
			log.Warn("TLS certificate: "+text, "file", f.Cert)
		}
	}
	c.set.Store(newCertificateSet(list))
	return c, nil
}

func newCertificateSet(list []*certificate) *certificateSet {
	s := &certificateSet{list: list, byName: map[string][]*certificate{}}
	for _, c := range list {
		for _, name := range c.Leaf.DNSNames {
			name = strings.ToLower(name)
			s.byName[name] = append(s.byName[name], c)
		}
		for _, ip := range c.Leaf.IPAddresses {
			s.byName[ip.String()] = append(s.byName[ip.String()], c)
		}
	}
	return s
}

// choose returns the certificate for a client: the first one for the requested name whose
// algorithms the client has. If none is for that name, it chooses among all. If the client has the
// algorithms of none, it returns the first one. It returns nil if there is no certificate at all.
func (c *certificates) choose(hello *tls.ClientHelloInfo) *certificate {
	set := c.set.Load()
	if len(set.list) == 0 {
		return nil
	}
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if name == "" && len(set.list) > 1 && hello.Conn != nil {
		name, _, _ = net.SplitHostPort(hello.Conn.LocalAddr().String()) // "" for an address without a port
	}
	those := set.byName[name]
	if _, rest, ok := strings.Cut(name, "."); ok {
		those = slices.Concat(those, set.byName["*."+rest])
	}
	if len(those) == 0 {
		those = set.list
	}
	client := *hello
	client.ServerName = "" // makes SupportsCertificate ignore the name
	for _, one := range those {
		if len(those) == 1 || client.SupportsCertificate(&one.Certificate) == nil {
			return one
		}
	}
	return those[0]
}

// refresh reads the files that have changed. If a file cannot be read, the old content stays in
// use; an old OCSP response only as long as it is valid.
func (c *certificates) refresh(now time.Time) {
	old := c.set.Load()
	list := slices.Clone(old.list)
	for i := range list {
		list[i] = c.renew(i, list[i], now)
	}
	if !slices.Equal(list, old.list) {
		c.set.Store(newCertificateSet(list))
	}
}

// renew returns a certificate with the present content of its files. If certificate and key do not
// belong together, it tries again at the next look, because another program may be replacing both.
func (c *certificates) renew(i int, cert *certificate, now time.Time) *certificate {
	f := c.files[i]
	if until := cert.stapled; !until.IsZero() && now.After(until) {
		cert = cert.unstapled()
		c.log.Warn("OCSP response is out of date; it is not stapled any more", "file", f.OCSP)
	}
	before, stamps := c.stamps[i], stampsOf(f)
	c.stamps[i][2] = stamps[2]
	valid := !c.early[i].IsZero() && !now.Before(c.early[i])
	if stamps[0] != before[0] || stamps[1] != before[1] || c.failed[i] != "" || valid {
		fresh, err := loadPair(f)
		switch {
		case err == nil && c.isWorse(i, fresh, cert, now):
			c.stamps[i], c.failed[i] = stamps, ""
		case err == nil:
			c.stamps[i], c.failed[i], c.early[i] = stamps, "", time.Time{}
			for _, text := range fresh.warnings(now) {
				c.log.Warn("TLS certificate: "+text, "file", f.Cert)
			}
			c.log.Info("TLS certificate was read again", "file", f.Cert, "expires", fresh.Leaf.NotAfter.UTC().Format(time.RFC3339))
			return c.restaple(fresh, cert, f, now)
		case c.failed[i] == err.Error(): // the same error twice: the files are not being replaced
			c.log.Error("TLS certificate cannot be read again, the old one stays", "error", err)
			c.stamps[i], c.failed[i], c.early[i] = stamps, "", time.Time{}
		default:
			c.failed[i] = err.Error()
		}
	}
	if stamps[2] == before[2] {
		return cert
	}
	return c.restaple(cert.unstapled(), cert, f, now)
}

// isWorse reports whether a certificate is out of date, or not valid yet, while the one in use is
// neither. Then the old one stays in use. A certificate that is not valid yet is read again once it
// is valid.
func (c *certificates) isWorse(i int, fresh, old *certificate, now time.Time) bool {
	c.early[i] = time.Time{}
	why := fresh.outOfDate(now)
	if why == nil || old.outOfDate(now) != nil {
		return false
	}
	if now.Before(fresh.Leaf.NotBefore) {
		c.early[i] = fresh.Leaf.NotBefore
	}
	c.log.Error("TLS certificate was read again and is not used, the old one stays", "file", c.files[i].Cert, "error", why)
	return true
}

// restaple gives a certificate the OCSP response of its file. If the file cannot be read, the
// certificate keeps the response it had.
func (c *certificates) restaple(fresh, old *certificate, f CertificateFiles, now time.Time) *certificate {
	err := fresh.staple(f, now)
	switch {
	case err != nil:
		if bytes.Equal(fresh.Leaf.Raw, old.Leaf.Raw) {
			fresh.OCSPStaple, fresh.stapled = old.OCSPStaple, old.stapled
		}
		c.log.Warn("OCSP response cannot be read again", "stapled", fresh.OCSPStaple != nil, "error", err)
	case f.OCSP != "" && fresh.OCSPStaple == nil:
		c.log.Warn("OCSP response does not say that the certificate is good now; it is not stapled", "file", f.OCSP)
	case f.OCSP != "":
		c.log.Info("OCSP response was read again", "file", f.OCSP)
	}
	return fresh
}

// stamp tells one state of a file from another.
type stamp struct {
	size  int64
	time  time.Time
	inode uint64
}

func stampsOf(f CertificateFiles) [3]stamp {
	return [3]stamp{stampOf(f.Cert), stampOf(f.Key), stampOf(f.OCSP)}
}

// stampOf returns the zero stamp for a file that is not there.
func stampOf(file string) stamp {
	if file == "" {
		return stamp{}
	}
	info, err := os.Stat(file)
	if err != nil {
		return stamp{}
	}
	s := stamp{size: info.Size(), time: info.ModTime()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = sys.Ino
	}
	return s
}
