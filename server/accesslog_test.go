package server

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

func TestAccessLogIsFlushedPeriodicallyAndAtTheEnd(t *testing.T) {
	x := launch(t, &Server{App: echo, AccessLogFormat: "%m %U %s %B"})
	x.request("GET /first HTTP/1.1\r\nHost: x\r\n\r\n").Response("GET")
	testkit.Eventually(t, "the first line", func() bool { return x.access.String() == "GET /first 200 7\n" })
	x.request("POST /second HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n").Response("GET")
	x.stop()
	if got := x.access.String(); got != "GET /first 200 7\nPOST /second 413 25\n" {
		t.Errorf("log %q", got)
	}
}

// The log has the facts that only the connection and the response know, over HTTP/1 and HTTP/2.
func TestAccessLogOfConnectionAndResponse(t *testing.T) {
	onH2(t, func(t *testing.T, launch func(*Server) (*site, *peer)) {
		tagged := pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
			if err := send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("X-Request-ID", "abc")}); err != nil {
				return err
			}
			return send(ctx, pagi.HTTPResponseBody{Body: []byte("x")})
		})
		x, p := launch(&Server{App: tagged, AccessLogFormat: "%A:%p %{X-Request-Id}o %{x-none}o"})
		p.request(1, "GET", true)
		if got := p.answer(1); got != "200 x" {
			t.Fatal(got)
		}
		want := x.addr + " abc -\n"
		if x.server.TLSCert == "" { // without TLS: HTTP/1, too
			x.request(ask).Response("GET")
			want += want
		}
		testkit.Eventually(t, "the lines", func() bool { return x.access.String() == want })
	})
}

// Requests that no application sees are in the access log, with all that is known of them.
func TestAccessLogOfRequestsTurnedDown(t *testing.T) {
	const h = "Host: x\r\n"
	for _, tt := range []struct{ name, request, want string }{
		{"no host", "GET /a HTTP/1.1\r\n\r\n", `127.0.0.1 "GET /a HTTP/1.1" 400 12`},
		{"ambiguous", "POST /b HTTP/1.1\r\n" + h + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", `127.0.0.1 "POST /b HTTP/1.1" 400 12`},
		{"a broken target", "GET /%zz HTTP/1.1\r\n" + h + "\r\n", `127.0.0.1 "GET /%zz HTTP/1.1" 400 12`},
		{"a line that would forge another", "GET /\"\x01 HTTP/1.1\r\n" + h + "\r\n", `127.0.0.1 "GET /\"\x01 HTTP/1.1" 400 12`},
		{"no request at all", "\x16\x03\x01\r\n\r\n", `127.0.0.1 "-" 400 12`},
		{"too slow", "GET /c HTTP/1.1\r\n" + h, `127.0.0.1 "GET /c HTTP/1.1" 408 16`},
		{"too slow in its first line", "GET /c", `127.0.0.1 "-" 408 16`},
		{"an unknown expectation", "GET /d HTTP/1.1\r\n" + h + "Expect: wonders\r\n\r\n", `127.0.0.1 "GET /d HTTP/1.1" 417 19`},
		{"too large", "GET /e HTTP/1.1\r\n" + h + "A: " + strings.Repeat("x", DefaultMaxHeaderSize) + "\r\n\r\n", `127.0.0.1 "GET /e HTTP/1.1" 431 32`},
		{"too long", "GET /" + strings.Repeat("x", DefaultMaxHeaderSize) + " HTTP/1.1\r\n" + h + "\r\n", `127.0.0.1 "-" 414 21`},
		{"an unknown coding", "POST /f HTTP/1.1\r\n" + h + "Transfer-Encoding: gzip\r\n\r\n", `127.0.0.1 "POST /f HTTP/1.1" 501 16`},
		{"an unknown version", "GET /g HTTP/3.0\r\n" + h + "\r\n", `127.0.0.1 "GET /g HTTP/3.0" 505 27`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := launch(t, &Server{App: echo, AccessLogFormat: `%h "%r" %s %B`, Timeouts: Timeouts{HeaderTimeout: 100 * time.Millisecond}})
			c := x.request(tt.request)
			res, _ := c.Response("GET")
			_ = c.Close() // lets the server close at once
			if _, err := http.ParseTime(res.Header.Get("Date")); err != nil {
				t.Error(err)
			}
			x.stop()
			if got := x.access.String(); got != tt.want+"\n" {
				t.Errorf("logged %s", got)
			}
		})
	}
}
