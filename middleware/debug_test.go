package middleware_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func htmlPage(body string, pairs ...string) pagi.App {
	headers := append(pagi.NewHeaders("content-type", "text/html; charset=utf-8"), pagi.NewHeaders(pairs...)...)
	return answering(pagi.HTTPResponseStart{Status: 200, Headers: headers}, pagi.HTTPResponseBody{Body: []byte(body[:1]), More: true}, pagi.HTTPResponseBody{Body: []byte(body[1:])})
}

func ExampleDebug() {
	res := pagitest.New(middleware.Debug{Enabled: true}.Wrap(htmlPage("<p>Hello"))).Get("/")
	fmt.Println(strings.HasPrefix(res.Text(), "<p>Hello"), strings.Contains(res.Text(), "200 GET /"))
	// Output: true true
}

func TestDebug(t *testing.T) {
	all := []string{"Timing", "until it was complete", "Scope", "root_path", "Request headers", "user-agent", "Response headers", "x-app"}
	for name, tc := range map[string]struct {
		m          middleware.Debug
		app        pagi.App
		has, lacks []string
	}{
		"a page":                {middleware.Debug{Enabled: true}, htmlPage("<p>x", "x-app", "1"), all, nil},
		"not enabled":           {middleware.Debug{}, htmlPage("<p>x", "x-app", "1"), nil, all},
		"in development":        {middleware.Debug{Enabled: true, Environment: "development"}, htmlPage("<p>x", "x-app", "1"), all, nil},
		"without headers":       {middleware.Debug{Enabled: true, HideHeaders: true}, htmlPage("<p>x", "x-app", "1"), all[:4], all[4:]},
		"without the scope":     {middleware.Debug{Enabled: true, HideScope: true}, htmlPage("<p>x", "x-app", "1"), all[4:], all[2:4]},
		"without timing":        {middleware.Debug{Enabled: true, HideTiming: true}, htmlPage("<p>x", "x-app", "1"), all[2:], all[:2]},
		"a text":                {middleware.Debug{Enabled: true}, hello, nil, all},
		"a compressed page":     {middleware.Debug{Enabled: true}, htmlPage("<p>x", "content-encoding", "gzip"), nil, all},
		"a page without a body": {middleware.Debug{Enabled: true}, answering(pagi.HTTPResponseStart{Status: 304, Headers: pagi.NewHeaders("content-type", "text/html")}, pagi.HTTPResponseBody{}), nil, all},
		"what a client sends":   {middleware.Debug{Enabled: true}, htmlPage("<p>x"), []string{"&lt;script&gt;"}, []string{"<script>"}},
	} {
		res := pagitest.New(tc.m.Wrap(tc.app)).Get(`/?<script>alert(1)</script>`, pagitest.Header("user-agent", `"><script>alert(2)</script>`))
		for _, want := range tc.has {
			if !strings.Contains(res.Text(), want) {
				t.Errorf("%s: the page lacks %q: %s", name, want, res.Text())
			}
		}
		for _, not := range tc.lacks {
			if strings.Contains(res.Text(), not) {
				t.Errorf("%s: the page has %q", name, not)
			}
		}
		if res.Err != nil {
			t.Errorf("%s: %v", name, res.Err)
		}
	}
	sized := htmlPage("<p>x", "content-length", "4", "etag", `"x"`)
	res := pagitest.New(middleware.Debug{Enabled: true}.Wrap(sized)).Get("/")
	if res.Err != nil || res.Headers.Has("content-length") || res.Headers.Has("etag") || !strings.Contains(res.Text(), "content-length") {
		t.Errorf("%v %v", res.Err, res.Headers)
	}
	if res := pagitest.New(middleware.Debug{Enabled: true}.Wrap(sized)).Head("/"); res.Header("content-length") != "4" {
		t.Errorf("HEAD: %v", res.Headers)
	}
	checkFails(t, middleware.Debug{Enabled: true, Environment: "production"}, "enabled: must be false in the environment production, because the panel shows visitors what is not for them")
}
