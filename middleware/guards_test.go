package middleware_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func TestZeroValuesOfGuards(t *testing.T) {
	for _, m := range []pagi.Middleware{
		middleware.CORS{}, middleware.CSRF{}, middleware.RateLimit{}, middleware.SSEHeartbeat{}, middleware.SSERetry{}, middleware.Session{},
		middleware.Timeout{}, middleware.WebSocketCompression{}, middleware.WebSocketHeartbeat{}, middleware.WebSocketRateLimit{},
	} {
		if err := pagi.Check(m); err != nil {
			t.Errorf("the zero value of %T: %v", m, err)
		}
		app := m.Wrap(pagi.AppFunc(func(_ context.Context, s *pagi.Scope, _ pagi.Receive, _ pagi.Send) error { return pagi.Unsupported(s) }))
		if err := app.Serve(t.Context(), &pagi.Scope{Type: pagi.TypeLifespan}, nil, nil); !errors.Is(err, pagi.ErrUnsupported) {
			t.Errorf("%T does not pass lifespan on: %v", m, err)
		}
		if res := pagitest.New(m.Wrap(hello)).Get("/"); res.Text() != "hello" || res.Err != nil {
			t.Errorf("%T: %q %v", m, res.Text(), res.Err)
		}
		if len(shared) != 1 {
			t.Fatalf("%T has changed the application's own headers: %v", m, shared)
		}
	}
}

// An origin that is let in by a pattern is one below its name for everybody who parses it.
func FuzzOrigins(f *testing.F) {
	for _, seed := range []string{"https://a.example.org", "https://example.org", "https://a.example.org.evil", "https://evil#.example.org", "https://a@b.example.org"} {
		f.Add(seed)
	}
	app := middleware.CORS{Origins: []string{"https://*.example.org"}}.Wrap(hello)
	f.Fuzz(func(t *testing.T, origin string) {
		var allowed string
		send := func(_ context.Context, ev pagi.Event) error {
			if start, is := ev.(pagi.HTTPResponseStart); is {
				allowed = start.Headers.Get("access-control-allow-origin")
			}
			return nil
		}
		if err := app.Serve(t.Context(), &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Headers: pagi.Headers{{Name: "origin", Value: origin}}}, nil, send); err != nil {
			t.Fatal(err)
		}
		if allowed == "" {
			return
		}
		u, err := url.Parse(allowed)
		if err != nil || allowed != origin || u.Scheme != "https" || !strings.HasSuffix(u.Host, ".example.org") || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
			t.Errorf("%q is allowed: %+v %v", origin, u, err)
		}
	})
}

// A token that CSRF has not made is never valid, whatever cookie comes with it.
func FuzzCSRFToken(f *testing.F) {
	f.Add("csrf_token=a.b", "x")
	f.Add("csrf_token="+strings.Repeat("A", 43)+"."+strings.Repeat("A", 43), strings.Repeat("A", 86))
	app := middleware.CSRF{Mode: "token", Secret: csrfSecret}.Wrap(hello)
	f.Fuzz(func(t *testing.T, cookie, token string) {
		if strings.TrimSpace(token) == "" {
			return
		}
		scope := &pagi.Scope{Type: pagi.TypeHTTP, Method: "POST", Headers: pagi.Headers{{Name: "cookie", Value: cookie}, {Name: "x-csrf-token", Value: token}}}
		send := func(_ context.Context, ev pagi.Event) error {
			if start, is := ev.(pagi.HTTPResponseStart); is && start.Status != 403 {
				t.Errorf("%q, %q: %d", cookie, token, start.Status)
			}
			return nil
		}
		if err := app.Serve(t.Context(), scope, nil, send); err != nil {
			t.Fatal(err)
		}
	})
}
