package engine_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
	"github.com/pagi-go/pagi-bridge/server/http1"
)

// BenchmarkHTTP1 is one request over the engine that the gateway uses.
func BenchmarkHTTP1(b *testing.B) {
	b.Run("plain", func(b *testing.B) { benchmarkHTTP1(b) })
	b.Run("observed", func(b *testing.B) {
		benchmarkHTTP1(b, engine.ObserverFunc(func(*engine.Record) {}))
	})
}

func benchmarkHTTP1(b *testing.B, observers ...engine.Observer) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	headers := pagi.NewHeaders("content-type", "text/plain")
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if err := send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: headers}); err != nil {
			return err
		}
		return send(ctx, pagi.HTTPResponseBody{Body: []byte("Hello World")})
	})
	s := &http1.Server{Handler: &nethttp.Adapter{Engine: &engine.Handler{App: app, Observers: observers}}, Context: context.Background(), Log: slog.New(slog.DiscardHandler)}
	go s.Serve(l)
	defer s.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	request := []byte("GET /hello?x=1 HTTP/1.1\r\nHost: example.org\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\n\r\n")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(request); err != nil {
			b.Fatal(err)
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
	}
}
