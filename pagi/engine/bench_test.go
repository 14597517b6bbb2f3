package engine_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
)

var hello = []byte("Hello from PAGI")

func helloApp(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type != pagi.TypeHTTP {
		return pagi.Unsupported(scope)
	}
	err := send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.Headers{{Name: "content-type", Value: "text/plain"}}})
	if err != nil {
		return err
	}
	return send(ctx, pagi.HTTPResponseBody{Body: hello})
}

func helloHandler(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	w.Write(hello)
}

const benchRequest = "GET /hello?x=1 HTTP/1.1\r\nHost: example.org\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nCookie: a=b\r\n\r\n"

// benchServe measures requests over one keep-alive TCP connection.
func benchServe(b *testing.B, h http.Handler) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &http.Server{Handler: h}
	go s.Serve(l)
	defer s.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.WriteString(c, benchRequest); err != nil {
			b.Fatal(err)
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
	}
}

func BenchmarkServe(b *testing.B) {
	b.Run("net_http", func(b *testing.B) { benchServe(b, http.HandlerFunc(helloHandler)) })
	b.Run("pagi", func(b *testing.B) { benchServe(b, nethttp.Handler(pagi.AppFunc(helloApp))) })
	b.Run("from_http_to_http", func(b *testing.B) { benchServe(b, nethttp.Handler(nethttp.App(http.HandlerFunc(helloHandler)))) })
}

// nullWriter is the cheapest http.ResponseWriter.
type nullWriter struct{ header http.Header }

func (w *nullWriter) Header() http.Header         { return w.header }
func (w *nullWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *nullWriter) WriteHeader(int)             { clear(w.header) }
func (w *nullWriter) Flush()                      {}

// BenchmarkEngine measures the translation alone.
func BenchmarkEngine(b *testing.B) {
	r, err := http.NewRequestWithContext(b.Context(), "GET", "http://example.org/hello?x=1", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.RequestURI = "/hello?x=1"
	r.RemoteAddr = "192.0.2.1:1234"
	r.Header = http.Header{"User-Agent": {"bench/1.0"}, "Accept": {"*/*"}, "Accept-Encoding": {"gzip"}, "Cookie": {"a=b"}}
	for _, bench := range []struct {
		name string
		h    http.Handler
	}{
		{"net_http", http.HandlerFunc(helloHandler)},
		{"pagi", nethttp.Handler(pagi.AppFunc(helloApp))},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			w := &nullWriter{http.Header{}}
			for b.Loop() {
				bench.h.ServeHTTP(w, r)
			}
		})
	}
}
