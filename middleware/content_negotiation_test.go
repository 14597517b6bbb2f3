package middleware_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

func ExampleContentNegotiation() {
	app := middleware.ContentNegotiation{SupportedTypes: []string{"html", "json"}}.Wrap(pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
		return respond(200, s.Value(scopekey.PreferredContentType).(string)).Serve(ctx, s, r, w)
	}))
	res := pagitest.New(app).Get("/", pagitest.Header("accept", "text/*;q=0.5, application/json"))
	fmt.Println(res.Text(), res.Header("vary"))
	// Output: application/json accept
}

func TestContentNegotiation(t *testing.T) {
	three := []string{"application/json", "text/html", "text/plain"}
	two := three[:2]
	for _, c := range []struct {
		name     string
		m        middleware.ContentNegotiation
		accept   string
		want     string
		accepted []string
	}{
		{"the highest weight", middleware.ContentNegotiation{SupportedTypes: three}, "text/html, application/json;q=0.9", "text/html", []string{"text/html", "application/json"}},
		{"all types", middleware.ContentNegotiation{SupportedTypes: two}, "*/*", "application/json", []string{"*/*"}},
		{"a range", middleware.ContentNegotiation{SupportedTypes: two}, "text/*", "text/html", []string{"text/*"}},
		{"the default", middleware.ContentNegotiation{SupportedTypes: two, DefaultType: "text/plain"}, "application/xml", "text/plain", []string{"application/xml"}},
		{"the default as a short name", middleware.ContentNegotiation{SupportedTypes: two, DefaultType: "text"}, "application/xml", "text/plain", []string{"application/xml"}},
		{"the first one by default", middleware.ContentNegotiation{SupportedTypes: two}, "application/xml", "application/json", []string{"application/xml"}},
		{"no header", middleware.ContentNegotiation{SupportedTypes: two, Strict: true}, "", "application/json", []string{"*/*"}},
		{"strict", middleware.ContentNegotiation{SupportedTypes: two, Strict: true}, "application/xml", "406", nil},
		{"strict with a weight of zero", middleware.ContentNegotiation{SupportedTypes: two, Strict: true}, "text/html;q=0, application/json;q=0", "406", nil},
		{"strict with a type that fits", middleware.ContentNegotiation{SupportedTypes: two, Strict: true}, "text/html", "text/html", []string{"text/html"}},
		{"a browser", middleware.ContentNegotiation{SupportedTypes: two}, "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html",
			[]string{"text/html", "application/xhtml+xml", "application/xml", "*/*"}},
		{"a type that is refused", middleware.ContentNegotiation{SupportedTypes: two}, "*/*, application/json;q=0", "text/html", []string{"*/*"}},
		{"the more specific ones first", middleware.ContentNegotiation{SupportedTypes: three}, "*/*, text/*, text/plain, text/html;level=1", "text/plain",
			[]string{"text/html", "text/plain", "text/*", "*/*"}},
		{"a parameter", middleware.ContentNegotiation{SupportedTypes: []string{"text/html; level=1", "text/html"}}, "text/html;level=1", "text/html; level=1", []string{"text/html"}},
		{"a header that is broken", middleware.ContentNegotiation{SupportedTypes: two, Strict: true}, "=, ,", "application/json", []string{"*/*"}},
	} {
		var found *pagi.Scope
		app := pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
			found = s
			return hello.Serve(ctx, s, r, w)
		})
		var opts []pagitest.Option
		if c.accept != "" {
			opts = append(opts, pagitest.Header("accept", c.accept))
		}
		res := pagitest.New(c.m.Wrap(app)).Get("/", opts...)
		if res.Err != nil || res.Header("vary") != "accept" {
			t.Errorf("%s: %v, %v", c.name, res.Headers, res.Err)
		}
		if c.want == "406" {
			if found != nil || res.Status != 406 || !strings.Contains(res.Text(), "application/json, text/html") {
				t.Errorf("%s: %d %s", c.name, res.Status, res.Text())
			}
			continue
		}
		if got := found.Value(scopekey.PreferredContentType); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
		if diff := cmp.Diff(any(c.accepted), found.Value(scopekey.AcceptedTypes)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	for want, m := range map[string]middleware.ContentNegotiation{
		`supported_types: name the media types`:                 {},
		`supported_types: "text/*" is no media type`:            {SupportedTypes: []string{"text/*"}},
		`supported_types: "a b" is no media type`:               {SupportedTypes: []string{"a b"}},
		"supported_types: \"text/html;a=\\n\" must not contain": {SupportedTypes: []string{"text/html;a=\n"}},
		`default_type: "/x" is no media type`:                   {SupportedTypes: two, DefaultType: "/x"},
		`default_type: has no meaning with strict`:              {SupportedTypes: two, DefaultType: "json", Strict: true},
	} {
		if err := m.Check(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		if res := pagitest.New(m.Wrap(hello)).Get("/"); res.Status != 500 {
			t.Errorf("a request with a wrong option: %d", res.Status)
		}
	}
}

func TestContentNegotiationInOtherScopes(t *testing.T) {
	var found bodySeen
	client := pagitest.New(middleware.ContentNegotiation{SupportedTypes: []string{"html"}, Strict: true}.Wrap(lookAtBody(&found)))
	if res := client.Get("/", pagitest.AcceptEvents()); res.Status != 406 || res.Err != nil || found.called {
		t.Errorf("an event stream that there is not: %d %v", res.Status, res.Err)
	}
	ws := client.WebSocket("/", pagitest.Header("accept", "text/plain"))
	if !ws.Accepted || ws.Headers.Has("vary") {
		t.Errorf("a WebSocket: %v", ws.Headers)
	}
	ws.Finish()
	client = pagitest.New(middleware.ContentNegotiation{SupportedTypes: []string{"text/event-stream"}, Strict: true}.Wrap(lookAtBody(&found)))
	if res := client.Get("/", pagitest.AcceptEvents()); res.Status != 200 || res.Header("vary") != "accept" || !found.sse {
		t.Errorf("an event stream: %d %v", res.Status, res.Err)
	}
}
