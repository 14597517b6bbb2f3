package middleware_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func ExampleStack() {
	var stack middleware.Stack
	stack.Use(middleware.RequestID{Generator: func(*pagi.Scope) string { return "42" }})
	stack.UseIf(middleware.Condition{Path: []string{"/admin"}}, middleware.SecurityHeaders{XFrameOptions: "DENY"})
	c := pagitest.New(stack.Wrap(hello))
	for _, path := range []string{"/", "/admin/users"} {
		res := c.Get(path)
		fmt.Printf("%s %q\n", res.Header("X-Request-ID"), res.Header("X-Frame-Options"))
	}
	// Output:
	// 42 ""
	// 42 "DENY"
}

func TestConditions(t *testing.T) {
	type c = middleware.Condition
	scope := func(path string, more ...func(*pagi.Scope)) pagi.Scope {
		s := pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Path: path, Headers: pagi.NewHeaders("host", "WWW.example.org:80", "accept", "text/html, */*", "accept", "image/png"), Client: pagi.Addr{Host: "10.0.0.7"}}
		for _, f := range more {
			f(&s)
		}
		return s
	}
	webSocket := func(s *pagi.Scope) { s.Type, s.Method = pagi.TypeWebSocket, "" }
	below := func(root string) func(*pagi.Scope) { return func(s *pagi.Scope) { s.RootPath = root } }
	for name, tc := range map[string]struct {
		if_, unless c
		scope       pagi.Scope
		want        bool
	}{
		"no condition":                             {c{}, c{}, scope("/"), true},
		"a path":                                   {c{Path: []string{"/x", "/admin"}}, c{}, scope("/admin"), true},
		"below a path":                             {c{Path: []string{"/admin"}}, c{}, scope("/admin/x"), true},
		"beside a path":                            {c{Path: []string{"/admin"}}, c{}, scope("/administrator"), false},
		"a path of the client":                     {c{Path: []string{"/app/x"}}, c{}, scope("/x", below("/app")), true},
		"a path in another form":                   {c{Path: []string{"/admin"}}, c{}, scope("//admin"), true},
		"an ending":                                {c{Path: []string{"*.pdf"}}, c{}, scope("/a/b.pdf"), true},
		"another ending":                           {c{Path: []string{"*.pdf"}}, c{}, scope("/a.pdf/b"), false},
		"but for a path":                           {c{}, c{Path: []string{"/public"}}, scope("/public/x"), false},
		"but for a path with a slash at the end":   {c{}, c{Path: []string{"/public"}}, scope("/public/"), false},
		"but for a path in another form":           {c{}, c{Path: []string{"/public"}}, scope("/public/../admin"), true},
		"but for another path":                     {c{}, c{Path: []string{"/public"}}, scope("/x"), true},
		"a host":                                   {c{Host: []string{"www.Example.org"}}, c{}, scope("/"), true},
		"a host with a dot at the end":             {c{Host: []string{"www.example.org."}}, c{}, scope("/"), true},
		"a host below":                             {c{Host: []string{"*.example.org"}}, c{}, scope("/"), true},
		"not the host itself":                      {c{Host: []string{"*.www.example.org"}}, c{}, scope("/"), false},
		"another host":                             {c{Host: []string{"example.org"}}, c{}, scope("/"), false},
		"a host with such an end":                  {c{Host: []string{"*.ample.org"}}, c{}, scope("/"), false},
		"a method":                                 {c{Method: []string{"get"}}, c{}, scope("/"), true},
		"another method":                           {c{Method: []string{"POST"}}, c{}, scope("/"), false},
		"a WebSocket is a GET":                     {c{Method: []string{"GET"}}, c{}, scope("/", webSocket), true},
		"a header":                                 {c{Header: map[string]string{"Accept": "image/png"}}, c{}, scope("/"), true},
		"a header with any value":                  {c{Header: map[string]string{"Accept": "*"}}, c{}, scope("/"), true},
		"a header with the begin of a value":       {c{Header: map[string]string{"accept": "text/*"}}, c{}, scope("/"), true},
		"a header with the middle of a value":      {c{Header: map[string]string{"accept": "*/html,*"}}, c{}, scope("/"), true},
		"a header with another value":              {c{Header: map[string]string{"accept": "text"}}, c{}, scope("/"), false},
		"a header with a value that overlaps":      {c{Header: map[string]string{"accept": "image/p*png"}}, c{}, scope("/"), false},
		"a header that is not there":               {c{Header: map[string]string{"cookie": "*"}}, c{}, scope("/"), false},
		"two headers":                              {c{Header: map[string]string{"accept": "*", "cookie": "*"}}, c{}, scope("/"), false},
		"an address":                               {c{Address: []string{"10.0.0.0/8"}}, c{}, scope("/"), true},
		"another address":                          {c{Address: []string{"192.0.2.0/24"}}, c{}, scope("/"), false},
		"a function":                               {c{Func: func(s *pagi.Scope) bool { return s.Path == "/f" }}, c{}, scope("/f"), true},
		"a function that says no":                  {c{Func: func(s *pagi.Scope) bool { return s.Path == "/f" }}, c{}, scope("/g"), false},
		"but for what a function says":             {c{}, c{Func: func(s *pagi.Scope) bool { return s.Path == "/f" }}, scope("/f"), false},
		"one of two":                               {c{Path: []string{"/"}, Method: []string{"POST"}}, c{}, scope("/"), false},
		"what matches both conditions is excluded": {c{Path: []string{"/x"}}, c{Method: []string{"GET"}}, scope("/x"), false},
	} {
		mark := pagi.MiddlewareFunc(func(next pagi.App) pagi.App {
			return pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
				return next.Serve(ctx, s.With("test.mark", true), r, w)
			})
		})
		got := false
		app := pagi.AppFunc(func(_ context.Context, s *pagi.Scope, _ pagi.Receive, _ pagi.Send) error {
			got = s.Value("test.mark") != nil
			return nil
		})
		m := middleware.When{If: tc.if_, Unless: tc.unless, Use: mark}
		if err := m.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := m.Wrap(app).Serve(t.Context(), &tc.scope, nil, nil); err != nil || got != tc.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestWhenPassesTheLifespanThroughItsMiddleware(t *testing.T) {
	started := 0
	hooks := lifespan.Hooks{Startup: []func(context.Context, map[string]any) error{func(context.Context, map[string]any) error { started++; return nil }}}
	c := pagitest.New(middleware.When{If: middleware.Condition{Path: []string{"/never"}}, Use: hooks}.Wrap(hello))
	if err := c.Startup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Shutdown(t.Context()); err != nil || started != 1 {
		t.Errorf("%v, started %d times", err, started)
	}
}

func TestWrongConditions(t *testing.T) {
	for want, m := range map[string]middleware.When{
		`when: path: "x" must begin with a slash, or be an ending such as *.pdf`:          {If: middleware.Condition{Path: []string{"x"}}},
		`when: path: "/a/*/b" must begin with a slash, or be an ending such as *.pdf`:     {If: middleware.Condition{Path: []string{"/a/*/b"}}},
		`when: path: "/a/../b" must be written as "/b"`:                                   {If: middleware.Condition{Path: []string{"/a/../b"}}},
		`when: method: "GE T" is not a method`:                                            {If: middleware.Condition{Method: []string{"GE T"}}},
		`unless: host: "a:80" must be a host name, or one with *. in front`:               {Unless: middleware.Condition{Host: []string{"a:80"}}},
		`when: header: "a b" is not a header name`:                                        {If: middleware.Condition{Header: map[string]string{"a b": ""}}},
		`when: address: "localhost" is neither an IP address nor a network as 10.0.0.0/8`: {If: middleware.Condition{Address: []string{"localhost"}}},
		`precision: must be 1 to 9, is 10`:                                                {Use: middleware.Runtime{Precision: 10}},
	} {
		if m.Use == nil {
			m.Use = middleware.Head{}
		}
		if err := m.Check(); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestStackReportsItsParts(t *testing.T) {
	var stack middleware.Stack
	stack.Use(middleware.Runtime{Precision: 10}, &middleware.HTTPSRedirect{})
	stack.UseUnless(middleware.Condition{Method: []string{"POST"}}, middleware.ReverseProxy{})
	if err := stack.Check(); err == nil || err.Error() != "runtime: precision: must be 1 to 9, is 10" {
		t.Error(err)
	}
	if got := strings.Join(stack.Warnings(), "\n"); got != "reverse_proxy must stand in front of https_redirect, because otherwise https_redirect sees the proxy instead of the client" {
		t.Error(got)
	}
}
