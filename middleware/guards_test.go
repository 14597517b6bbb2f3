package middleware_test

import (
	"context"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/site"
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

func TestGuardsInASiteFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "site.yaml")
	for options, want := range map[string]pagi.Middleware{
		"cors: {origins: https://a.example, max_age: 0, any_websocket: true}": &middleware.CORS{Origins: []string{"https://a.example"}, MaxAge: -1, AnyWebSocket: true},
		"cors: {max_age: 3600}": &middleware.CORS{MaxAge: time.Hour},
		"csrf: {mode: token, secret: '${CSRF_SECRET}', max_form: 2MiB}":                     &middleware.CSRF{Mode: "token", Secret: csrfSecret, MaxForm: 2 << 20},
		"rate_limit: {requests: 5, period: 1m, key: [address, header X-Key], headers: off}": &middleware.RateLimit{Requests: 5, Period: time.Minute, Key: []string{"address", "header X-Key"}, Headers: "off"},
		"timeout: {timeout: 5, until: start}":                                               &middleware.Timeout{Timeout: 5 * time.Second, Until: "start"},
		"websocket_heartbeat: {timeout: 0}":                                                 &middleware.WebSocketHeartbeat{Timeout: -1},
		"websocket_rate_limit: {bytes_per_second: 64KiB}":                                   &middleware.WebSocketRateLimit{BytesPerSecond: 64 << 10},
		"websocket_compression: {min_size: 1KB, off: true}":                                 &middleware.WebSocketCompression{MinSize: 1000, Off: true},
		"websocket_compression: {min_size: 0}":                                              &middleware.WebSocketCompression{MinSize: -1},
		"sse_heartbeat: {interval: 10s}":                                                    &middleware.SSEHeartbeat{Interval: 10 * time.Second},
		"https_redirect: {hsts: true, hsts_max_age: 0}":                                     &middleware.HTTPSRedirect{HSTS: true, HSTSMaxAge: -1},
		"https_redirect: {hsts_max_age: 3600}":                                              &middleware.HTTPSRedirect{HSTSMaxAge: time.Hour},
		"sse_retry: {retry: 0, events: every}":                                              &middleware.SSERetry{Retry: -1, Events: "every"},
	} {
		t.Setenv("CSRF_SECRET", csrfSecret)
		if err := os.WriteFile(file, []byte("middleware:\n  - "+options+"\nmounts:\n  - {path: /, not_found: {}}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := site.Load(file)
		if err == nil {
			_, err = s.Build()
		}
		if err != nil {
			t.Errorf("%s: %v", options, err)
		} else if diff := cmp.Diff(want, s.Middleware[0].Part); diff != "" {
			t.Errorf("%s: %s", options, diff)
		}
	}
}

// allGuards puts every guard around an application.
func allGuards(app pagi.App) pagi.App {
	return pagi.Chain(app, middleware.CORS{}, middleware.RateLimit{Burst: 1000}, middleware.Session{}, middleware.CSRF{Mode: "token"}, middleware.Timeout{Streams: true},
		middleware.SSEHeartbeat{}, middleware.SSERetry{}, middleware.WebSocketCompression{}, middleware.WebSocketHeartbeat{}, middleware.WebSocketRateLimit{})
}

func TestGuardsHoldNothingBack(t *testing.T) {
	next := make(chan struct{})
	app := allGuards(pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
			return err
		}
		for i := range 5 {
			if err := send(ctx, pagi.HTTPResponseBody{Body: []byte{'a' + byte(i)}, More: i < 4}); err != nil {
				return err
			}
			if i < 4 {
				<-next
			}
		}
		return nil
	}))
	x := pagitest.New(app).Begin("GET", "/")
	for got := ""; len(got) < 5; {
		ev, ok := x.Next()
		if !ok {
			t.Fatalf("it ends after %q", got)
		}
		if body, is := ev.(pagi.HTTPResponseBody); is && len(body.Body) > 0 {
			if got += string(body.Body); len(got) < 5 {
				next <- struct{}{}
			}
		}
	}
	if res := x.Finish(); res.Text() != "abcde" || res.Err != nil {
		t.Errorf("%q %v", res.Text(), res.Err)
	}
}

func TestGuardsPassEveryEventOn(t *testing.T) {
	file := strings.NewReader("0123")
	want := []pagi.Event{
		pagi.HTTPResponseInformational{Status: 103, Headers: pagi.NewHeaders("link", "</x>")}, pagi.HTTPFullFlush{},
		pagi.HTTPResponseStart{Status: 200, Trailers: true}, pagi.HTTPResponseBody{Body: []byte("x"), More: true}, pagi.HTTPFullFlush{},
		pagi.HTTPResponseBody{FH: file, Offset: 1, Length: 2}, pagi.HTTPResponseTrailers{Headers: pagi.NewHeaders("x-sum", "1")},
	}
	var got []pagi.Event
	send := func(_ context.Context, ev pagi.Event) error {
		if start, is := ev.(pagi.HTTPResponseStart); is {
			start.Headers = nil
			ev = start
		}
		got = append(got, ev)
		return nil
	}
	if err := allGuards(answering(want...)).Serve(t.Context(), &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Path: "/"}, nil, send); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b io.Reader) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

// A 0 does not silently become the default of an option that has no use for it.
func TestGuardsRefuseAZeroInASiteFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "site.yaml")
	for _, option := range []string{
		"rate_limit: {requests: 0}", "rate_limit: {period: 0}", "rate_limit: {burst: 0}", "rate_limit: {max_keys: 0}", "rate_limit: {ipv6_prefix: 0}",
		"timeout: {timeout: 0}", "websocket_heartbeat: {interval: 0}", "sse_heartbeat: {interval: 0}", "csrf: {max_form: 0}", "json_body: {max_depth: 0}",
		"session: {max_sessions: 0}", "websocket_rate_limit: {messages_per_second: 0}", "websocket_rate_limit: {bytes_per_second: 0}",
		"websocket_rate_limit: {burst_multiplier: 0}", "healthcheck: {timeout: 0}",
	} {
		if err := os.WriteFile(file, []byte("middleware:\n  - "+option+"\nmounts:\n  - {path: /, not_found: {}}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := site.Load(file); err == nil || !strings.Contains(err.Error(), "must be more than 0") {
			t.Errorf("%s: %v", option, err)
		}
	}
}
