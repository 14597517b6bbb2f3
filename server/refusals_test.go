package server

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// A client that speaks TLS to a plain address, as browsers do first, is told at once.
func TestTLSToAPlainAddress(t *testing.T) {
	x := launch(t, &Server{App: echo})
	failed := make(chan error, 1)
	go func() {
		c, err := tls.Dial("tcp", x.addr, &tls.Config{ServerName: "x"})
		if err == nil {
			_ = c.Close()
		}
		failed <- err
	}()
	if err := testkit.AtOnce(t, failed); err == nil {
		t.Error("the handshake succeeded")
	}
	x.log.WaitFor(t, "level=WARN", "request is refused", "speaks TLS")
}

// A client that speaks HTTP to an address with TLS is refused, and so is a proxy whose header the address does not take.
func TestOtherProtocolsAtAnAddressWithTLS(t *testing.T) {
	pair := testkit.Certificate(t)
	x := launch(t, &Server{App: echo, TLSCert: pair.CertFile, TLSKey: pair.KeyFile})
	c := x.request("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if got := c.Rest(); !strings.HasPrefix(got, "HTTP/1.0 400 ") || !strings.Contains(got, "This port speaks HTTPS.") {
		t.Errorf("%q", got)
	}
	x.log.WaitFor(t, "level=WARN", "request is refused", "without TLS", "client=127.0.0.1")
	c = x.request("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
	c.Cut()
	x.log.WaitFor(t, "level=WARN", "request is refused", "PROXY header", "client=127.0.0.1")
}

// Every request that no application sees is a warning with its client.
func TestRefusedRequestsAreWarnings(t *testing.T) {
	x := launch(t, &Server{App: echo, Timeouts: Timeouts{Timeouts: engine.Timeouts{BodyTimeout: 100 * time.Millisecond}}, Limits: Limits{Limits: engine.Limits{MaxBodySize: 10}}})
	for _, tt := range []struct {
		request string
		status  int
		says    string
	}{
		{"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400, "request framing is ambiguous"},
		{"GET / HTTP/1.1\r\n\r\n", 400, "there is no Host header"},
		{"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505, "the version is HTTP/3.0"},
		{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501, "the transfer-encoding is unknown"},
		{"GET / HTTP/1.1\r\nHost: x\r\nExpect: more\r\n\r\n", 417, "it expects something unknown"},
		{"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 501, "the method is CONNECT"},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n", 413, "request body is too large"},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n", 408, "request body is too slow"},
		{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400, "the framing of the body is malformed"},
		{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na: b\x01\r\n\r\n", 400, "the framing of the body is malformed"},
		{"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 426, "the WebSocket handshake is malformed"},
	} {
		before := len(x.log.String())
		res, _ := x.request(tt.request).Response(http.MethodGet)
		if res.StatusCode != tt.status {
			t.Errorf("%q: %s, want %d", tt.request, res.Status, tt.status)
		}
		testkit.Eventually(t, tt.says, func() bool {
			said := x.log.String()[before:]
			return strings.Contains(said, "level=WARN") && strings.Contains(said, tt.says) && strings.Contains(said, "client=127.0.0.1")
		})
	}
}
