package middleware_test

import (
	"context"
	"testing"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/session"
)

// BenchmarkGuards measures what middleware in front of an application costs that does nothing else.
func BenchmarkGuards(b *testing.B) {
	start, body := pagi.Event(pagi.HTTPResponseStart{Status: 200, Headers: shared}), pagi.Event(pagi.HTTPResponseBody{Body: []byte("hello")})
	bare := pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		if err := send(ctx, start); err != nil {
			return err
		}
		return send(ctx, body)
	})
	user := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if s, ok := session.FromScope(scope); ok && !s.Has("user") {
			if err := s.Set("user", "ann"); err != nil {
				return err
			}
		}
		return bare.Serve(ctx, scope, receive, send)
	})
	const fast = 1_000_000_000
	get := func(pairs ...string) *pagi.Scope {
		return &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Path: "/page", Headers: pagi.NewHeaders(append([]string{"host", "app.example", "user-agent", "x", "accept", "*/*"}, pairs...)...),
			Client: pagi.Addr{Host: "192.0.2.1", Port: 1234}, Stash: &pagi.Stash{}}
	}
	post := get("origin", "https://app.example", "sec-fetch-site", "same-origin")
	post.Method = "POST"
	var cookie string
	keep := session.Manager{Store: &session.Memory{}}
	if err := keep.Wrap(user).Serve(b.Context(), get(), nil, func(_ context.Context, ev pagi.Event) error {
		if start, is := ev.(pagi.HTTPResponseStart); is {
			cookie = start.Headers.Get("set-cookie")[:len("pagi_session=")+32]
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	v6 := get()
	v6.Client.Host = "2001:db8::1"
	for _, c := range []struct {
		name  string
		app   pagi.App
		scope *pagi.Scope
	}{
		{"Bare", bare, get()},
		{"CORS/NoOrigin", middleware.CORS{}.Wrap(bare), get()},
		{"CORS/Listed", middleware.CORS{Origins: []string{"https://*.example"}, Credentials: true}.Wrap(bare), get("origin", "https://app.example")},
		{"CSRF/Safe", middleware.CSRF{}.Wrap(bare), get()},
		{"CSRF/Post", middleware.CSRF{}.Wrap(bare), post},
		{"RateLimit", middleware.RateLimit{Requests: fast, Burst: fast}.Wrap(bare), get()},
		{"RateLimit/IPv6", middleware.RateLimit{Requests: fast, Burst: fast}.Wrap(bare), v6},
		{"RateLimit/NoHeaders", middleware.RateLimit{Requests: fast, Burst: fast, Headers: "off"}.Wrap(bare), get()},
		{"Session/Unused", middleware.Session{}.Wrap(bare), get()},
		{"Session/Memory", middleware.Session{Manager: keep}.Wrap(user), get("cookie", cookie)},
		{"Timeout", middleware.Timeout{}.Wrap(bare), get()},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			send := func(context.Context, pagi.Event) error { return nil }
			for b.Loop() {
				if err := c.app.Serve(b.Context(), c.scope, nil, send); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
