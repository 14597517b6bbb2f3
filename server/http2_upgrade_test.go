package server

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server/http2"
)

// A client need not wait for the answer: the bytes after the head that asks for HTTP/2 are HTTP/2,
// even if the server has read them together with the head.
func TestHTTP2BehindTheRequestThatAsksForIt(t *testing.T) {
	x := launch(t, &Server{App: echo, H2C: true})
	c := x.dial()
	var said strings.Builder
	said.WriteString("GET /a HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 9000) + "\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n" +
		"HTTP2-Settings: " + base64.RawURLEncoding.EncodeToString([]byte{0, 4, 0, 1, 0, 0}) + "\r\n\r\n" + http2.Preface)
	p := &peer{t: t, Framer: xhttp2.NewFramer(&said, c.Reader), conn: c.Conn, path: "/b", scheme: "http"}
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

// Under TLS only the handshake selects HTTP/2.
func TestThePrefaceOfHTTP2UnderTLS(t *testing.T) {
	pair := testkit.Certificate(t)
	x := launch(t, &Server{App: echo, H2C: true, TLSCert: pair.CertFile, TLSKey: pair.KeyFile})
	c := testkit.NewConn(t, tls.Client(x.dial().Conn, &tls.Config{RootCAs: pair.Pool, ServerName: "127.0.0.1"}))
	c.Say(http2.Preface)
	if res, _ := c.Response("PRI"); res.StatusCode != 505 {
		t.Errorf("%v", res)
	}
}

func TestUpgradeToHTTP2(t *testing.T) {
	x := launch(t, &Server{H2C: true, App: httpOnly(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		return reply(ctx, send, fmt.Sprint(scope.HTTPVersion, " ", scope.Method, " ", scope.RawPath, " ", scope.QueryString, " ", scope.Scheme, " ", scope.Headers))
	})})
	const ask = "GET /a?b HTTP/1.1\r\nHost: h\r\nX-A: c\r\n%s\r\n"
	settings := "HTTP2-Settings: " + base64.RawURLEncoding.EncodeToString([]byte{0, 4, 0, 1, 0, 0}) + "\r\n"
	const upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
	t.Run("is granted", func(t *testing.T) {
		c := x.request(fmt.Sprintf(ask, upgrade+settings))
		res, err := http.ReadResponse(c.Reader, nil)
		if err != nil || res.StatusCode != 101 || res.Header.Get("Upgrade") != "h2c" {
			t.Fatalf("%v, %v", res, err)
		}
		p := speak(t, c.Conn)
		p.Framer = xhttp2.NewFramer(c.Conn, c.Reader)
		p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		p.must(p.WriteSettings())
		if got := p.answer(1); got != "200 2 GET /a b http [{host h} {x-a c}]" {
			t.Errorf("%q", got)
		}
		p.request(3, "GET", true)
		if got := p.answer(3); got != "200 2 GET /p  http [{host x}]" {
			t.Errorf("%q", got)
		}
	})
	for _, tt := range []struct{ name, headers string }{
		{"without settings", upgrade},
		{"with two settings", upgrade + settings + settings},
		{"with settings that are none", upgrade + "HTTP2-Settings: !\r\n"},
		{"to something else", strings.Replace(upgrade, "h2c", "h2", 1) + settings},
		{"that Connection does not name", "Connection: HTTP2-Settings\r\nUpgrade: h2c\r\n" + settings},
		{"with a body", upgrade + settings + "Content-Length: 1\r\n"},
	} {
		t.Run("is ignored: "+tt.name, func(t *testing.T) {
			request := fmt.Sprintf(ask, tt.headers)
			if strings.Contains(request, "Content-Length") {
				request += "x"
			}
			res, body := x.request(request).Response("GET")
			if res.StatusCode != 200 || !strings.HasPrefix(body, "1.1 GET") {
				t.Errorf("%v %q", res, body)
			}
		})
	}
	t.Run("is ignored under TLS", func(t *testing.T) {
		pair := testkit.Certificate(t)
		y := launch(t, &Server{H2C: true, App: echo, TLSCert: pair.CertFile, TLSKey: pair.KeyFile})
		c := testkit.NewConn(t, tls.Client(y.dial().Conn, &tls.Config{RootCAs: pair.Pool, ServerName: "127.0.0.1"}))
		c.Say(fmt.Sprintf(ask, upgrade+settings))
		if res, body := c.Response("GET"); res.StatusCode != 200 || body != "/a " {
			t.Errorf("%v %q", res, body)
		}
	})
	t.Run("is ignored where HTTP/2 is not spoken", func(t *testing.T) {
		y := launch(t, &Server{App: echo})
		res, _ := y.request(fmt.Sprintf(ask, upgrade+settings)).Response("GET")
		if res.StatusCode != 200 {
			t.Errorf("%v", res)
		}
		if res, _ := y.request(http2.Preface).Response("PRI"); res.StatusCode != 505 {
			t.Errorf("the preface: %v", res)
		}
	})
	t.Run("and a broken preface has no answer", func(t *testing.T) {
		if rest := x.request("PRI * HTTQ/2.0\r\n\r\n").Rest(); rest != "" {
			t.Errorf("%q", rest)
		}
	})
}
