package routing_test

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

	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/internal/routing"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// says answers every scope but that of the lifespan with its name, the parameters, and the path below
// the root path.
func says(name string) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		if scope.Type == pagi.TypeLifespan {
			return pagi.Unsupported(scope)
		}
		params, _ := scope.Value(scopekey.PathParams).(map[string]string)
		text := name
		for _, key := range slices.Sorted(maps.Keys(params)) {
			text += " " + key + "=" + params[key]
		}
		return reply.Send(ctx, scope, send, 200, nil, []byte(text+" "+scope.RootPath+"|"+scope.Path))
	})
}

// status answers every scope with a status.
func status(code int) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		return reply.Send(ctx, scope, send, code, nil, []byte("own"))
	})
}

// http is a route of http scopes; "GET /path", or "/path" for any method.
func http(text string) pagi.Route {
	method, pattern, ok := strings.Cut(text, " ")
	if !ok {
		method, pattern = "", text
	}
	return pagi.Route{Kind: pagi.TypeHTTP, Method: method, Pattern: pattern}
}

func mount(prefix string) pagi.Route { return pagi.Route{Kind: pagi.RouteMount, Pattern: prefix} }

// built builds a Mux of routes that are called by their labels.
func built(t *testing.T, o routing.Options, routes ...pagi.Route) *routing.Mux {
	t.Helper()
	var table routing.Table
	for _, r := range routes {
		table.Add(r, says(strings.TrimSpace(r.Method+" "+r.Pattern)), nil, nil)
	}
	m, err := table.Build(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

type question struct {
	method, target string
	status         int
	want           string
}

func ask(t *testing.T, app pagi.App, questions ...question) {
	t.Helper()
	c := pagitest.New(app)
	for _, q := range questions {
		if res := c.Do(q.method, q.target); res.Err != nil || res.Status != q.status || res.Text() != q.want {
			t.Errorf("%s %s: %d %q, want %d %q, %v", q.method, q.target, res.Status, res.Text(), q.status, q.want, res.Err)
		}
	}
}

func TestMethods(t *testing.T) {
	m := built(t, routing.Options{}, http("GET /a"), http("PUT /a"), http("/{x}"), http("GET /b"), http("HEAD /b"), http("POST /c/d"))
	ask(t, m,
		question{"GET", "/a", 200, "GET /a |/a"},
		question{"PUT", "/a", 200, "PUT /a |/a"},
		question{"POST", "/a", 200, "/{x} x=a |/a"}, // the next pattern has it
		question{"HEAD", "/a", 200, ""},
		question{"GET", "/b", 200, "GET /b |/b"},
		question{"GET", "/c/d", 405, "Method Not Allowed\n"},
		question{"OPTIONS", "/c/d", 204, ""},
		question{"GET", "/c", 200, "/{x} x=c |/c"},
		question{"GET", "/c/e", 404, "Not Found\n"},
	)
	for _, method := range []string{"GET", "OPTIONS"} {
		if got := pagitest.New(m).Do(method, "/c/d").Header("allow"); got != "OPTIONS, POST" {
			t.Errorf("%s: allow is %q", method, got)
		}
	}
}

func TestHEADHasTheRouteOfGETUnlessItHasItsOwn(t *testing.T) {
	var served []string
	note := func(name string) pagi.App {
		return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
			served = append(served, name)
			return reply.Send(ctx, scope, send, 200, nil, nil)
		})
	}
	var table routing.Table
	table.Add(http("GET /a"), note("GET /a"), nil, nil)
	table.Add(http("GET /b"), note("GET /b"), nil, nil)
	table.Add(http("HEAD /b"), note("HEAD /b"), nil, nil)
	m, err := table.Build(routing.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := pagitest.New(m)
	for _, target := range []string{"/a", "/b"} {
		c.Head(target).Expect(t, 200)
	}
	if diff := cmp.Diff([]string{"GET /a", "HEAD /b"}, served); diff != "" {
		t.Error(diff)
	}
}

func TestAnswersInPlaceOfRoutes(t *testing.T) {
	var allowed string
	methods := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		allowed = routing.Allowed(scope)
		return status(405).Serve(ctx, scope, receive, send)
	})
	m := built(t, routing.Options{NotFound: status(410), MethodNotAllowed: methods}, http("GET /a"))
	ask(t, m, question{"GET", "/x", 410, "own"}, question{"POST", "/a", 405, "own"})
	const want = "GET, HEAD, OPTIONS"
	if res := pagitest.New(m).Post("/a"); res.Header("allow") != want || allowed != want {
		t.Errorf("allow is %q, Allowed returned %q", res.Header("allow"), allowed)
	}
	if got := routing.Allowed(&pagi.Scope{Type: pagi.TypeHTTP}); got != "" {
		t.Errorf("another scope has the methods %q", got)
	}
}

func TestA405KeepsItsOwnAllow(t *testing.T) {
	for name, c := range map[string]struct {
		status  int
		headers pagi.Headers
		allow   string
	}{
		"a 405 without the header": {405, nil, "GET, HEAD, OPTIONS"},
		"a 405 with its own":       {405, pagi.NewHeaders("allow", "GET"), "GET"},
		"another status":           {403, nil, ""},
	} {
		own := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
			return reply.Send(ctx, scope, send, c.status, c.headers, nil)
		})
		res := pagitest.New(built(t, routing.Options{MethodNotAllowed: own}, http("GET /a"))).Post("/a")
		if res.Status != c.status || res.Header("allow") != c.allow || res.Err != nil {
			t.Errorf("%s: %d, allow %q, %v", name, res.Status, res.Header("allow"), res.Err)
		}
	}
}

func TestScopesOfOtherTypes(t *testing.T) {
	m := built(t, routing.Options{},
		http("GET /page"), pagi.Route{Kind: pagi.TypeSSE, Pattern: "/events/{id}"}, pagi.Route{Kind: pagi.TypeWebSocket, Pattern: "/chat/{id}"}, mount("/m"))
	c := pagitest.New(m)
	c.Extensions = map[string]any{pagi.ExtDenialResponse: struct{}{}}
	for target, want := range map[string]string{
		"/events/1": "/events/{id} id=1 |/events/1",
		"/page":     "GET /page |/page", // declined, and asked again for a page
		"/m/x":      "/m /m|/x",
		"/chat/1":   "Not Found\n",
	} {
		if res := c.Get(target, pagitest.AcceptEvents()); res.Text() != want || res.Err != nil {
			t.Errorf("an event stream of %s: %q %v", target, res.Text(), res.Err)
		}
	}
	for target, want := range map[string]string{
		"/chat/1": "/chat/{id} id=1 |/chat/1", "/m/x": "/m /m|/x", "/page": "Not Found\n", "/events/1": "Not Found\n",
	} {
		ws := c.WebSocket(target)
		if err := ws.Finish(); err != nil || ws.Accepted || ws.Response.Text() != want {
			t.Errorf("a WebSocket of %s: %+v %v", target, ws.Response, err)
		}
	}
	if err := m.Serve(t.Context(), &pagi.Scope{Type: "mail"}, nil, nil); !errors.Is(err, pagi.ErrUnsupported) {
		t.Errorf("an unknown scope: %v", err)
	}
}

func TestTheOtherSlash(t *testing.T) {
	m := built(t, routing.Options{RedirectSlash: true}, http("GET /a"), http("GET /b/"), http("GET /c"), http("GET /c/"), http("/{id}/x"))
	c := pagitest.New(m)
	for target, want := range map[string]string{"/a/": "/a", "/b": "b/", "/a/?q=1": "/a?q=1", "/a%2Fb/x/": "../x"} {
		if res := c.Get(target); res.Status != 301 || !strings.HasSuffix(res.Header("location"), want) {
			t.Errorf("%s: %d to %q", target, res.Status, res.Header("location"))
		}
	}
	ask(t, m,
		question{"GET", "/c", 200, "GET /c |/c"}, question{"GET", "/c/", 200, "GET /c/ |/c/"},
		question{"GET", "/a//", 404, "Not Found\n"}, question{"GET", "/", 404, "Not Found\n"},
		question{"GET", "/x%2F", 404, "Not Found\n"}, // an encoded slash is none
	)
	if ws := c.WebSocket("/a/"); ws.Accepted || ws.Response.Status != 404 {
		t.Errorf("a WebSocket is redirected: %+v", ws.Response)
	}
}

// cascade is a simple form of the Cascade of package apps: the second application answers for a 404.
func cascade(all []pagi.App) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		for _, app := range all[:len(all)-1] {
			if res := pagitest.New(app).Get(scope.Path); res.Status != 404 {
				return reply.Send(ctx, scope, send, res.Status, nil, res.Body)
			}
		}
		return all[len(all)-1].Serve(ctx, scope, receive, send)
	})
}

func TestMounts(t *testing.T) {
	var table routing.Table
	table.Add(mount("/"), says("top"), nil, nil)
	table.Add(mount("/a"), says("a"), nil, nil)
	table.Add(mount("/a/{id}/c/"), says("deep"), nil, nil)
	table.Add(http("GET /a/page"), says("page"), nil, nil)
	table.Add(mount("/gone"), status(404), nil, nil).FallThrough = true
	table.Add(mount("/gone/far"), status(404), nil, nil).FallThrough = true
	m, err := table.Build(routing.Options{Cascade: cascade})
	if err != nil {
		t.Fatal(err)
	}
	ask(t, m,
		question{"GET", "/x", 200, "top |/x"},
		question{"GET", "/a", 200, "a /a|"},
		question{"GET", "/ab", 200, "top |/ab"},
		question{"GET", "/a/b", 200, "a /a|/b"},
		question{"GET", "/a/7/c/d", 200, "deep id=7 /a/7/c|/d"},
		question{"GET", "/a/page", 200, "page |/a/page"},
		question{"GET", "/gone/far/x", 200, "top |/gone/far/x"},
	)
}

func TestAMountThatFallsThroughToNothing(t *testing.T) {
	var table routing.Table
	table.Add(mount("/a"), status(404), nil, nil).FallThrough = true
	m, err := table.Build(routing.Options{Cascade: cascade, NotFound: status(410)})
	if err != nil {
		t.Fatal(err)
	}
	ask(t, m, question{"GET", "/a/x", 410, "own"}, question{"GET", "/b", 410, "own"})
}

// A Mux below a mount of another one has the parameters and the pattern of both.
func TestAMuxInAMux(t *testing.T) {
	var seen any
	var inner, outer routing.Table
	inner.Add(pagi.Route{Kind: pagi.TypeHTTP, Method: "GET", Pattern: "/items/{item}", Name: "item"}, pagi.Chain(says("inner"), pagi.MiddlewareFunc(func(next pagi.App) pagi.App {
		return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
			seen = scope.Value(scopekey.Router)
			return next.Serve(ctx, scope, receive, send)
		})
	})), nil, nil)
	below, err := inner.Build(routing.Options{})
	if err != nil {
		t.Fatal(err)
	}
	outer.Add(pagi.Route{Kind: pagi.RouteMount, Pattern: "/shops/{shop}/", Name: "shop"}, below, nil, nil)
	outer.Add(pagi.Route{Kind: pagi.RouteMount, Pattern: "/plain"}, says("plain"), nil, nil)
	m, err := outer.Build(routing.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ask(t, m, question{"GET", "/shops/ulm/items/7", 200, "inner item=7 shop=ulm /shops/ulm|/items/7"})
	want := pagi.Route{Kind: pagi.TypeHTTP, Method: "GET", Pattern: "/shops/{shop}/items/{item}", Name: "item"}
	if diff := cmp.Diff(any(want), seen); diff != "" {
		t.Errorf("the route in the scope: %s", diff)
	}
	want.Name = "shop.item"
	if diff := cmp.Diff([]pagi.Route{
		{Kind: pagi.RouteMount, Pattern: "/shops/{shop}/", Name: "shop"}, want, {Kind: pagi.RouteMount, Pattern: "/plain"},
	}, m.Routes()); diff != "" {
		t.Errorf("the list of routes: %s", diff)
	}
	if url, err := m.URL("shop.item", "item", "a/b", "shop", "ulm"); url != "/shops/ulm/items/a%2Fb" || err != nil {
		t.Errorf("%q, %v", url, err)
	}
}

func TestURLsThatCannotBeMade(t *testing.T) {
	m := built(t, routing.Options{}, pagi.Route{Kind: pagi.TypeHTTP, Pattern: "/a/{id:[0-9]+}", Name: "thing"})
	for want, call := range map[string][]string{
		`the parameter "id" has no value`:   {"thing", "id"},
		`the parameter "id" is given twice`: {"thing", "id", "1", "id", "2"},
		`did you mean "thing"?`:             {"thign", "id", "1"},
		`there is no route of that name`:    {"thing.other", "id", "1"},
		`the URL of "thing": `:              {"thing", "id", "x"},
		`the parameter "id" is missing`:     {"thing"},
	} {
		if url, err := m.URL(call[0], call[1:]...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %q, %v, want %q", call, url, err, want)
		}
	}
}

func TestWrongTables(t *testing.T) {
	wrong := broken{}
	for name, c := range map[string]struct {
		routes []routing.Route
		want   []string
	}{
		"a pattern that is wrong":     {[]routing.Route{{Route: http("a")}}, []string{`"a": must begin with a slash`}},
		"a pattern that is missing":   {[]routing.Route{{Route: http("GET ")}}, []string{"GET : the pattern is missing"}},
		"no application":              {[]routing.Route{{Route: pagi.Route{Kind: pagi.TypeSSE, Pattern: "/none"}}}, []string{"sse /none has no application"}},
		"a mount with a wildcard":     {[]routing.Route{{Route: mount("/a/{x...}")}}, []string{"leave the wildcard out"}},
		"a method in lower case":      {[]routing.Route{{Route: http("get /a")}}, []string{"must be a word of capital letters"}},
		"a method of two words":       {[]routing.Route{{Route: pagi.Route{Kind: pagi.TypeHTTP, Method: "GET,POST", Pattern: "/a"}}}, []string{"must be a word"}},
		"all that is wrong":           {[]routing.Route{{Route: http("a")}, {Route: http("b")}}, []string{`"a"`, `"b"`}},
		"what an application reports": {[]routing.Route{{Route: http("GET /a"), App: wrong}}, []string{"GET /a: not today"}},
		"what a middleware reports":   {[]routing.Route{{Route: http("/a"), Middleware: []pagi.Middleware{wrong}}}, []string{"any /a: not today"}},
	} {
		var table routing.Table
		for _, r := range c.routes {
			if r.App == nil && name != "no application" {
				r.App = says("x")
			}
			table.Add(r.Route, r.App, r.Middleware, nil)
		}
		err := table.Check(routing.Options{})
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
	err := (&routing.Table{}).Check(routing.Options{NotFound: wrong, MethodNotAllowed: wrong})
	if err == nil || err.Error() != "not found: not today\nmethod not allowed: not today" {
		t.Errorf("options: %v", err)
	}
}

// broken is an application and a middleware whose options are wrong.
type broken struct{}

func (broken) Check() error             { return errors.New("not today") }
func (b broken) Wrap(pagi.App) pagi.App { return b }
func (broken) Serve(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error {
	return errors.New("not today")
}

func TestConflicts(t *testing.T) {
	for name, c := range map[string]struct {
		routes []pagi.Route
		want   routing.Conflict
		text   string
	}{
		"the same pattern": {
			[]pagi.Route{http("GET /x"), http("GET /{a}"), http("GET /{b}")},
			routing.Conflict{Earlier: 1, Later: 2}, "GET /{a} and GET /{b} are the same route",
		},
		"mounts that differ by a slash": {
			[]pagi.Route{mount("/a"), mount("/a/")},
			routing.Conflict{Earlier: 0, Later: 1}, "mount /a and mount /a/ are the same route",
		},
		"event streams": {
			[]pagi.Route{{Kind: pagi.TypeSSE, Pattern: "/a"}, {Kind: pagi.TypeWebSocket, Pattern: "/a"}, {Kind: pagi.TypeSSE, Pattern: "/a"}},
			routing.Conflict{Earlier: 0, Later: 2}, "sse /a and sse /a are the same route",
		},
		"names": {
			[]pagi.Route{{Kind: pagi.TypeHTTP, Pattern: "/a", Name: "n"}, {Kind: pagi.TypeHTTP, Pattern: "/b", Name: "n"}},
			routing.Conflict{Earlier: 0, Later: 1, Name: "n"}, `any /a and any /b have the same name "n"`,
		},
	} {
		var table routing.Table
		for _, r := range c.routes {
			table.Add(r, says("x"), nil, nil)
		}
		_, err := table.Build(routing.Options{})
		var got *routing.Conflict
		if !errors.As(err, &got) || got.Earlier != c.want.Earlier || got.Later != c.want.Later || got.Name != c.want.Name || got.Error() != c.text {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// living is an application that counts its lifespans, and those that run at a time.
type living struct {
	mu              sync.Mutex
	started, ended  int
	running, atOnce int
}

func (l *living) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type != pagi.TypeLifespan {
		return reply.Send(ctx, scope, send, 200, nil, []byte("living"))
	}
	return lifespan.Serve(ctx, receive, send, func(context.Context) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.started++
		l.running++
		l.atOnce = max(l.atOnce, l.running)
		return nil
	}, func(context.Context) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ended++
		l.running--
		return nil
	})
}

// An application that several routes share lives once, also where middleware makes several of it.
func TestASharedApplicationLivesOnce(t *testing.T) {
	around := pagi.MiddlewareFunc(func(next pagi.App) pagi.App {
		return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
			return next.Serve(ctx, scope, receive, send)
		})
	})
	for name, middleware := range map[string][]pagi.Middleware{"without middleware": nil, "with middleware": {around}} {
		app := &living{}
		var table routing.Table
		table.Add(http("GET /a"), app, middleware, nil)
		table.Add(http("POST /a"), app, nil, nil)
		table.Add(mount("/m"), app, nil, middleware)
		m, err := table.Build(routing.Options{NotFound: app})
		if err != nil {
			t.Fatal(err)
		}
		err = pagitest.Run(t.Context(), m, func(c *pagitest.Client) error {
			for _, target := range []string{"/a", "/m/x", "/none"} {
				c.Get(target).Expect(t, 200, "living")
			}
			return nil
		})
		if err != nil || app.started != 1 || app.ended != 1 || app.atOnce != 1 {
			t.Errorf("%s: %d started, %d at once, %d ended, %v", name, app.started, app.atOnce, app.ended, err)
		}
	}
}

func TestAFailedStartupNamesTheRoute(t *testing.T) {
	fails := lifespan.Hooks{Startup: []func(context.Context, map[string]any) error{func(context.Context, map[string]any) error { return errors.New("no database") }}}
	for name, c := range map[string]struct {
		options routing.Options
		routes  []pagi.Route
	}{
		"GET /a":    {routes: []pagi.Route{http("GET /a")}},
		"mount /m":  {routes: []pagi.Route{mount("/m")}},
		"not found": {options: routing.Options{NotFound: fails.Wrap(says("x"))}},
	} {
		var table routing.Table
		for _, r := range c.routes {
			table.Add(r, fails.Wrap(says("x")), nil, nil)
		}
		m, err := table.Build(c.options)
		if err != nil {
			t.Fatal(err)
		}
		err = pagitest.New(m).Startup(t.Context())
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "no database") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Middleware of groups is outside that of the route, and is wrapped when the Mux is built, not for each
// request.
func TestMiddlewareIsWrappedOnce(t *testing.T) {
	var wrapped, called []string
	note := func(name string) pagi.Middleware {
		return pagi.MiddlewareFunc(func(next pagi.App) pagi.App {
			wrapped = append(wrapped, name)
			return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
				called = append(called, name)
				return next.Serve(ctx, scope, receive, send)
			})
		})
	}
	group := append(make([]pagi.Middleware, 0, 4), note("group"))
	var table routing.Table
	table.Add(http("GET /a"), says("a"), group, []pagi.Middleware{note("a")})
	table.Add(http("GET /b"), says("b"), group, []pagi.Middleware{note("b")}) // must not change that of /a
	m, err := table.Build(routing.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ask(t, m, question{"GET", "/a", 200, "a |/a"}, question{"GET", "/a", 200, "a |/a"})
	if diff := cmp.Diff([]string{"a", "group", "b", "group"}, wrapped); diff != "" {
		t.Errorf("wrapped: %s", diff)
	}
	if diff := cmp.Diff([]string{"group", "a", "group", "a"}, called); diff != "" {
		t.Errorf("called: %s", diff)
	}
}

func TestLazyBuildsWhenTheFirstScopeComes(t *testing.T) {
	var lazy routing.Lazy
	var table routing.Table
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		return lazy.Serve(ctx, scope, receive, send, &table, routing.Options{})
	})
	table.Add(pagi.Route{Kind: pagi.TypeHTTP, Pattern: "/a", Name: "a"}, says("a"), nil, nil)
	if url, err := lazy.URL(&table, "a"); url != "/a" || err != nil {
		t.Errorf("before the first scope: %q %v", url, err)
	}
	late := table.Add(http("/b"), says("b"), nil, nil)
	if n := len(lazy.Routes(&table)); n != 2 {
		t.Errorf("%d routes", n)
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if res := pagitest.New(app).Get("/b"); res.Text() != "b |/b" || res.Err != nil {
				t.Errorf("%q %v", res.Text(), res.Err)
			}
		})
	}
	all.Wait()
	late.Pattern = "/c"
	table.Add(http("/d"), says("d"), nil, nil)
	ask(t, app, question{"GET", "/b", 200, "b |/b"}, question{"GET", "/c", 404, "Not Found\n"}, question{"GET", "/d", 404, "Not Found\n"})
	if n := len(lazy.Routes(&table)); n != 2 {
		t.Errorf("%d routes after the first scope", n)
	}
}

func TestALazyWithAWrongRoute(t *testing.T) {
	var lazy routing.Lazy
	var table routing.Table
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		return lazy.Serve(ctx, scope, receive, send, &table, routing.Options{})
	})
	table.Add(http("a"), says("a"), nil, nil)
	if res := pagitest.New(app).Get("/a"); res.Err == nil || !strings.Contains(res.Err.Error(), "must begin with a slash") {
		t.Errorf("a request: %d %v", res.Status, res.Err)
	}
	if err := pagitest.New(app).Startup(t.Context()); err == nil || !strings.Contains(err.Error(), "must begin with a slash") {
		t.Errorf("the startup: %v", err)
	}
	if _, err := lazy.URL(&table, "a"); err == nil {
		t.Error("the URL has no error")
	}
	if routes := lazy.Routes(&table); routes != nil {
		t.Error(fmt.Sprint(routes))
	}
}
