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
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/crypto/ocsp"
)

// certificate is one with its key, and in PEM.
type certificate struct {
	tls.Certificate
	pem     string    // the leaf
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

// onlyCertificate returns the certificate of a configuration that leaves no choice.
func onlyCertificate(config *tls.Config) *certificate {
	if len(config.Certificates) != 1 || config.GetCertificate != nil || config.GetConfigForClient != nil {
		return nil
	}
	return &certificate{Certificate: config.Certificates[0], pem: pemOf(&config.Certificates[0])}
}

// Check reports what keeps the files from being served.
func (f CertificateFiles) Check() error {
	_, err := loadCertificate(f, time.Now())
	return err
}

// loadCertificate reads the files of one certificate. Where only the OCSP response is
// wrong, there is a certificate beside the error.
func loadCertificate(files CertificateFiles, now time.Time) (*certificate, error) {
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, fmt.Errorf("server: TLS certificate %s with key %s: %w", files.Cert, files.Key, err)
	}
	c := &certificate{Certificate: pair, pem: pemOf(&pair)}
	if files.OCSP == "" {
		return c, nil
	}
	if err := c.staple(files.OCSP, now); err != nil {
		return c, fmt.Errorf("server: OCSP response %s for certificate %s: %w", files.OCSP, files.Cert, err)
	}
	return c, nil
}

// staple adds an OCSP response, unless it is out of date.
func (c *certificate) staple(file string, now time.Time) error {
	der, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var issuer *x509.Certificate
	if len(c.Certificate.Certificate) > 1 {
		if issuer, err = x509.ParseCertificate(c.Certificate.Certificate[1]); err != nil {
			return err
		}
	}
	response, err := ocsp.ParseResponseForCert(der, c.Leaf, issuer)
	if err != nil {
		return err
	}
	if response.SerialNumber.Cmp(c.Leaf.SerialNumber) != 0 {
		return errors.New("it is for another certificate")
	}
	if response.Status == ocsp.Good && (response.NextUpdate.IsZero() || now.Before(response.NextUpdate)) {
		c.OCSPStaple, c.stapled = der, response.NextUpdate
	}
	return nil
}

// certificates are those of files.
type certificates struct {
	log   *slog.Logger
	files []CertificateFiles
	set   atomic.Pointer[certificateSet]

	stamps []([3]stamp)
	failed []string // what was wrong with the files when they were last read
}

// certificateSet is what the files held at one moment.
type certificateSet struct {
	list   []*certificate
	byName map[string][]*certificate
}

// loadCertificates reads all files.
func loadCertificates(files []CertificateFiles, log *slog.Logger) (*certificates, error) {
	c := &certificates{log: log, files: files, stamps: make([][3]stamp, len(files)), failed: make([]string, len(files))}
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

// choose returns the certificate for a client; nil where there is none at all.
func (c *certificates) choose(hello *tls.ClientHelloInfo) *certificate {
	set := c.set.Load()
	if len(set.list) == 0 {
		return nil
	}
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if name == "" && len(set.list) > 1 && hello.Conn != nil {
		name, _, _ = net.SplitHostPort(hello.Conn.LocalAddr().String()) // "" where it has none
	}
	those := set.byName[name]
	if len(those) == 0 {
		if _, rest, ok := strings.Cut(name, "."); ok {
			those = set.byName["*."+rest]
		}
	}
	if len(those) == 0 {
		return set.list[0]
	}
	if len(those) > 1 {
		for _, one := range those {
			if hello.SupportsCertificate(&one.Certificate) == nil {
				return one
			}
		}
	}
	return those[0]
}

// refresh reads the files that have changed. A certificate that cannot be read stays
// as it was, as does an OCSP response for as long as it is valid; where certificate and key do not belong together another look follows, as
// one of them may be about to be replaced, too.
func (c *certificates) refresh(now time.Time) {
	old := c.set.Load()
	list := append([]*certificate(nil), old.list...)
	changed := false
	for i, f := range c.files {
		stamps := stampsOf(f)
		expired := !list[i].stapled.IsZero() && now.After(list[i].stapled)
		if stamps == c.stamps[i] && c.failed[i] == "" && !expired {
			continue
		}
		fresh, err := loadCertificate(f, now)
		if fresh == nil {
			if c.failed[i] == err.Error() { // twice the same: it is not about to change
				c.log.Error("TLS certificate cannot be read again, the old one stays", "error", err)
				c.stamps[i], c.failed[i] = stamps, ""
			} else {
				c.failed[i] = err.Error()
			}
			continue
		}
		switch {
		case err != nil:
			if !expired && bytes.Equal(fresh.Leaf.Raw, list[i].Leaf.Raw) {
				fresh.OCSPStaple, fresh.stapled = list[i].OCSPStaple, list[i].stapled
			}
			c.log.Warn("OCSP response cannot be read again", "stapled", fresh.OCSPStaple != nil, "error", err)
		case f.OCSP != "" && fresh.OCSPStaple == nil:
			c.log.Warn("OCSP response does not say that the certificate is good now; it is not stapled", "file", f.OCSP)
		}
		c.log.Info("TLS certificate was read again", "file", f.Cert, "expires", fresh.Leaf.NotAfter.UTC().Format(time.RFC3339))
		c.stamps[i], c.failed[i] = stamps, ""
		list[i], changed = fresh, true
	}
	if changed {
		c.set.Store(newCertificateSet(list))
	}
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
