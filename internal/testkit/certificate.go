package testkit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A Pair is a certificate with its key.
type Pair struct {
	CertFile, KeyFile string // PEM files
	PEM               string // what CertFile holds
	Pool              *x509.CertPool
}

// Certificate makes a self-signed pair for 127.0.0.1. Its pool trusts it.
func Certificate(t testing.TB) *Pair {
	t.Helper()
	made := SelfSigned(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true})
	key, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made.Certificate[0]})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	dir := Tree(t, map[string]string{"cert.pem": string(certPEM), "key.pem": string(keyPEM)})
	p := &Pair{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"), PEM: string(certPEM), Pool: x509.NewCertPool()}
	p.Pool.AppendCertsFromPEM(certPEM)
	if err := os.Chmod(p.KeyFile, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// SelfSigned fills template in where it must be filled in, with an hour to live,
// and signs it with a new key of its own.
func SelfSigned(t testing.TB, template *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(1)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
