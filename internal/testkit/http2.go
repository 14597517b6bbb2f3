//lint:file-ignore SA1019 net/http's own transport refuses the header :protocol

package testkit

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"testing"

	"golang.org/x/net/http2"
)

// HTTP2 returns a client of HTTP/2 that can send an extended CONNECT (RFC 8441): a
// request with the header :protocol, which net/http's own refuses. Without a config it
// speaks without TLS.
func HTTP2(t testing.TB, config *tls.Config) http.RoundTripper {
	transport := &http2.Transport{TLSClientConfig: config}
	if config == nil {
		transport.AllowHTTP = true
		transport.DialTLSContext = func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
	}
	client := &http.Client{Transport: transport}
	t.Cleanup(client.CloseIdleConnections)
	return transport
}
