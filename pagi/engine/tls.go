package engine

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// TLSOf describes a TLS connection (PAGI::Spec::Tls). The certificate the server has
// sent is not known from its state.
func TLSOf(state *tls.ConnectionState) *pagi.TLS {
	info := &pagi.TLS{Version: state.Version, CipherSuite: state.CipherSuite}
	if certs := state.PeerCertificates; len(certs) > 0 {
		info.ClientCertChain = make([]string, len(certs))
		for i, cert := range certs {
			info.ClientCertChain[i] = certPEM(cert)
		}
		info.ClientCertName = distinguishedName(certs[0].RawSubject)
		if len(state.VerifiedChains) == 0 {
			info.ClientCertError = "client certificate was not verified"
		}
	}
	return info
}

// tlsInfo describes the request's TLS connection.
func (x *exchange) tlsInfo() *pagi.TLS {
	if x.h.TLSInfo != nil {
		if info := x.h.TLSInfo(x.r); info != nil {
			return info
		}
	}
	return TLSOf(x.r.TLS)
}

func certPEM(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}
