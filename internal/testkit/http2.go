package testkit

import (
	"crypto/tls"
	"net/http"
	"testing"

	"golang.org/x/net/http2"
)

// HTTP2 returns a client of HTTP/2 that can send an extended CONNECT (RFC 8441): a
// request with the header :protocol, which net/http's own refuses.
func HTTP2(t testing.TB, config *tls.Config) http.RoundTripper {
	//lint:ignore SA1019 net/http refuses the header
	transport := &http2.Transport{TLSClientConfig: config}
	client := &http.Client{Transport: transport}
	t.Cleanup(client.CloseIdleConnections)
	return transport
}
