package site_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
	"github.com/pagi-go/pagi-bridge/site"
)

func init() {
	params := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		if scope.Type == pagi.TypeLifespan {
			return pagi.Unsupported(scope)
		}
		values, _ := scope.Value(scopekey.PathParams).(map[string]string)
		return reply.Send(ctx, scope, send, 200, nil, []byte(scope.Type+" "+values["id"]+" "+scope.Path))
	})
	site.RegisterApp("test_params", func() pagi.App { return params })
	site.RegisterApp("test_router", func() pagi.App {
		r := &apps.Router{}
		r.Get("/items/{id}", params).Name("item")
		r.WebSocket("/live", params)
		r.Mount("/files", params)
		return r
	})
}

const routerSite = `
mounts:
  - path: /api
    router:
      - path: /users/{id:[0-9]+}
        method: [GET, DELETE]
        name: user
        go: test_params
        middleware: [{security_headers: {x_frame_options: DENY}}]
      - {path: "/live/{id}", type: sse, go: test_params}
      - {path: "/live/{id}", type: websocket, go: test_params}
      - {path: "/old/:id", redirect: /new}
      - {mount: /static, file: public, fall_through: true}
      - mount: /go
        go: test_router
      - mount: /
        cascade: [{file: {root: more, index: []}}, {not_found: gone, status: 410}]
    redirect_slash: true
  - path: /quiet
    not_found: {not_found: nothing here, status: 410, middleware: [{security_headers: {x_frame_options: DENY}}]}
    router: [{path: /a, method: GET, go: test_params}]
    method_not_allowed: {not_found: {body: not so, status: 405}}
  - path: /both
    host: example.org
    cascade:
      - router: [{path: /new, method: GET, go: test_params}]
      - {not_found: old, status: 200}
`

func build(t *testing.T) (*site.Site, pagi.App) {
	t.Helper()
	t.Chdir(testkit.Tree(t, map[string]string{"site.yaml": routerSite, "public/f.txt": "file", "more/static/g.txt": "more"}))
	s, err := site.Load("site.yaml")
	if err != nil {
		t.Fatal(err)
	}
	app, err := s.Build()
	if err != nil {
		t.Fatal(err)
	}
	return s, app
}

func TestARouterOfASite(t *testing.T) {
	_, app := build(t)
	c := pagitest.Start(t, app)
	for _, tc := range []struct {
		method, target string
		status         int
		want           string
	}{
		{"GET", "/api/users/7", 200, "http 7 /users/7"}, {"DELETE", "/api/users/7", 200, "http 7 /users/7"}, {"GET", "/api/users/x", 410, "gone"},
		{"POST", "/api/users/7", 405, "Method Not Allowed\n"}, {"GET", "/api/users/7/", 301, "Moved Permanently\n"}, {"GET", "/api/old/1", 302, "Found\n"},
		{"GET", "/api/static/f.txt", 200, "file"}, {"GET", "/api/static/g.txt", 200, "more"}, {"GET", "/api/static/x", 410, "gone"}, {"GET", "/api/go/items/7", 200, "http 7 /items/7"},
		{"GET", "/api/go/files/x", 200, "http  /x"}, {"GET", "/api/go/nope", 404, "Not Found\n"}, {"GET", "/api/live/a", 410, "gone"}, {"GET", "/api", 301, "Moved Permanently\n"}, {"GET", "/", 404, "Not Found\n"},
		{"GET", "/quiet/a", 200, "http  /a"}, {"GET", "/quiet/b", 410, "nothing here"}, {"POST", "/quiet/a", 405, "not so"}, {"OPTIONS", "/quiet/a", 204, ""},
	} {
		if res := c.Do(tc.method, tc.target); res.Err != nil || res.Status != tc.status || res.Text() != tc.want {
			t.Errorf("%s %s: %d %q %v", tc.method, tc.target, res.Status, res.Text(), res.Err)
		}
	}
	if c.Get("/api/users/7").Header("x-frame-options") != "DENY" || c.Get("/api/old/7").Headers.Has("x-frame-options") {
		t.Error("the middleware of a route is not around that route")
	}
	if c.Get("/quiet/b").Header("x-frame-options") != "DENY" || c.Post("/quiet/a").Header("allow") != "GET, HEAD, OPTIONS" {
		t.Error("what answers in place of routes lacks its middleware, or the methods that there are")
	}
	if res := c.Get("/api/live/a", pagitest.AcceptEvents()); res.Err != nil || res.Text() != "sse a /live/a" {
		t.Errorf("an event stream: %q %v", res.Text(), res.Err)
	}
	c.Host = "example.org"
	if res := c.Post("/both/new", pagitest.Body("x")); res.Err != nil || res.Text() != "old" {
		t.Errorf("a method that only the old application has: %q %v", res.Text(), res.Err)
	}
	for target, want := range map[string]string{"/both/new": "http  /new", "/both/x": "old"} {
		if res := c.Get(target); res.Err != nil || res.Text() != want {
			t.Errorf("%s: %q %v", target, res.Text(), res.Err)
		}
	}
}

func TestRoutesOfASite(t *testing.T) {
	s, _ := build(t)
	want := []site.Route{
		{Type: "http", Method: "GET", Host: "*", Path: "/api/users/{id:[0-9]+}", Kind: "go", Source: "test_params", Name: "user"},
		{Type: "http", Method: "DELETE", Host: "*", Path: "/api/users/{id:[0-9]+}", Kind: "go", Source: "test_params", Name: "user"},
		{Type: "sse", Method: "*", Host: "*", Path: "/api/live/{id}", Kind: "go", Source: "test_params"},
		{Type: "websocket", Method: "*", Host: "*", Path: "/api/live/{id}", Kind: "go", Source: "test_params"},
		{Type: "http", Method: "*", Host: "*", Path: "/api/old/:id", Kind: "redirect", Source: "/new"},
		{Type: "mount", Method: "*", Host: "*", Path: "/api/static/*", Kind: "file", Source: "public"},
		{Type: "http", Method: "GET", Host: "*", Path: "/api/go/items/{id}", Kind: "go", Source: "test_router", Name: "item"},
		{Type: "websocket", Method: "*", Host: "*", Path: "/api/go/live", Kind: "go", Source: "test_router"},
		{Type: "mount", Method: "*", Host: "*", Path: "/api/go/files/*", Kind: "go", Source: "test_router"},
		{Type: "mount", Method: "*", Host: "*", Path: "/api/*", Kind: "file", Source: "file"},
		{Type: "mount", Method: "*", Host: "*", Path: "/api/*", Kind: "not_found", Source: "gone"},
		{Type: "http", Method: "GET", Host: "*", Path: "/quiet/a", Kind: "go", Source: "test_params"},
		{Type: "http", Method: "GET", Host: "example.org", Path: "/both/new", Kind: "go", Source: "test_params"},
		{Type: "mount", Method: "*", Host: "example.org", Path: "/both/*", Kind: "not_found", Source: "old"},
	}
	if diff := cmp.Diff(want, s.Routes()); diff != "" {
		t.Error(diff)
	}
	var names []string
	for _, m := range s.All() {
		names = append(names, m.Name())
	}
	if diff := cmp.Diff([]string{
		"/api", "/api#1", "/api#2", "/api#3", "/api#4", "/api#5", "/api#6", "/api#7", "/api#7#1", "/api#7#2",
		"/quiet", "/quiet#1", "/quiet#not_found", "/quiet#method_not_allowed",
		"example.org/both", "example.org/both#1", "example.org/both#1#1", "example.org/both#2",
	}, names); diff != "" {
		t.Error(diff)
	}
}
