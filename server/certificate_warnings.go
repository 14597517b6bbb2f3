package server

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Warnings returns the reasons why clients will refuse a certificate that can be served: it is out
// of date or not valid yet, or its chain is not complete. Files that cannot be read have no
// warnings; see Check.
func (f CertificateFiles) Warnings() []string {
	c, err := loadPair(f)
	if err != nil {
		return nil
	}
	return c.warnings(time.Now())
}

// warnings returns the CertificateFiles.Warnings of a certificate that has been read.
func (c *certificate) warnings(now time.Time) (list []string) {
	if err := c.outOfDate(now); err != nil {
		list = append(list, err.Error())
	}
	if err := c.checkChain(now); err != nil {
		list = append(list, err.Error())
	}
	return list
}

// outOfDate says that the certificate has expired, or is not valid yet.
func (c *certificate) outOfDate(now time.Time) error {
	switch {
	case now.After(c.Leaf.NotAfter):
		return fmt.Errorf("it has expired at %s", c.Leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(c.Leaf.NotBefore):
		return fmt.Errorf("it is not valid before %s", c.Leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// checkChain checks the certificates that follow the leaf in its file. A client needs every
// certificate between the leaf and an authority that the client knows. The server cannot know the
// client's authorities, so it takes those of the system. A chain that ends with a self-signed
// certificate is complete for clients that know this one.
func (c *certificate) checkChain(now time.Time) error {
	chain := make([]*x509.Certificate, len(c.Certificate.Certificate))
	for i, der := range c.Certificate.Certificate {
		var err error
		if chain[i], err = x509.ParseCertificate(der); err != nil {
			return fmt.Errorf("certificate %d of its chain cannot be read: %w", i+1, err)
		}
	}
	for i, cert := range chain[1:] {
		if chain[i].CheckSignatureFrom(cert) != nil {
			return fmt.Errorf("certificate %d of its chain, %q, has not signed the one before it", i+2, cert.Subject.String())
		}
	}
	last := chain[len(chain)-1]
	if last.CheckSignatureFrom(last) == nil || last.Subject.String() == last.Issuer.String() {
		return nil
	}
	at := c.Leaf.NotBefore // expiry is checked elsewhere
	if at.Before(now) && now.Before(c.Leaf.NotAfter) {
		at = now
	}
	options := x509.VerifyOptions{Intermediates: x509.NewCertPool(), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	for _, cert := range chain[1:] {
		options.Intermediates.AddCert(cert)
	}
	var unknown x509.UnknownAuthorityError
	if _, err := chain[0].Verify(options); !errors.As(err, &unknown) {
		return nil
	}
	return fmt.Errorf("its chain ends with a certificate signed by %q, which is no authority that this system knows: "+
		"an intermediate certificate may be missing in the file, and clients will not trust it then", last.Issuer.String())
}
