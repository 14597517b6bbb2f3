package middleware_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// serveAgain serves the same request n times.
func serveAgain(b *testing.B, app pagi.App, headers pagi.Headers) {
	ctx := b.Context()
	receive := func(context.Context) (pagi.Event, error) { return pagi.HTTPRequest{}, nil }
	send := func(context.Context, pagi.Event) error { return nil }
	var notes pagi.LogNotes
	scope := pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Scheme: "https", Path: "/page", HTTPVersion: "1.1", Client: pagi.Addr{Host: "192.0.2.7", Port: 4711}, Headers: headers, Notes: &notes, Connection: complete{}}
	b.ReportAllocs()
	for b.Loop() {
		s := scope
		s.Stash = &pagi.Stash{}
		notes.Clear()
		if err := app.Serve(ctx, &s, receive, send); err != nil {
			b.Fatal(err)
		}
	}
}

var browser = pagi.NewHeaders("host", "www.example.org", "user-agent", "Mozilla/5.0", "accept", "text/html,*/*;q=0.8", "accept-encoding", "gzip, deflate, br, zstd",
	"accept-language", "en", "cookie", "theme=dark", "sec-fetch-site", "same-origin", "sec-fetch-mode", "navigate")

// Ten middleware of a typical site, around a page of 2 KB.
func BenchmarkTypicalStack(b *testing.B) {
	page := answering(pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "text/html; charset=utf-8")},
		pagi.HTTPResponseBody{Body: bytes.Repeat([]byte("<li>an entry of a page\n"), 90)})
	stack := []pagi.Middleware{
		middleware.RequestID{}, middleware.AccessLog{Output: io.Discard}, middleware.Runtime{}, middleware.SecurityHeaders{}, middleware.CORS{Origins: []string{"https://a.example"}},
		middleware.RateLimit{Requests: 1_000_000, Burst: 1_000_000_000}, middleware.GZip{}, middleware.ETag{}, &middleware.Session{}, middleware.CSRF{},
	}
	b.Run("bare", func(b *testing.B) { serveAgain(b, page, browser) })
	b.Run("ten", func(b *testing.B) { serveAgain(b, pagi.Chain(page, stack...), browser) })
	b.Run("ten without compression", func(b *testing.B) {
		plain := append(stack[:6:6], stack[7:]...)
		serveAgain(b, pagi.Chain(page, plain...), browser)
	})
}

// The ten middleware of "go run ./bench overhead" around its small answer, for a client that sends what wrk does.
func BenchmarkTenAroundASmallAnswer(b *testing.B) {
	start := pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "text/plain", "content-length", "11")}
	app := answering(start, pagi.HTTPResponseBody{Body: []byte("Hello World")})
	stack := []pagi.Middleware{
		middleware.ReverseProxy{}, middleware.RequestID{}, middleware.SecurityHeaders{},
		middleware.Headers{Response: middleware.HeaderEdits{Set: map[string]string{"x-served-by": "bench"}}},
		middleware.CORS{Origins: []string{"https://example.com"}}, middleware.GZip{}, middleware.Head{}, middleware.Healthcheck{},
		middleware.ConditionalGet{}, middleware.ETag{},
	}
	headers := pagi.NewHeaders("host", "127.0.0.1:8080")
	b.Run("bare", func(b *testing.B) { serveAgain(b, app, headers) })
	for _, m := range stack {
		b.Run(fmt.Sprintf("%T", m), func(b *testing.B) { serveAgain(b, m.Wrap(app), headers) })
	}
	b.Run("ten", func(b *testing.B) { serveAgain(b, pagi.Chain(app, stack...), headers) })
}

// Thirty middleware that have nothing to do with the request.
func BenchmarkIdleStack(b *testing.B) {
	never := middleware.Condition{Path: []string{"/never"}}
	idle := map[string]pagi.Middleware{
		"access":                middleware.Access{Allow: []string{"192.0.2.0/24"}},
		"basic_auth":            middleware.BasicAuth{Users: map[string]string{"ann": "{PLAIN}x"}, Paths: []string{"/admin"}},
		"bearer_auth":           middleware.BearerAuth{Tokens: map[string]string{"ann": "0123456789abcdef0123456789abcdef"}, Paths: []string{"/api"}},
		"conditional_get":       middleware.ConditionalGet{},
		"cors":                  middleware.CORS{Origins: []string{"https://a.example"}},
		"csrf":                  middleware.CSRF{},
		"debug":                 middleware.Debug{},
		"form_body":             middleware.FormBody{},
		"head":                  middleware.Head{},
		"headers":               middleware.Headers{},
		"healthcheck":           middleware.Healthcheck{},
		"https_redirect":        middleware.HTTPSRedirect{},
		"json_body":             middleware.JSONBody{},
		"maintenance":           middleware.Maintenance{},
		"method_override":       middleware.MethodOverride{},
		"reverse_proxy":         middleware.ReverseProxy{},
		"rewrite":               middleware.Rewrite{Rules: []middleware.RewriteRule{{From: "/old", To: "/new"}}},
		"sse_heartbeat":         middleware.SSEHeartbeat{},
		"sse_retry":             middleware.SSERetry{},
		"static":                &apps.Static{Files: apps.File{Root: b.TempDir()}, Path: []string{"/static"}},
		"trusted_hosts":         middleware.TrustedHosts{Hosts: []string{"www.example.org"}},
		"websocket_compression": middleware.WebSocketCompression{},
		"websocket_heartbeat":   middleware.WebSocketHeartbeat{},
		"websocket_rate_limit":  middleware.WebSocketRateLimit{},
		"when":                  middleware.When{If: never, Use: middleware.RequestID{}},
		"gzip":                  middleware.GZip{},
		"etag":                  middleware.ETag{},
		"content_length":        middleware.ContentLength{},
		"xsendfile":             middleware.XSendfile{Type: "X-Sendfile"},
		"error_handler":         middleware.ErrorHandler{},
	}
	app := answering(pagi.HTTPResponseStart{Status: 204}, pagi.HTTPResponseBody{})
	headers := pagi.NewHeaders("host", "www.example.org")
	b.Run("bare", func(b *testing.B) { serveAgain(b, app, headers) })
	all := app
	for name, m := range idle {
		b.Run(name, func(b *testing.B) { serveAgain(b, m.Wrap(app), headers) })
		all = m.Wrap(all)
	}
	b.Run("all 30", func(b *testing.B) { serveAgain(b, all, headers) })
}
