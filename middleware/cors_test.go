package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func ExampleCORS() {
	app := middleware.CORS{Origins: []string{"https://*.example.org"}, Credentials: true}.Wrap(hello)
	res := pagitest.New(app).Get("/", pagitest.Header("origin", "https://app.example.org"))
	fmt.Println(res.Header("access-control-allow-origin"), res.Header("vary"))
	// Output: https://app.example.org origin
}

// corsHeaders returns the headers of CORS and vary, without "access-control-".
func corsHeaders(h pagi.Headers) map[string]string {
	got := map[string]string{}
	for _, x := range h {
		if name, is := strings.CutPrefix(x.Name, "access-control-"); is || name == "vary" {
			got[name] += x.Value
		}
	}
	return got
}

func TestCORS(t *testing.T) {
	own := answering(pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("vary", "Accept", "access-control-allow-origin", "*", "access-control-allow-origin", "x")}, pagi.HTTPResponseBody{})
	listed := middleware.CORS{Origins: []string{"https://A.example", "http://b.example:8080"}}
	type want = map[string]string
	for name, c := range map[string]struct {
		m      middleware.CORS
		app    pagi.App
		origin string
		want   want
	}{
		"a page of any origin":                    {middleware.CORS{}, hello, "https://x.example", want{"allow-origin": "*"}},
		"a request without an origin":             {middleware.CORS{}, hello, "", want{}},
		"a listed origin":                         {listed, hello, "https://a.example", want{"allow-origin": "https://a.example", "vary": "origin"}},
		"a listed origin with a port":             {listed, hello, "http://b.example:8080", want{"allow-origin": "http://b.example:8080", "vary": "origin"}},
		"no origin, but caches must know":         {listed, hello, "", want{"vary": "origin"}},
		"another origin, and caches must know":    {listed, hello, "https://evil.example", want{"vary": "origin"}},
		"another port":                            {listed, hello, "http://b.example", want{"vary": "origin"}},
		"another scheme":                          {listed, hello, "http://a.example", want{"vary": "origin"}},
		"the null origin is not all":              {listed, hello, "null", want{"vary": "origin"}},
		"the null origin when listed":             {middleware.CORS{Origins: []string{"null"}}, hello, "null", want{"allow-origin": "null", "vary": "origin"}},
		"credentials":                             {middleware.CORS{Origins: []string{"https://a.example"}, Credentials: true}, hello, "https://a.example", want{"allow-origin": "https://a.example", "allow-credentials": "true", "vary": "origin"}},
		"credentials are not for others":          {middleware.CORS{Origins: []string{"https://a.example"}, Credentials: true}, hello, "https://b.example", want{"vary": "origin"}},
		"exposed headers":                         {middleware.CORS{ExposeHeaders: []string{"X-A", "x-b"}}, hello, "https://a.example", want{"allow-origin": "*", "expose-headers": "x-a, x-b"}},
		"what the application says is replaced":   {listed, own, "https://a.example", want{"allow-origin": "https://a.example", "vary": "Accept, origin"}},
		"and removed for others":                  {listed, own, "https://evil.example", want{"vary": "Accept, origin"}},
		"a function, besides the list":            {middleware.CORS{AllowOrigin: func(_ *pagi.Scope, o string) bool { return o == "https://f.example" }}, hello, "https://f.example", want{"allow-origin": "https://f.example", "vary": "origin"}},
		"a function that refuses":                 {middleware.CORS{AllowOrigin: func(_ *pagi.Scope, o string) bool { return o == "https://f.example" }}, hello, "https://g.example", want{"vary": "origin"}},
		"a preflight is for OPTIONS":              {middleware.CORS{}, hello, "https://a.example", want{"allow-origin": "*"}},
		"nothing about methods in a plain answer": {middleware.CORS{Methods: []string{"PUT"}}, hello, "https://a.example", want{"allow-origin": "*"}},
	} {
		var opts []pagitest.Option
		if c.origin != "" {
			opts = append(opts, pagitest.Header("origin", c.origin))
		}
		res := pagitest.New(c.m.Wrap(c.app)).Get("/", opts...)
		if diff := cmp.Diff(c.want, corsHeaders(res.Headers)); diff != "" || res.Status != 200 || res.Err != nil {
			t.Errorf("%s: %d %v %s", name, res.Status, res.Err, diff)
		}
	}
}

func TestCORSOriginsBelowAName(t *testing.T) {
	app := middleware.CORS{Origins: []string{"https://*.example.org", "http://*.test.example:8080", "https://foo.foo.example"}}.Wrap(hello)
	for origin, allowed := range map[string]bool{
		"https://a.example.org":                  true,
		"https://a.b.example.org":                true,
		"http://x.test.example:8080":             true,
		"https://example.org":                    false,
		"https://.example.org":                   false,
		"https://..example.org":                  false,
		"https://evilexample.org":                false,
		"https://example.org.evil.example":       false,
		"https://a.example.org.evil.example":     false,
		"https://evil.example/.example.org":      false,
		"https://evil.example?.example.org":      false,
		"https://evil.example#.example.org":      false,
		"https://evil.example:80.example.org":    false,
		"https://evil.example@a.example.org":     false,
		"https://evil.example\\.example.org":     false,
		"https://evil.example%00.example.org":    false,
		"https://evil.example .example.org":      false,
		"http://a.example.org":                   false,
		"https://a.example.org:8443":             false,
		"https://a.example.org, https://evil.ex": false,
		"http://x.test.example":                  false,
		"https://foo.example":                    false,
		"null":                                   false,
	} {
		res := pagitest.New(app).Get("/", pagitest.Header("origin", origin))
		if got := res.Header("access-control-allow-origin"); (got == origin) != allowed || !allowed && got != "" {
			t.Errorf("%s: %q", origin, got)
		}
	}
	res := pagitest.New(app).Get("/", pagitest.Header("origin", "https://evil.example"), pagitest.Header("origin", "https://a.example.org"))
	if got := res.Header("access-control-allow-origin"); got != "" {
		t.Errorf("two origins: %q", got)
	}
}

func TestCORSPreflight(t *testing.T) {
	const vary = "origin, access-control-request-method, access-control-request-headers"
	const methods, names = "GET, POST, PUT, DELETE, PATCH, OPTIONS", "content-type, authorization, x-requested-with"
	listed := middleware.CORS{Origins: []string{"https://a.example"}, Methods: []string{"get", "PUT"}, Headers: []string{"X-Token"}, MaxAge: time.Minute, Credentials: true}
	reflecting := middleware.CORS{Methods: []string{"*"}, Headers: []string{"*"}, MaxAge: -1}
	type want = map[string]string
	for name, c := range map[string]struct {
		m               middleware.CORS
		headers         []string
		want            want
		continued, fail bool
	}{
		"the defaults": {middleware.CORS{}, []string{"origin", "https://a.example", "access-control-request-method", "PUT"},
			want{"allow-origin": "*", "allow-methods": methods, "allow-headers": names, "max-age": "86400", "vary": vary}, false, false},
		"all options": {listed, []string{"origin", "https://a.example", "access-control-request-method", "PUT"},
			want{"allow-origin": "https://a.example", "allow-credentials": "true", "allow-methods": "GET, PUT", "allow-headers": "x-token", "max-age": "60", "vary": vary}, false, false},
		"another origin gets nothing": {listed, []string{"origin", "https://evil.example", "access-control-request-method", "PUT"}, want{"vary": vary}, false, false},
		"what is asked for is allowed": {reflecting, []string{"origin", "https://a.example", "access-control-request-method", "patch", "access-control-request-headers", "X-A, x-b"},
			want{"allow-origin": "*", "allow-methods": "patch", "allow-headers": "X-A, x-b", "max-age": "0", "vary": vary}, false, false},
		"what is asked for is no list of names": {reflecting, []string{"origin", "https://a.example", "access-control-request-method", "a b", "access-control-request-headers", "x: y"},
			want{"allow-origin": "*", "max-age": "0", "vary": vary}, false, false},
		"far too much is asked for": {reflecting, []string{"origin", "https://a.example", "access-control-request-method", "GET", "access-control-request-headers", strings.Repeat(",", 5000)},
			want{"allow-origin": "*", "allow-methods": "GET", "max-age": "0", "vary": vary}, false, false},
		"a private network is not for pages": {middleware.CORS{}, []string{"origin", "https://a.example", "access-control-request-method", "GET", "access-control-request-private-network", "true"},
			want{"allow-origin": "*", "allow-methods": methods, "allow-headers": names, "max-age": "86400", "vary": vary}, false, false},
		"unless asked for": {middleware.CORS{PrivateNetwork: true}, []string{"origin", "https://a.example", "access-control-request-method", "GET", "access-control-request-private-network", "true"},
			want{"allow-origin": "*", "allow-methods": methods, "allow-headers": names, "max-age": "86400", "allow-private-network": "true", "vary": vary + ", access-control-request-private-network"}, false, false},
		"an application that answers itself": {middleware.CORS{ContinuePreflight: true}, []string{"origin", "https://a.example", "access-control-request-method", "GET"},
			want{"allow-origin": "*", "allow-methods": methods, "allow-headers": names, "max-age": "86400", "vary": vary}, true, false},
		"OPTIONS without a method asked for is no preflight": {middleware.CORS{}, []string{"origin", "https://a.example"}, want{"allow-origin": "*"}, true, false},
		"OPTIONS without an origin is no preflight":          {middleware.CORS{}, []string{"access-control-request-method", "GET"}, want{}, true, false},
	} {
		var opts []pagitest.Option
		for i := 0; i < len(c.headers); i += 2 {
			opts = append(opts, pagitest.Header(c.headers[i], c.headers[i+1]))
		}
		res := pagitest.New(c.m.Wrap(hello)).Options("/", opts...)
		status := 204
		if c.continued {
			status = 200
		}
		if diff := cmp.Diff(c.want, corsHeaders(res.Headers)); diff != "" || res.Status != status || res.Err != nil {
			t.Errorf("%s: %d %v %s", name, res.Status, res.Err, diff)
		}
	}
}

func TestCORSInOtherScopes(t *testing.T) {
	stream := answering(pagi.SSEStart{}, pagi.SSESend{Data: "x"}, pagi.SSEClose{})
	c := pagitest.New(middleware.CORS{Origins: []string{"https://a.example"}}.Wrap(stream))
	events := c.Events("/", pagitest.Header("origin", "https://a.example"))
	if res := events.Finish(); res.Header("access-control-allow-origin") != "https://a.example" || res.Err != nil {
		t.Errorf("an event stream: %v %v", res.Headers, res.Err)
	}
	accepting := answering(pagi.WebSocketAccept{}, pagi.WebSocketClose{})
	allowed := middleware.CORS{Origins: []string{"https://a.example"}}
	for name, tc := range map[string]struct {
		m        middleware.CORS
		origin   string
		accepted bool
	}{
		"an allowed origin":       {allowed, "https://a.example", true},
		"another origin":          {allowed, "https://evil.example", false},
		"the null origin":         {allowed, "null", false},
		"the own origin":          {allowed, "https://testserver", true},
		"a name like the own one": {allowed, "https://testserver.evil.example", false},
		"a client that is no browser, which sends no origin": {allowed, "", true},
		"all origins": {middleware.CORS{}, "https://evil.example", true},
		"left open":   {middleware.CORS{Origins: []string{"https://a.example"}, AnyWebSocket: true}, "https://evil.example", true},
	} {
		var opts []pagitest.Option
		if tc.origin != "" {
			opts = append(opts, pagitest.Header("origin", tc.origin))
		}
		ws := pagitest.New(tc.m.Wrap(accepting)).WebSocket("/", opts...)
		if ws.Accepted != tc.accepted || !tc.accepted && ws.Response.Status != 403 {
			t.Errorf("%s: accepted %v, %+v", name, ws.Accepted, ws.Response)
		}
		if err := ws.Finish(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// checks fails the test unless each middleware is refused with the error, by Check and by Wrap.
func checks(t *testing.T, wrong map[string]pagi.Middleware) {
	t.Helper()
	for want, m := range wrong {
		err := pagi.Check(m)
		var bad *pagi.OptionError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		app := m.Wrap(pagi.AppFunc(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { return nil }))
		if err := pagitest.New(app).Startup(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("startup with a wrong option: %v, want %s", err, want)
		}
	}
}

func TestCORSOptions(t *testing.T) {
	of := func(origin string) middleware.CORS { return middleware.CORS{Origins: []string{origin}} }
	checks(t, map[string]pagi.Middleware{
		`credentials: every site could act`:              middleware.CORS{Credentials: true},
		`credentials: every site`:                        middleware.CORS{Credentials: true, Origins: []string{"https://a.example", "*"}},
		`origins: "example.org" is not an origin`:        of("example.org"),
		`origins: "https://a.example/" is not an origin`: of("https://a.example/"),
		`origins: "https://a.example/x" is not`:          of("https://a.example/x"),
		`origins: "https://*example.org" is not`:         of("https://*example.org"),
		`origins: "https://a.*.example" is not`:          of("https://a.*.example"),
		`origins: "https://*" is not`:                    of("https://*"),
		`origins: "https://*." is not`:                   of("https://*."),
		`origins: "https://*.*.example" is not`:          of("https://*.*.example"),
		`origins: "https://u@a.example" is not`:          of("https://u@a.example"),
		`origins: "https://bücher.example" is not`:       of("https://bücher.example"),
		`origins: "https://a.example:443": leave out`:    of("https://a.example:443"),
		`origins: "https://*.127.0.0.1": an address`:     of("https://*.127.0.0.1"),
		`methods: "GET, PUT" is not a method`:            middleware.CORS{Methods: []string{"GET, PUT"}},
		`headers: "a b" is not a header name`:            middleware.CORS{Headers: []string{"a b"}},
		`expose_headers: "a\nb" is not a header name`:    middleware.CORS{ExposeHeaders: []string{"a\nb"}},
		`expose_headers: browsers do not take "*"`:       middleware.CORS{Origins: []string{"https://a.example"}, Credentials: true, ExposeHeaders: []string{"*"}},
		`max_age: must not be negative, is -1s`:          middleware.CORS{MaxAge: -time.Second},
	})
	if err := (middleware.CORS{Origins: []string{"https://*.co.uk", "chrome-extension://abcdef", "http://[::1]:3000", "null"}, MaxAge: -1}).Check(); err != nil {
		t.Error(err)
	}
}
