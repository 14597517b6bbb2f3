package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// probe is a middleware with a request on which it acts.
type probe struct {
	m     pagi.Middleware
	scope func(*pagi.Scope)
	body  string
	// respond are the events with which the application answers; nil stands for a page.
	respond []pagi.Event
}

// probes has one for every middleware. seen is written to by those that leave no other trace.
func probes(t *testing.T, seen *bytes.Buffer) map[string]probe {
	header := func(pairs ...string) func(*pagi.Scope) {
		return func(s *pagi.Scope) { s.Headers = append(s.Headers, pagi.NewHeaders(pairs...)...) }
	}
	method := func(name string, pairs ...string) func(*pagi.Scope) {
		return func(s *pagi.Scope) {
			if s.Type != pagi.TypeWebSocket {
				s.Method = name
			}
			header(pairs...)(s)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "page"), []byte("a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	asked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	t.Cleanup(asked.Close)
	page := func(pairs ...string) []pagi.Event {
		return []pagi.Event{pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders(pairs...)}, pagi.HTTPResponseBody{Body: bytes.Repeat([]byte("<p>page"), 300)}}
	}
	return map[string]probe{
		"access":                {m: middleware.Access{Deny: []string{"10.0.0.0/8"}}},
		"access_log":            {m: middleware.AccessLog{Output: seen}},
		"auth_forward":          {m: middleware.AuthForward{URL: asked.URL}},
		"auth_oidc":             {m: middleware.AuthOIDC{Issuer: "http://127.0.0.1:1", ClientID: "x", ClientSecret: "y", Secrets: []string{strings.Repeat("s", 32)}}},
		"basic_auth":            {m: middleware.BasicAuth{Users: map[string]string{"ann": "{PLAIN}x"}}},
		"bearer_auth":           {m: middleware.BearerAuth{Tokens: map[string]string{"ann": strings.Repeat("t", 32)}}},
		"conditional_get":       {m: middleware.ConditionalGet{}, scope: header("if-none-match", `"x"`), respond: page("etag", `"x"`)},
		"content_length":        {m: middleware.ContentLength{}},
		"content_negotiation":   {m: middleware.ContentNegotiation{SupportedTypes: []string{"text/html"}}},
		"cookie":                {m: middleware.Cookie{}, scope: header("cookie", "a=b")},
		"cors":                  {m: middleware.CORS{Origins: []string{"https://a.example"}}, scope: header("origin", "https://b.example")},
		"csrf":                  {m: middleware.CSRF{}, scope: method("POST", "origin", "https://evil.example", "sec-fetch-site", "cross-site")},
		"debug":                 {m: middleware.Debug{Enabled: true}, respond: page("content-type", "text/html")},
		"delayed":               {m: middleware.Delayed{Wait: func(context.Context, *pagi.Scope) error { fmt.Fprint(seen, "waits"); return nil }}},
		"error_handler":         {m: middleware.ErrorHandler{Logger: quiet}, respond: []pagi.Event{}},
		"etag":                  {m: middleware.ETag{}},
		"form_body":             {m: middleware.FormBody{}, scope: method("POST", "content-type", "application/x-www-form-urlencoded", "content-length", "3"), body: "a=b"},
		"gzip":                  {m: middleware.GZip{}, scope: header("accept-encoding", "gzip"), respond: page("content-type", "text/html")},
		"head":                  {m: middleware.Head{}, scope: method("HEAD")},
		"headers":               {m: middleware.Headers{Response: middleware.HeaderEdits{Set: map[string]string{"a": "b"}}}},
		"healthcheck":           {m: middleware.Healthcheck{Path: "/m/page"}},
		"https_redirect":        {m: middleware.HTTPSRedirect{}},
		"json_body":             {m: middleware.JSONBody{}, scope: method("POST", "content-type", "application/json", "content-length", "2"), body: "{}"},
		"lint":                  {m: middleware.Lint{OnWarning: func(v *middleware.Violation) { fmt.Fprint(seen, v.Rule) }}, scope: func(s *pagi.Scope) { s.Headers = append(s.Headers, pagi.Header{Name: "X-Up"}) }},
		"maintenance":           {m: middleware.Maintenance{Enabled: true}},
		"method_override":       {m: middleware.MethodOverride{}, scope: method("POST", "x-http-method-override", "PUT")},
		"rate_limit":            {m: middleware.RateLimit{Requests: 1}},
		"request_id":            {m: middleware.RequestID{}},
		"reverse_proxy":         {m: middleware.ReverseProxy{TrustedProxies: []string{"10.0.0.0/8"}}, scope: header("x-forwarded-for", "192.0.2.7")},
		"rewrite":               {m: middleware.Rewrite{Rules: []middleware.RewriteRule{{From: "/page", To: "/new"}}}},
		"runtime":               {m: middleware.Runtime{}},
		"security_headers":      {m: middleware.SecurityHeaders{}},
		"session":               {m: &middleware.Session{}},
		"sse_heartbeat":         {m: middleware.SSEHeartbeat{}},
		"sse_retry":             {m: middleware.SSERetry{}},
		"static":                {m: &apps.Static{Files: apps.File{Root: dir}}},
		"timeout":               {m: middleware.Timeout{}},
		"trusted_hosts":         {m: middleware.TrustedHosts{Hosts: []string{"other.example"}}},
		"websocket_compression": {m: middleware.WebSocketCompression{Off: true}},
		"websocket_heartbeat":   {m: middleware.WebSocketHeartbeat{}},
		"websocket_rate_limit":  {m: middleware.WebSocketRateLimit{}},
		"xsendfile":             {m: middleware.XSendfile{Type: "X-Sendfile"}, respond: []pagi.Event{pagi.HTTPResponseStart{Status: 200}, pagi.HTTPResponseBody{File: filepath.Join(dir, "page"), Length: pagi.ToEnd}}},
	}
}

// trace tells what the application saw and what the client got.
func trace(t *testing.T, typ string, p probe, m pagi.Middleware) string {
	t.Helper()
	var out strings.Builder
	scope := &pagi.Scope{
		Type: typ, Method: "GET", Scheme: "http", RootPath: "/m", Path: "/page", Client: pagi.Addr{Host: "10.0.0.1", Port: 1}, HTTPVersion: "1.1", Stash: &pagi.Stash{},
		Headers: pagi.NewHeaders("host", "example.org"), Extensions: map[string]any{pagi.ExtDenialResponse: struct{}{}}, Notes: &pagi.LogNotes{},
	}
	if typ == pagi.TypeWebSocket {
		scope.Method, scope.Scheme = "", "ws"
	}
	if p.scope != nil {
		p.scope(scope)
	}
	app := pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		fmt.Fprintln(&out, "scope", s.Method, s.Scheme, s.RootPath, s.Path, s.Client, s.Headers, s.Stash.Keys(), ctx == t.Context())
		for _, key := range []string{scopekey.Session, scopekey.Cookies, scopekey.ParsedBody, scopekey.Auth, scopekey.CSRFToken, scopekey.RequestID, scopekey.AcceptedTypes, scopekey.OriginalMethod, scopekey.WebSocketRateLimit} {
			fmt.Fprint(&out, s.Value(key) != nil, " ")
		}
		for _, ev := range eventsOf(typ, p) {
			if err := send(ctx, ev); err != nil {
				return err
			}
		}
		if p.respond != nil && len(p.respond) == 0 {
			return errors.New("broken")
		}
		return nil
	})
	receive := func(context.Context) (pagi.Event, error) {
		switch typ {
		case pagi.TypeSSE:
			return pagi.SSERequest{Body: []byte(p.body)}, nil
		case pagi.TypeWebSocket:
			return pagi.WebSocketConnect{}, nil
		}
		return pagi.HTTPRequest{Body: []byte(p.body)}, nil
	}
	err := m.Wrap(app).Serve(t.Context(), scope, receive, func(_ context.Context, ev pagi.Event) error {
		fmt.Fprintf(&out, "\n%T %v", ev, ev)
		return nil
	})
	fmt.Fprint(&out, "\n", err)
	return out.String()
}

// eventsOf returns what the application sends.
func eventsOf(typ string, p probe) []pagi.Event {
	switch {
	case p.respond != nil && (typ == pagi.TypeHTTP || len(p.respond) == 0):
		return p.respond
	case typ == pagi.TypeHTTP:
		return []pagi.Event{pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "text/html")}, pagi.HTTPResponseBody{Body: []byte("<p>page")}}
	case typ == pagi.TypeSSE:
		return []pagi.Event{pagi.SSEStart{}, pagi.SSESend{Data: "x"}, pagi.SSEClose{}}
	}
	return []pagi.Event{pagi.WebSocketAccept{}, pagi.WebSocketSend{Text: "x"}, pagi.WebSocketClose{}}
}

// documentedScopes reads the table of docs/middleware.md.
func documentedScopes(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../docs/middleware.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Scopes\n")
	section, _, _ = strings.Cut(section, "\n## ")
	table := map[string]string{}
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || !strings.HasPrefix(line, "| `") {
			continue
		}
		for name := range strings.SplitSeq(cells[1], ",") {
			acts := ""
			for i, typ := range []string{"http", "sse", "websocket"} {
				if strings.TrimSpace(cells[2+i]) == "yes" {
					acts += typ + " "
				}
			}
			table[strings.Trim(name, " `")] = strings.TrimSpace(acts)
		}
	}
	return table
}

// Every middleware acts on the scopes that the documentation names, and on no others. All four kinds
// of scopes go through every one.
func TestEveryMiddlewareActsOnItsScopes(t *testing.T) {
	var seen bytes.Buffer
	all := probes(t, &seen)
	if diff := cmp.Diff(parts.MiddlewareNames(), slices.Sorted(func(yield func(string) bool) {
		for name := range all {
			if !yield(name) {
				return
			}
		}
	})); diff != "" {
		t.Fatalf("registered (-), tested (+): %s", diff)
	}
	got := map[string]string{}
	for name, p := range all {
		if err := pagi.Check(p.m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		acts := ""
		for _, typ := range []string{pagi.TypeHTTP, pagi.TypeSSE, pagi.TypeWebSocket} {
			seen.Reset()
			with := trace(t, typ, p, p.m)
			without := trace(t, typ, p, pagi.MiddlewareFunc(func(next pagi.App) pagi.App { return next }))
			if with != without || seen.Len() > 0 {
				acts += typ + " "
			}
		}
		got[name] = strings.TrimSpace(acts)

		started := false
		hooks := lifespan.Hooks{Startup: []func(context.Context, map[string]any) error{func(context.Context, map[string]any) error { started = true; return nil }}}
		life, err := lifespan.Start(t.Context(), p.m.Wrap(hooks.Wrap(hello)), &pagi.Scope{Type: pagi.TypeLifespan})
		if err != nil || !started {
			t.Errorf("%s: the lifespan scope: %v, started %v", name, err, started)
			continue
		}
		if err := life.Shutdown(t.Context()); err != nil {
			t.Errorf("%s: the end of the lifespan: %v", name, err)
		}
	}
	if diff := cmp.Diff(got, documentedScopes(t)); diff != "" {
		t.Errorf("acts on (-), documented (+): %s", diff)
	}
}
