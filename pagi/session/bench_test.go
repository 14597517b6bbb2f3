package session_test

import (
	"context"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/session"
)

// BenchmarkSession measures one request through a Manager: to read a value, to change one, and to
// do neither.
func BenchmarkSession(b *testing.B) {
	keys := []session.Key{{ID: "k", Secret: make([]byte, 32)}}
	for _, store := range []struct {
		name  string
		store session.Store
	}{
		{"memory", &session.Memory{}},
		{"sealed cookie", &session.CookieStore{Keys: keys}},
		{"signed cookie", &session.CookieStore{Keys: keys, Signed: true}},
	} {
		n := 0
		for _, work := range []struct {
			name string
			do   func(s *session.Session) error
		}{
			{"untouched", func(*session.Session) error { return nil }},
			{"read", func(s *session.Session) error { _, err := session.Value[string](s, "user"); return err }},
			{"read and save", func(s *session.Session) error { n++; return s.Set("n", n) }},
		} {
			b.Run(store.name+"/"+work.name, func(b *testing.B) {
				do := func(s *session.Session) error { return s.Set("user", "ann") }
				app := session.Manager{Store: store.store}.Wrap(pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
					s, _ := session.FromScope(scope)
					if err := do(s); err != nil {
						return err
					}
					return send(ctx, pagi.HTTPResponseStart{Status: 200})
				}))
				cookie := ""
				scope := &pagi.Scope{Type: pagi.TypeHTTP}
				serve := func() {
					err := app.Serve(b.Context(), scope, nil, func(_ context.Context, ev pagi.Event) error {
						if line := ev.(pagi.HTTPResponseStart).Headers.Get("set-cookie"); cookie == "" {
							cookie = line
						}
						return nil
					})
					if err != nil {
						b.Fatal(err)
					}
				}
				serve()
				scope.Headers = pagi.Headers{{Name: "cookie", Value: cookie}}
				do = work.do
				b.ReportAllocs()
				for b.Loop() {
					serve()
				}
			})
		}
	}
}
