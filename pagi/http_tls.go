package pagi

import (
	"crypto/x509"
	"encoding/pem"
)

// tlsInfo describes the request's TLS connection (PAGI::Spec::Tls).
func (x *exchange) tlsInfo() *TLS {
	state := x.r.TLS
	info := &TLS{Version: state.Version, CipherSuite: state.CipherSuite}
	if x.h.ServerCert != nil {
		info.ServerCert = x.h.ServerCert(x.r)
	}
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

func certPEM(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}
