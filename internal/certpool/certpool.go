// Package certpool reads files of certificates that are to be trusted.
package certpool

import (
	"crypto/x509"
	"fmt"
	"os"
)

// Read returns the certificates of a file in PEM. A file without any is an error.
func Read(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: there is no certificate in it", file)
	}
	return pool, nil
}
