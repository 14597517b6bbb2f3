package engine_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// TestHeadersOfHTTP1OnHTTP2: what an application says of a connection of HTTP/1 reaches
// nobody on HTTP/2, where clients would take the whole response for broken.
func TestHeadersOfHTTP1OnHTTP2(t *testing.T) {
	x := start(t, engine.Handler{}, func(c *call) error {
		return errors.Join(
			c.send(c.ctx, pagi.HTTPResponseInformational{Status: 103, Headers: pagi.NewHeaders("link", "</a>")}),
			c.send(c.ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("keep-alive", "timeout=5", "Proxy-Connection", "keep-alive", "upgrade", "h2c",
				"connection", "close", "x-kept", "yes")}),
			c.body("fine"))
	}, func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() })
	for i := range 3 {
		interim := 0
		trace := &httptrace.ClientTrace{
			GotConn: func(info httptrace.GotConnInfo) {
				if i > 0 && !info.Reused {
					t.Error("the connection was closed")
				}
			},
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				if interim = code; h.Get("Link") != "</a>" || len(h) != 1 {
					t.Errorf("interim response: %v", h)
				}
				return nil
			},
		}
		r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", x.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := x.srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close() // read to its end
		if err != nil || string(body) != "fine" || res.ProtoMajor != 2 || interim != 103 {
			t.Fatalf("%s %q, %v, interim %d", res.Proto, body, err, interim)
		}
		for _, name := range []string{"Keep-Alive", "Proxy-Connection", "Upgrade", "Connection"} {
			if res.Header.Get(name) != "" {
				t.Errorf("%s: %s", name, res.Header.Get(name))
			}
		}
		if res.Header.Get("X-Kept") != "yes" {
			t.Errorf("headers: %v", res.Header)
		}
	}
}
