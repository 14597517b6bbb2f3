package server

import (
	"crypto/tls"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/server/http2"
)

// A client need not wait for the answer: what comes behind the head that asks for HTTP/2 is
// HTTP/2, however much was read with it.
func TestHTTP2BehindTheRequestThatAsksForIt(t *testing.T) {
	x := launch(t, &Server{App: echo, H2C: true})
	c := x.dial()
	var said strings.Builder
	said.WriteString("GET /a HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 9000) + "\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n" +
		"HTTP2-Settings: " + base64.RawURLEncoding.EncodeToString([]byte{0, 4, 0, 1, 0, 0}) + "\r\n\r\n" + http2.Preface)
	p := &peer{t: t, Framer: xhttp2.NewFramer(&said, c.Reader), conn: c.Conn, path: "/b"}
	p.fields = hpack.NewEncoder(&p.block)
	p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.must(p.WriteSettings())
	p.must(p.WriteRawFrame(0x77, 0, 0, make([]byte, 6000)))
	p.request(3, "GET", true)
	if _, err := io.WriteString(c, said.String()); err != nil {
		t.Fatal(err)
	}
	if res, err := http.ReadResponse(c.Reader, nil); err != nil || res.StatusCode != 101 {
		t.Fatalf("%v, %v", res, err)
	}
	if got := p.answer(3); got != "200 /b " {
		t.Errorf("%q", got)
	}
}

// Under TLS it is the handshake that says that HTTP/2 is spoken.
func TestThePrefaceOfHTTP2UnderTLS(t *testing.T) {
	pair := testkit.Certificate(t)
	x := launch(t, &Server{App: echo, H2C: true, TLSCert: pair.CertFile, TLSKey: pair.KeyFile})
	c := testkit.NewConn(t, tls.Client(x.dial().Conn, &tls.Config{RootCAs: pair.Pool, ServerName: "127.0.0.1"}))
	c.Say(http2.Preface)
	if res, _ := c.Response("PRI"); res.StatusCode != 505 {
		t.Errorf("%v", res)
	}
}
