package apps_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// telling answers with its name, the parameters, and the paths where it believes to be.
func telling(name string) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		if s.Type == pagi.TypeLifespan {
			return pagi.Unsupported(s)
		}
		text := name
		params, _ := s.Value(scopekey.PathParams).(map[string]string)
		for _, key := range slices.Sorted(maps.Keys(params)) {
			text += " " + key + "=" + params[key]
		}
		return reply.Send(ctx, s, send, 200, nil, []byte(text))
	})
}

// tag is a middleware that counts how often it wraps, and marks what passes.
type tag struct {
	name  string
	wraps int
}

func (m *tag) Wrap(next pagi.App) pagi.App {
	m.wraps++
	return pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		return next.Serve(ctx, s, receive, func(ctx context.Context, ev pagi.Event) error {
			ev, _, err := reply.EditStart(ev, func(h pagi.Headers) (pagi.Headers, error) {
				return append(pagi.NewHeaders("x-tag", m.name), h...), nil
			})
			return errors.Join(err, send(ctx, ev))
		})
	})
}

func tags(res *pagitest.Response) (names []string) {
	for _, h := range res.Headers {
		if h.Name == "x-tag" {
			names = append(names, h.Value)
		}
	}
	return names
}

func ExampleRouter() {
	user := pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		params := s.Value(scopekey.PathParams).(map[string]string)
		if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
			return err
		}
		return send(ctx, pagi.HTTPResponseBody{Body: []byte("user " + params["id"])})
	})
	r := &apps.Router{NotFound: &apps.NotFound{Body: "no such page"}}
	r.Get("/users/{id:[0-9]+}", user).Name("user")
	r.Mount("/static", &apps.File{Root: "public"})
	if err := r.Check(); err != nil {
		fmt.Println(err) // "public" is missing here
	}

	client := pagitest.New(r)
	fmt.Println(client.Get("/users/7").Text())
	fmt.Println(client.Get("/users/ann").Text())
	res := client.Post("/users/7")
	fmt.Println(res.Status, res.Header("allow"))
	fmt.Println(r.URL("user", "id", "7"))
	fmt.Println(r.URL("user", "id", "ann"))
	// Output:
	// mount /static: root: stat public: no such file or directory
	// user 7
	// no such page
	// 405 GET, HEAD, OPTIONS
	// /users/7 <nil>
	//  the URL of "user": "/users/{id:[0-9]+}": the values ["ann"] do not match "{id:[0-9]+}"
}

func TestRouterFindsRoutes(t *testing.T) {
	r := &apps.Router{}
	for _, route := range []string{
		"GET /", "GET /users", "POST /users", "GET /users/me", "GET /users/{id:[0-9]+}", "GET /users/:name", "DELETE /users/{any}", "GET /users/:id/posts/{post}",
		"GET /files/*path", "HEAD /head", "GET /head", "OPTIONS /own", "GET /own", " /any", "POST /any", "PROPFIND /dav/{path...}", "GET /api/v1.0/(x)",
	} {
		method, pattern, _ := strings.Cut(route, " ")
		r.Handle(method, pattern, telling(route))
	}
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	c := pagitest.New(r)
	for _, tc := range []struct {
		method, target string
		status         int
		want           string // the text, or the header allow
	}{
		{"GET", "/", 200, "GET /"}, {"GET", "/users", 200, "GET /users"}, {"POST", "/users", 200, "POST /users"},
		{"GET", "/users/me", 200, "GET /users/me"}, {"GET", "/users/7", 200, "GET /users/{id:[0-9]+} id=7"}, {"GET", "/users/ann", 200, "GET /users/:name name=ann"},
		{"DELETE", "/users/me", 200, "DELETE /users/{any} any=me"}, {"GET", "/users/7/posts/9", 200, "GET /users/:id/posts/{post} id=7 post=9"},
		{"GET", "/files/a/b%20c", 200, "GET /files/*path path=a/b c"}, {"GET", "/users/a%2Fb", 200, "GET /users/:name name=a/b"}, {"GET", "/users/%C3%BC", 200, "GET /users/:name name=ü"},
		{"GET", "/any", 200, " /any"}, {"POST", "/any", 200, "POST /any"}, {"PURGE", "/any", 200, " /any"}, {"OPTIONS", "/any", 200, " /any"},
		{"PROPFIND", "/dav/x", 200, "PROPFIND /dav/{path...} path=x"}, {"OPTIONS", "/own", 200, "OPTIONS /own"}, {"GET", "/api/v1.0/(x)", 200, "GET /api/v1.0/(x)"},
		{"GET", "/api/v1x0/(x)", 404, ""}, {"GET", "/nope", 404, ""}, {"GET", "/users/", 404, ""}, {"GET", "/Users", 404, ""}, {"GET", "//", 404, ""}, {"OPTIONS", "/nope", 404, ""},
		{"DELETE", "/users", 405, "GET, HEAD, OPTIONS, POST"}, {"POST", "/users/me", 405, "DELETE, GET, HEAD, OPTIONS"}, {"POST", "/", 405, "GET, HEAD, OPTIONS"},
		{"OPTIONS", "/users", 204, "GET, HEAD, OPTIONS, POST"}, {"OPTIONS", "/users/x", 204, "DELETE, GET, HEAD, OPTIONS"},
	} {
		res := c.Do(tc.method, tc.target)
		got := res.Text()
		if tc.status != 200 {
			got = res.Header("allow")
		}
		if res.Err != nil || res.Status != tc.status || got != tc.want {
			t.Errorf("%s %s: %d %q %v", tc.method, tc.target, res.Status, got, res.Err)
		}
	}
	for target, want := range map[string]string{"/users/7": "27", "/head": "10"} { // lengths of what GET, HEAD would send
		if res := c.Head(target); res.Err != nil || res.Status != 200 || res.Header("content-length") != want || len(res.Body) > 0 {
			t.Errorf("HEAD %s: %d %s %v", target, res.Status, res.Header("content-length"), res.Err)
		}
	}
}

func TestEachMethodOfARouteGroupAddsARouteForItsMethod(t *testing.T) {
	r := &apps.Router{}
	for method, add := range map[string]func(string, pagi.App, ...pagi.Middleware) *apps.Route{
		"GET": r.Get, "POST": r.Post, "PUT": r.Put, "PATCH": r.Patch, "DELETE": r.Delete, "HEAD": r.Head, "OPTIONS": r.Options,
	} {
		add("/x", &apps.NotFound{Status: 200, ContentType: "text/" + strings.ToLower(method)}).Name(method)
	}
	r.Any("/x", &apps.NotFound{Status: 200, ContentType: "text/any"})
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "ANY"} {
		if res := pagitest.New(r).Do(method, "/x"); res.Err != nil || res.Header("content-type") != "text/"+strings.ToLower(method) {
			t.Errorf("%s: %d %s %v", method, res.Status, res.Header("content-type"), res.Err)
		}
	}
}

func TestRouterServesScopesOfAllTypes(t *testing.T) {
	r := &apps.Router{}
	r.Get("/live/{room}", telling("http"))
	r.SSE("/live/{room}", telling("sse"))
	r.WebSocket("/live/{room:[a-z]+}", telling("websocket"))
	r.Get("/page", telling("page"))
	r.SSE("/events", telling("events"))
	c := pagitest.New(r)
	for target, want := range map[string]string{"/live/a": "200 http room=a", "/live/7": "200 http room=7", "/events": "404 Not Found\n", "/page": "200 page"} {
		if res := c.Get(target); res.Err != nil || fmt.Sprint(res.Status, " ", res.Text()) != want {
			t.Errorf("GET %s: %d %q %v", target, res.Status, res.Text(), res.Err)
		}
	}
	for target, want := range map[string]string{"/live/a": "200 sse room=a", "/events": "200 events", "/nope": "404 Not Found\n", "/page": "200 page"} {
		if res := c.Get(target, pagitest.AcceptEvents()); res.Err != nil || fmt.Sprint(res.Status, " ", res.Text()) != want {
			t.Errorf("an event stream of %s: %d %q %v", target, res.Status, res.Text(), res.Err)
		}
	}
	if res := c.Post("/page", pagitest.AcceptEvents()); res.Err != nil || res.Status != 405 {
		t.Errorf("an event stream by POST where there is GET: %d %v", res.Status, res.Err)
	}
}

func TestRouterAnswersInTheScopesOwnEvents(t *testing.T) {
	r := &apps.Router{}
	r.Get("/page", telling("page"))
	r.WebSocket("/ws/{room:[a-z]+}", telling("room"))
	denial := map[string]any{pagi.ExtDenialResponse: struct{}{}}
	for name, c := range map[string]struct {
		scope *pagi.Scope
		want  pagi.Event
	}{
		"http":                           {&pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Path: "/nope"}, pagi.HTTPResponseStart{Status: 404}},
		"http with the wrong method":     {&pagi.Scope{Type: pagi.TypeHTTP, Method: "PUT", Path: "/page"}, pagi.HTTPResponseStart{Status: 405}},
		"sse":                            {&pagi.Scope{Type: pagi.TypeSSE, Method: "GET", Path: "/nope"}, pagi.SSEHTTPResponseStart{Status: 404}},
		"a websocket that can be denied": {&pagi.Scope{Type: pagi.TypeWebSocket, Path: "/page", Extensions: denial}, pagi.WebSocketHTTPResponseStart{Status: 404}},
		"a websocket that cannot":        {&pagi.Scope{Type: pagi.TypeWebSocket, Path: "/ws/7"}, pagi.WebSocketClose{}},
		"a websocket with a route":       {&pagi.Scope{Type: pagi.TypeWebSocket, Path: "/ws/a", Extensions: denial}, pagi.WebSocketHTTPResponseStart{Status: 200}},
	} {
		var got pagi.Event
		err := r.Serve(t.Context(), c.scope, nil, func(_ context.Context, ev pagi.Event) error {
			if got == nil {
				got, _, _ = reply.EditStart(ev, func(pagi.Headers) (pagi.Headers, error) { return nil, nil })
			}
			return nil
		})
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
	for _, scope := range []*pagi.Scope{{Type: "x"}, {Type: pagi.TypeSSE, Method: "GET", Path: "/page"}} {
		if err := r.Serve(t.Context(), scope, nil, nil); !errors.Is(err, pagi.ErrUnsupported) {
			t.Errorf("%s: %v", scope.Type, err)
		}
	}
}

func TestRouterMiddlewareIsWrappedOnce(t *testing.T) {
	outer, inner, own, all := &tag{name: "outer"}, &tag{name: "inner"}, &tag{name: "own"}, &tag{name: "mount"}
	r := &apps.Router{}
	r.Group("/api/", func(g *apps.RouteGroup) {
		g.Get("", telling("root"))
		g.Group("/users/{id}", func(g *apps.RouteGroup) {
			g.Get("/posts", telling("posts"), own)
			g.Post("/posts", telling("post"))
			g.WebSocket("/live", telling("live"), own)
			g.Mount("/files", telling("files"), all)
		}, inner)
		g.Get("/last", telling("last"))
	}, outer)
	r.Get("/plain", telling("plain"), own, inner)
	c := pagitest.New(r)
	for _, tc := range []struct{ method, target, want, tags string }{
		{"GET", "/api", "root", "[outer]"}, {"GET", "/api/users/7/posts", "posts id=7", "[outer inner own]"}, {"POST", "/api/users/7/posts", "post id=7", "[outer inner]"},
		{"GET", "/api/users/7/files/x", "files id=7", "[outer inner mount]"}, {"GET", "/api/last", "last", "[outer]"}, {"GET", "/plain", "plain", "[own inner]"},
		{"PUT", "/api/users/7/posts", "Method Not Allowed\n", "[]"}, {"GET", "/api/", "Not Found\n", "[]"},
	} {
		for range 2 {
			if res := c.Do(tc.method, tc.target); res.Err != nil || res.Text() != tc.want || fmt.Sprint(tags(res)) != tc.tags {
				t.Errorf("%s %s: %q %v %v", tc.method, tc.target, res.Text(), tags(res), res.Err)
			}
		}
	}
	if outer.wraps != 6 || own.wraps != 3 || all.wraps != 1 {
		t.Errorf("wrapped %d, %d, %d times", outer.wraps, own.wraps, all.wraps)
	}
}

// where answers with its name and the paths of the scope.
func where(name string) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		route, _ := s.Value(scopekey.Router).(pagi.Route)
		return reply.Send(ctx, s, send, 200, nil, fmt.Appendf(nil, "%s [%s] %s, %s %s", name, s.RootPath, s.Path, route.Kind, route.Pattern))
	})
}

func TestRouterMounts(t *testing.T) {
	api := &apps.Router{}
	api.Get("/", where("root"))
	api.Get("/users/{id}", telling("user"))
	api.Get("/where/{x}", where("where"))
	api.Mount("/{y}/deep", where("deep"))
	r := &apps.Router{}
	r.Mount("/api", where("v1"))
	r.Mount("/api/v2/", api)
	r.Mount("/{org}/app", api)
	r.Get("/api/v2/own", where("own"))
	r.Get("/api/only/{x}", where("only"))
	c := pagitest.New(r)
	c.RootPath = "/outer"
	for target, want := range map[string]string{
		"/api/x": "v1 [/outer/api] /x, mount /api", "/api": "v1 [/outer/api] , mount /api", "/api/": "v1 [/outer/api] /, mount /api", "/apix": "Not Found\n",
		"/api/v2": "root [/outer/api/v2] , http /api/v2/", "/api/v2/": "root [/outer/api/v2] /, http /api/v2/", "/api/v2/users/7": "user id=7",
		"/acme/app/users/7": "user id=7 org=acme", "/acme/app/where/z": "where [/outer/acme/app] /where/z, http /{org}/app/where/{x}",
		"/a%2Fb/app/where/c%2Fd": "where [/outer/a/b/app] /where/c/d, http /{org}/app/where/{x}", "/a%2Fb/app/users/c%2Fd": "user id=c/d org=a/b",
		"/api/v2/own": "own [/outer] /api/v2/own, http /api/v2/own", "/api/v2/p/deep/q": "deep [/outer/api/v2/p/deep] /q, mount /api/v2/{y}/deep",
		"/api/v2/nope": "Not Found\n", "/nope": "Not Found\n", "/": "Not Found\n",
	} {
		if res := c.Get(target); res.Err != nil || res.Text() != want {
			t.Errorf("%s: %q %v, want %q", target, res.Text(), res.Err, want)
		}
	}
	if res := c.Post("/api/only/x"); res.Status != 405 {
		t.Errorf("a mount gets what a route refuses: %d", res.Status)
	}
}

func TestRouterMountsThatFallThrough(t *testing.T) {
	status := func(status int, text string) pagi.App { return &apps.NotFound{Status: status, Body: text} }
	reading := pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		ev, err := receive(ctx)
		if err != nil {
			return err
		}
		code := 404
		if s.Path == "/has" {
			code = 200
		}
		return reply.Text(ctx, s, send, code, "read "+string(ev.(pagi.HTTPRequest).Body))
	})
	r := &apps.Router{NotFound: status(410, "gone")}
	r.Mount("/", reading).FallThrough()
	r.Mount("/a", status(404, "a has not"))
	r.Mount("/a/b", status(404, "b has not")).FallThrough()
	r.Mount("/a/b/c", status(405, "c may not")).FallThrough()
	r.Mount("/d", reading).FallThrough()
	c := pagitest.New(r)
	for target, want := range map[string]string{
		"/has": "200 read body\n", "/other": "410 gone", "/a/x": "404 a has not", "/a/b/x": "404 a has not", "/a/b/c": "405 c may not", "/d/has": "200 read body\n", "/d/x": "410 gone",
	} {
		if res := c.Post(target, pagitest.Body("body")); res.Err != nil || fmt.Sprint(res.Status, " ", res.Text()) != want {
			t.Errorf("%s: %d %q %v, want %q", target, res.Status, res.Text(), res.Err, want)
		}
	}
}

func TestRouterRedirectsToTheOtherSlash(t *testing.T) {
	r := &apps.Router{RedirectSlash: true}
	r.Get("/dir/", where("dir"))
	r.Get("/dir/{name}", where("name"))
	r.Post("/form", where("form"))
	r.Get("/", where("root"))
	r.SSE("/events", where("events"))
	r.Mount("/", where("mount"))
	c := pagitest.New(r)
	for _, tc := range []struct {
		method, target string
		status         int
		location       string
	}{
		{"GET", "/dir", 301, "dir/"}, {"HEAD", "/dir?q=1", 301, "dir/?q=1"}, {"GET", "/dir/x/", 301, "../x"}, {"GET", "/dir/x/?a=/", 301, "../x?a=/"}, {"POST", "/form/", 308, "../form"},
		{"GET", "/dir/a%2F/", 301, "../a%2F"}, {"GET", "/dir/a:b/", 301, "../a:b"}, {"GET", "/form/", 200, ""}, {"PUT", "/other", 200, ""}, {"GET", "/dir//", 200, ""}, {"GET", "/dir/", 200, ""}, {"GET", "/dir/x", 200, ""},
	} {
		if res := c.Do(tc.method, tc.target); res.Err != nil || res.Status != tc.status || res.Header("location") != tc.location {
			t.Errorf("%s %s: %d %q %v", tc.method, tc.target, res.Status, res.Header("location"), res.Err)
		}
	}
	if res := c.Get("/events/", pagitest.AcceptEvents()); res.Err != nil || res.Status != 301 || res.Header("location") != "../events" {
		t.Errorf("an event stream: %d %q %v", res.Status, res.Header("location"), res.Err)
	}
	below := pagitest.New(&apps.URLMap{Mounts: []apps.Mount{{Path: "/app", App: r}}})
	for target, want := range map[string]string{"/app": "301 app/", "/app/dir": "301 dir/", "/app/dir/x/": "301 ../x"} {
		if res := below.Get(target); fmt.Sprint(res.Status, " ", res.Header("location")) != want {
			t.Errorf("%s below a mount: %d %q", target, res.Status, res.Header("location"))
		}
	}
}

func TestRouterOwnAnswers(t *testing.T) {
	r := &apps.Router{NotFound: telling("nothing"), MethodNotAllowed: pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		return reply.Text(ctx, s, send, 405, "use "+apps.AllowedMethods(s), "allow", apps.AllowedMethods(s))
	})}
	r.Get("/x", telling("x"))
	c := pagitest.New(r)
	if res := c.Post("/x"); res.Err != nil || res.Text() != "use GET, HEAD, OPTIONS\n" {
		t.Errorf("%q %v", res.Text(), res.Err)
	}
	for _, option := range [][]pagitest.Option{nil, {pagitest.AcceptEvents()}} {
		if res := c.Get("/y", option...); res.Err != nil || res.Text() != "nothing" {
			t.Errorf("%q %v", res.Text(), res.Err)
		}
	}
	if apps.AllowedMethods(&pagi.Scope{}) != "" {
		t.Error("methods without a router")
	}
}

func TestRouterURLs(t *testing.T) {
	api := &apps.Router{}
	api.Get("/users/{id}", telling("")).Name("users.get")
	r := &apps.Router{}
	r.Get("/users/:id", telling("")).Name("user")
	r.Get("/files/*path", telling("")).Name("file")
	r.WebSocket("/ws/{room}", telling("")).Name("chat")
	r.SSE("/events", telling("")).Name("events")
	r.Any("/any", telling("")).Name("any")
	r.Mount("/api/{version}", api).Name("api")
	r.Mount("/plain", telling("")).Name("plain")
	r.Group("/g/{x}", func(g *apps.RouteGroup) { g.Get("/{id}", telling("")).Name("grouped") })
	for _, state := range []string{"before the first request", "after it"} {
		for _, tc := range []struct {
			name      string
			params    []string
			want, err string
		}{
			{"user", []string{"id", "a b/c"}, "/users/a%20b%2Fc", ""}, {"file", []string{"path", "a b/c"}, "/files/a%20b/c", ""}, {"chat", []string{"room", "x"}, "/ws/x", ""}, {"events", nil, "/events", ""},
			{"any", nil, "/any", ""}, {"api.users.get", []string{"id", "7", "version", "v2"}, "/api/v2/users/7", ""}, {"grouped", []string{"x", "1", "id", "2"}, "/g/1/2", ""}, {"plain", nil, "/plain", ""},
			{"usr", nil, "", `the URL of "usr": there is no route of that name; did you mean "user"?`}, {"user", nil, "", `"id" is missing`}, {"user", []string{"id"}, "", `"id" has no value`},
			{"user", []string{"id", "1", "id", "2"}, "", `"id" is given twice`}, {"user", []string{"id", "1", "x", "2"}, "", `no parameter "x"`},
			{"api.nope", []string{"version", "1"}, "", "there is no route of that name"}, {"plain.x", nil, "", "there is no route of that name"}, {"api.users.get", []string{"id", "7"}, "", `"version" is missing`},
		} {
			got, err := r.URL(tc.name, tc.params...)
			if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s, %s: %q, %v", state, tc.name, got, err)
			}
		}
		want := []pagi.Route{
			{Kind: "http", Method: "GET", Pattern: "/users/:id", Name: "user"}, {Kind: "http", Method: "GET", Pattern: "/files/*path", Name: "file"},
			{Kind: "websocket", Pattern: "/ws/{room}", Name: "chat"}, {Kind: "sse", Pattern: "/events", Name: "events"}, {Kind: "http", Pattern: "/any", Name: "any"},
			{Kind: "mount", Pattern: "/api/{version}", Name: "api"}, {Kind: "http", Method: "GET", Pattern: "/api/{version}/users/{id}", Name: "api.users.get"},
			{Kind: "mount", Pattern: "/plain", Name: "plain"}, {Kind: "http", Method: "GET", Pattern: "/g/{x}/{id}", Name: "grouped"},
		}
		if diff := cmp.Diff(want, r.Routes()); diff != "" {
			t.Errorf("%s: %s", state, diff)
		}
		pagitest.New(r).Get("/")
		r.Get("/later", telling("later")).Name("later") // has no effect from now on
		if res := pagitest.New(r).Get("/later"); res.Status != 404 {
			t.Errorf("a route added later: %d", res.Status)
		}
	}
}

func TestRouterCheck(t *testing.T) {
	for want, add := range map[string]func(r *apps.Router){
		"": func(r *apps.Router) {
			r.Get("/a", telling(""))
			r.Post("/a", telling(""))
			r.SSE("/a", telling(""))
			r.WebSocket("/a", telling(""))
			r.Any("/a", telling(""))
		},
		"GET /{a} and GET /{b} are the same":             func(r *apps.Router) { r.Get("/{a}", telling("")); r.Get("/{b}", telling("")) },
		"any /a and any /a are the same":                 func(r *apps.Router) { r.Any("/a", telling("")); r.Handle("", "/a", telling("")) },
		"GET /{a:x} and GET /{b:x} are":                  func(r *apps.Router) { r.Get("/{a:x}", telling("")); r.Get("/{b:x}", telling("")) },
		"sse /a and sse /a are the same":                 func(r *apps.Router) { r.SSE("/a", telling("")); r.SSE("/a", telling("")) },
		"mount /a and mount /a/ are":                     func(r *apps.Router) { r.Mount("/a", telling("")); r.Mount("/a/", telling("")) },
		"mount  and mount / are the same":                func(r *apps.Router) { r.Mount("", telling("")); r.Mount("/", telling("")) },
		`GET /a and websocket /b have the same name "x"`: func(r *apps.Router) { r.Get("/a", telling("")).Name("x"); r.WebSocket("/b", telling("")).Name("x") },
		`has the parameter "id" twice`:                   func(r *apps.Router) { r.Group("/{id}", func(g *apps.RouteGroup) { g.Get("/{id}", telling("")) }) },
		"must begin with a slash":                        func(r *apps.Router) { r.Get("a", telling("")) },
		"GET : the pattern is missing":                   func(r *apps.Router) { r.Get("", telling("")) },
		"POST /a has no application":                     func(r *apps.Router) { r.Post("/a", nil) },
		"leave the wildcard out":                         func(r *apps.Router) { r.Mount("/a/*b", telling("")) },
		"the method must be a word of capital letters":   func(r *apps.Router) { r.Handle("get", "/a", telling("")) },
		"missing closing )":                              func(r *apps.Router) { r.Get("/{a:(}", telling("")) },
		"GET /a: status: must be 301":                    func(r *apps.Router) { r.Get("/a", &apps.Redirect{To: "/", Status: 1}) },
		"GET /b: root: ":                                 func(r *apps.Router) { r.Get("/b", telling(""), &apps.Static{Files: apps.File{Root: "missing"}}) },
		"not found: status: must be 200 to 999":          func(r *apps.Router) { r.NotFound = &apps.NotFound{Status: 1} },
		"method not allowed: status: must be 200 to":     func(r *apps.Router) { r.MethodNotAllowed = &apps.NotFound{Status: 1} },
	} {
		r := &apps.Router{}
		add(r)
		err := r.Check()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	r := &apps.Router{}
	r.Get("/{a", telling(""))
	r.Get("b", telling(""))
	if err := r.Check(); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("not both mistakes: %v", err)
	}
	if res := pagitest.New(r).Get("/"); res.Err == nil || res.Status != 500 {
		t.Errorf("a wrong Router serves: %d", res.Status)
	}
	if _, err := r.URL("x"); err == nil || r.Routes() != nil {
		t.Errorf("%v, %v", err, r.Routes())
	}
}

// living counts its lives.
type living struct{ starts, stops int }

func (l *living) Serve(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if s.Type != pagi.TypeLifespan {
		return reply.Text(ctx, s, send, 200, "alive")
	}
	return lifespan.Serve(ctx, receive, send, func(context.Context) error {
		l.starts++
		s.State[fmt.Sprintf("%p", l)] = true
		return nil
	}, func(context.Context) error { l.stops++; return nil })
}

func TestRouterLifespan(t *testing.T) {
	pass := pagi.MiddlewareFunc(func(next pagi.App) pagi.App {
		return pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
			return next.Serve(ctx, s, receive, send)
		})
	})
	all := map[string]*living{"shared": {}, "mounted": {}, "nothing": {}, "refusing": {}}
	r := &apps.Router{NotFound: all["nothing"], MethodNotAllowed: all["refusing"]}
	r.Get("/a", all["shared"])
	r.Post("/a", all["shared"], pass)
	r.SSE("/a", all["shared"], pass)
	r.Mount("/m", all["mounted"])
	r.Mount("/n", all["mounted"])
	for range 2 {
		client := pagitest.New(r)
		if err := client.Startup(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(client.State()); n != 4 {
			t.Errorf("%d states", n)
		}
		if err := client.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for name, l := range all {
		if l.starts != 2 || l.stops != 2 {
			t.Errorf("%s: %d starts, %d stops", name, l.starts, l.stops)
		}
	}
	failing := &apps.Router{}
	failing.Get("/x/{id}", lifespan.Hooks{Startup: []func(context.Context, map[string]any) error{
		func(context.Context, map[string]any) error { return errors.New("no database") },
	}}.Wrap(telling("x")))
	if err := pagitest.New(failing).Startup(t.Context()); err == nil || !strings.Contains(err.Error(), "GET /x/{id}: no database") {
		t.Error(err)
	}
}

func TestARouterWithoutRoutesAnswers404(t *testing.T) {
	r := &apps.Router{}
	if res := pagitest.Start(t, r).Get("/"); res.Err != nil || res.Status != 404 || r.Check() != nil || r.Routes() != nil {
		t.Errorf("%d %v", res.Status, res.Err)
	}
}

func TestRouterServesManyAtOnce(t *testing.T) {
	r := &apps.Router{}
	r.Get("/users/{id}", telling("user"))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 20 {
				if res := pagitest.New(r).Get(fmt.Sprintf("/users/%d", i)); res.Text() != fmt.Sprintf("user id=%d", i) {
					t.Errorf("%q", res.Text())
				}
				if _, err := r.URL("x"); err == nil || len(r.Routes()) != 1 {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestRouterLookupsOfTextAllocateNothingButTheScope(t *testing.T) {
	r := &apps.Router{}
	r.Get("/a/b", pagi.AppFunc(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { return nil }))
	scope := &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Path: "/a/b", RawPath: "/a/b"}
	if n := testing.AllocsPerRun(100, func() { _ = r.Serve(t.Context(), scope, nil, nil) }); n > 2 {
		t.Errorf("%v allocations", n)
	}
}
