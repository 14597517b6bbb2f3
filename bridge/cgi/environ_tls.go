//go:build unix

package cgi

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// certTime is how mod_ssl writes a certificate's dates.
const certTime = "Jan _2 15:04:05 2006 GMT"

// cipherNames are OpenSSL's names of the suites whose names Go spells in another
// way. TLS 1.3 has only one spelling.
var cipherNames = map[uint16]string{
	tls.TLS_RSA_WITH_AES_128_CBC_SHA:                  "AES128-SHA",
	tls.TLS_RSA_WITH_AES_256_CBC_SHA:                  "AES256-SHA",
	tls.TLS_RSA_WITH_AES_128_GCM_SHA256:               "AES128-GCM-SHA256",
	tls.TLS_RSA_WITH_AES_256_GCM_SHA384:               "AES256-GCM-SHA384",
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA:          "ECDHE-ECDSA-AES128-SHA",
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA:          "ECDHE-ECDSA-AES256-SHA",
	tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA:            "ECDHE-RSA-AES128-SHA",
	tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA:            "ECDHE-RSA-AES256-SHA",
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:       "ECDHE-ECDSA-AES128-GCM-SHA256",
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:       "ECDHE-ECDSA-AES256-GCM-SHA384",
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:         "ECDHE-RSA-AES128-GCM-SHA256",
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:         "ECDHE-RSA-AES256-GCM-SHA384",
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:   "ECDHE-RSA-CHACHA20-POLY1305",
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-ECDSA-CHACHA20-POLY1305",
}

// eachTLS sets the variables by which Apache's mod_ssl tells scripts of the
// encryption.
func eachTLS(state *pagi.TLS, set func(name, value string)) {
	// "TLSv1.3", "TLSv1", not "TLS 1.3" and "TLS 1.0".
	version := strings.TrimSuffix(strings.Replace(tls.VersionName(state.Version), "TLS ", "TLSv", 1), ".0")
	set("SSL_PROTOCOL", version)
	cipher, ok := cipherNames[state.CipherSuite]
	if !ok {
		cipher = tls.CipherSuiteName(state.CipherSuite)
	}
	set("SSL_CIPHER", cipher)
	bits := "128"
	if strings.Contains(cipher, "AES256") || strings.Contains(cipher, "AES_256") || strings.Contains(cipher, "CHACHA20") {
		bits = "256"
	}
	set("SSL_CIPHER_USEKEYSIZE", bits)
	set("SSL_CIPHER_ALGKEYSIZE", bits)

	switch {
	case len(state.ClientCertChain) == 0:
		set("SSL_CLIENT_VERIFY", "NONE")
		return
	case state.ClientCertError != "":
		set("SSL_CLIENT_VERIFY", "FAILED:"+state.ClientCertError)
	default:
		set("SSL_CLIENT_VERIFY", "SUCCESS")
	}
	set("SSL_CLIENT_S_DN", state.ClientCertName)
	block, _ := pem.Decode([]byte(state.ClientCertChain[0]))
	if block == nil {
		return
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return // the server has parsed it before
	}
	set("SSL_CLIENT_S_DN_CN", cert.Subject.CommonName)
	set("SSL_CLIENT_I_DN", cert.Issuer.String())
	set("SSL_CLIENT_M_SERIAL", fmt.Sprintf("%X", cert.SerialNumber))
	set("SSL_CLIENT_V_START", cert.NotBefore.UTC().Format(certTime))
	set("SSL_CLIENT_V_END", cert.NotAfter.UTC().Format(certTime))
}
