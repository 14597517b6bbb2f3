package middleware_test

import (
	"testing"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
)

func BenchmarkReverseProxy(b *testing.B) {
	app := answering(pagi.HTTPResponseStart{Status: 204}, pagi.HTTPResponseBody{})
	headers := pagi.NewHeaders("host", "www.example.org", "x-forwarded-for", "198.51.100.3", "x-forwarded-proto", "https", "x-real-ip", "198.51.100.3", "user-agent", "Mozilla/5.0", "accept", "*/*")
	b.Run("bare", func(b *testing.B) { serveAgain(b, app, headers) })
	trusted := middleware.ReverseProxy{TrustedProxies: []string{"192.0.2.0/24"}}
	b.Run("trusted", func(b *testing.B) { serveAgain(b, trusted.Wrap(app), headers) })
}
