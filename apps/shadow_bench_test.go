package apps_test

import (
	"context"
	"testing"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// BenchmarkShadow is the processor time of a request to an application that does little, without a shadow and with
// one that copies a share of the requests.
func BenchmarkShadow(b *testing.B) {
	app := pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		start := pagi.HTTPResponseStart{Status: 200, Headers: pagi.Headers{{Name: "content-type", Value: "text/plain"}, {Name: "content-length", Value: "11"}}}
		if err := send(ctx, start); err != nil {
			return err
		}
		return send(ctx, pagi.HTTPResponseBody{Body: []byte("Hello World")})
	})
	sampled := func(percent float64) pagi.App {
		return &apps.Shadow{Apps: []pagi.App{app, app}, ShadowOptions: apps.ShadowOptions{Sample: percent}, Logger: quiet}
	}
	for _, bb := range []struct {
		name string
		app  pagi.App
	}{{"without", app}, {"10 percent", sampled(10)}, {"100 percent", sampled(100)}} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			headers := pagi.NewHeaders("host", "x", "accept", "*/*", "user-agent", "bench", "cookie", "a=b")
			receive := func(context.Context) (pagi.Event, error) { return pagi.HTTPRequest{}, nil }
			send := func(context.Context, pagi.Event) error { return nil }
			for b.Loop() {
				scope := &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Path: "/", Headers: headers}
				if err := bb.app.Serve(b.Context(), scope, receive, send); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
