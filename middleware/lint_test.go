package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
)

func ExampleLint() {
	app := answering(pagi.HTTPResponseStart{Status: 200, Headers: pagi.Headers{{Name: "Content-Type", Value: "text/plain"}}}, pagi.HTTPResponseBody{})
	lint := middleware.Lint{OnWarning: func(v *middleware.Violation) { fmt.Println(v.Rule, "-", v.Err) }}
	scope := &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Scheme: "http"}
	_ = lint.Wrap(app).Serve(context.Background(), scope, nil, func(context.Context, pagi.Event) error { return nil })
	// Output: header-case - http.response.start: 'headers' contains the name "Content-Type", which must be in lower case
}

func TestLint(t *testing.T) {
	start := pagi.HTTPResponseStart{Status: 200}
	with := func(status int, pairs ...string) pagi.Event {
		return pagi.HTTPResponseStart{Status: status, Headers: pagi.NewHeaders(pairs...)}
	}
	body := func(s string, more bool) pagi.Event { return pagi.HTTPResponseBody{Body: []byte(s), More: more} }
	http := pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Scheme: "http", Extensions: map[string]any{pagi.ExtFullFlush: struct{}{}}}
	sse := pagi.Scope{Type: pagi.TypeSSE, Method: "GET", Scheme: "http"}
	ws := pagi.Scope{Type: pagi.TypeWebSocket, Scheme: "ws"}
	denies := pagi.Scope{Type: pagi.TypeWebSocket, Scheme: "ws", Extensions: map[string]any{pagi.ExtDenialResponse: struct{}{}}}
	edit := func(s pagi.Scope, f func(*pagi.Scope)) pagi.Scope { f(&s); return s }
	for name, tc := range map[string]struct {
		scope pagi.Scope
		app   pagi.App
		rule  string // of the first violation; "": none
	}{
		"a good response":               {http, answering(start, body("a", true), pagi.HTTPFullFlush{}, body("b", false)), ""},
		"a good response with trailers": {http, answering(pagi.HTTPResponseStart{Status: 200, Trailers: true}, body("a", false), pagi.HTTPResponseTrailers{}), ""},
		"a good response with a length": {http, answering(with(200, "content-length", "2"), body("a", true), body("b", false)), ""},
		"a good response to HEAD":       {edit(http, func(s *pagi.Scope) { s.Method = "HEAD" }), answering(with(200, "content-length", "2"), body("", false)), ""},
		"a good file":                   {http, answering(with(200, "content-length", "2"), pagi.HTTPResponseBody{File: "/x"}), ""},
		"a good event stream":           {sse, answering(pagi.SSEStart{}, pagi.SSESend{Data: "x"}, pagi.SSEClose{}), ""},
		"a good refusal of a stream":    {sse, answering(pagi.SSEHTTPResponseStart{Status: 404}, pagi.SSEHTTPResponseBody{}), ""},
		"a good WebSocket":              {ws, answering(pagi.WebSocketAccept{}, pagi.WebSocketSend{Text: "x"}, pagi.WebSocketClose{}), ""},
		"a good denial":                 {denies, answering(pagi.WebSocketHTTPResponseStart{Status: 403}, pagi.WebSocketHTTPResponseBody{}), ""},
		"a good lifespan":               {pagi.Scope{Type: pagi.TypeLifespan}, answering(pagi.LifespanStartupComplete{}, pagi.LifespanShutdownComplete{}), ""},
		"an error of the application":   {http, failing(errors.New("x")), ""},
		"an unknown scope":              {pagi.Scope{Type: "mail"}, answering(), "scope-type"},
		"a scope without a method":      {edit(http, func(s *pagi.Scope) { s.Method = "" }), answering(start, body("", false)), "scope-fields"},
		"a scope with another scheme":   {edit(ws, func(s *pagi.Scope) { s.Scheme = "http" }), answering(pagi.WebSocketClose{}), "scope-fields"},
		"a root path with a slash":      {edit(http, func(s *pagi.Scope) { s.RootPath = "/x/" }), answering(start, body("", false)), "scope-fields"},
		"a header of the scope":         {edit(http, func(s *pagi.Scope) { s.Headers = pagi.Headers{{Name: "Host"}} }), answering(start, body("", false)), "scope-headers"},
		"an event of another scope":     {http, answering(pagi.SSEStart{}), "event-kind"},
		"a status that is none":         {http, answering(with(99)), "event-field"},
		"a header with a line break":    {http, answering(with(200, "a", "b\r\nc: d")), "event-field"},
		"two starts":                    {http, answering(start, start), "event-order"},
		"a body first":                  {http, answering(body("", false)), "event-order"},
		"a body after the end":          {http, answering(start, body("", false), body("", false)), "event-order"},
		"an accept after a denial":      {denies, answering(pagi.WebSocketHTTPResponseStart{Status: 403}, pagi.WebSocketAccept{}), "event-order"},
		"a message before the accept":   {ws, answering(pagi.WebSocketSend{Text: "x"}), "event-order"},
		"two startups":                  {pagi.Scope{Type: pagi.TypeLifespan}, answering(pagi.LifespanStartupComplete{}, pagi.LifespanStartupComplete{}), "event-order"},
		"a denial that is not offered":  {ws, answering(pagi.WebSocketHTTPResponseStart{Status: 403}), "event-offered"},
		"a header in upper case":        {ws, answering(pagi.WebSocketAccept{Headers: pagi.Headers{{Name: "X-A"}}}), "header-case"},
		"a body that is too long":       {http, answering(with(200, "content-length", "1"), body("ab", false)), "body-length"},
		"a body that is too short":      {http, answering(with(200, "content-length", "3"), body("ab", false)), "body-length"},
		"a body that must not be":       {http, answering(with(204), body("ab", false)), "body-forbidden"},
		"no response":                   {http, answering(), "incomplete"},
		"no end of the body":            {http, answering(start, body("a", true)), "incomplete"},
		"no trailers":                   {http, answering(pagi.HTTPResponseStart{Status: 200, Trailers: true}, body("a", false)), "incomplete"},
		"a changed scope": {http, pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, send pagi.Send) error {
			s.Path = "/mine"
			return answering(start, body("", false)).Serve(ctx, s, r, send)
		}), "scope-changed"},
		"a receive within a receive": {http, pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
			_, err := receive(context.WithValue(ctx, nested{}, receive))
			return errors.Join(err, answering(start, body("", false)).Serve(ctx, s, receive, send))
		}), "receive-twice"},
	} {
		receive := func(ctx context.Context) (pagi.Event, error) {
			if inner, is := ctx.Value(nested{}).(pagi.Receive); is {
				return inner(context.Background())
			}
			return pagi.HTTPRequest{}, nil
		}
		sent := 0
		send := func(context.Context, pagi.Event) error { sent++; return nil }
		var seen []string
		lenient := middleware.Lint{OnWarning: func(v *middleware.Violation) { seen = append(seen, string(v.Rule)) }}
		scope := tc.scope
		own := lenient.Wrap(tc.app).Serve(t.Context(), &scope, receive, send)
		if got := strings.Join(seen, " "); tc.rule == "" && got != "" || tc.rule != "" && (len(seen) == 0 || seen[0] != tc.rule) {
			t.Errorf("%s: %q, want %q", name, got, tc.rule)
		}
		scope = tc.scope
		err := middleware.Lint{Strict: true}.Wrap(tc.app).Serve(t.Context(), &scope, receive, send)
		var v *middleware.Violation
		if errors.As(err, &v); tc.rule == "" && err != own || tc.rule != "" && (v == nil || string(v.Rule) != tc.rule || v.Section == "" || !strings.Contains(err.Error(), tc.rule)) {
			t.Errorf("%s, strict: %v", name, err)
		}
		scope = tc.scope
		var log bytes.Buffer
		_ = middleware.Lint{Logger: slog.New(slog.NewTextHandler(&log, nil))}.Wrap(tc.app).Serve(t.Context(), &scope, receive, send)
		if logged := strings.Contains(log.String(), "rule="+tc.rule); logged != (tc.rule != "") && tc.rule != "" || tc.rule == "" && log.Len() > 0 {
			t.Errorf("%s: the log has %s", name, log.String())
		}
	}
}

type nested struct{}

func TestLintKeepsTheApplicationsError(t *testing.T) {
	own := errors.New("own")
	app := pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, send pagi.Send) error {
		_ = send(ctx, pagi.HTTPResponseBody{})
		return own
	})
	scope := &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Scheme: "http"}
	err := middleware.Lint{Strict: true}.Wrap(app).Serve(t.Context(), scope, nil, nil)
	if !errors.Is(err, own) || !strings.Contains(err.Error(), "event-order") {
		t.Error(err)
	}
	err = middleware.Lint{Strict: true, Disabled: true}.Wrap(failing(own)).Serve(t.Context(), scope, nil, nil)
	if err != own {
		t.Error(err)
	}
}

func TestLintSeesWhatComesAfterTheReturn(t *testing.T) {
	var kept pagi.Send
	var receiveKept pagi.Receive
	app := pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		kept, receiveKept = send, receive
		return answering(pagi.HTTPResponseStart{Status: 200}, pagi.HTTPResponseBody{}).Serve(ctx, s, receive, send)
	})
	scope := &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Scheme: "http"}
	if err := (middleware.Lint{Strict: true}).Wrap(app).Serve(t.Context(), scope, nil, func(context.Context, pagi.Event) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := kept(t.Context(), pagi.HTTPResponseBody{}); err == nil || !strings.Contains(err.Error(), "after-return") {
		t.Error(err)
	}
	if _, err := receiveKept(t.Context()); err == nil || !strings.Contains(err.Error(), "after-return") {
		t.Error(err)
	}
}
