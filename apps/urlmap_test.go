package apps_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// named answers with its name and where it believes to be.
func named(name string) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		if s.Type != pagi.TypeHTTP {
			return pagi.Unsupported(s)
		}
		if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
			return err
		}
		return send(ctx, pagi.HTTPResponseBody{Body: fmt.Appendf(nil, "%s [%s] %s", name, s.RootPath, s.Path)})
	})
}

func ExampleURLMap() {
	client := pagitest.New(&apps.URLMap{Mounts: []apps.Mount{
		{Path: "/", App: named("home")},
		{Path: "/shop", App: named("shop")},
		{Host: "*.example.com", App: named("customer")},
	}})
	fmt.Println(client.Get("/shop/cart").Text())
	client.Host = "ann.example.com:8080"
	fmt.Println(client.Get("/shop/cart").Text())
	// Output:
	// shop [/shop] /cart
	// customer [] /shop/cart
}

func TestURLMapPaths(t *testing.T) {
	m := &apps.URLMap{Mounts: []apps.Mount{{Path: "/a", App: named("a")}, {Path: "/a/b/", App: named("b")}, {Path: "/ü", App: named("u")}}, Default: named("default")}
	c := pagitest.New(m)
	c.RootPath = "/outer"
	for target, want := range map[string]string{
		"/a": "a [/outer/a] ", "/a/": "a [/outer/a] /", "/a/x": "a [/outer/a] /x", "/a/b": "b [/outer/a/b] ", "/a/b/": "b [/outer/a/b] /", "/a/b/c/d": "b [/outer/a/b] /c/d",
		"/a/bc": "a [/outer/a] /bc", "/ab": "default [/outer] /ab", "/": "default [/outer] /", "/A": "default [/outer] /A", "/%C3%BC/x": "u [/outer/ü] /x", "//a": "default [/outer] //a",
	} {
		if res := c.Get(target); res.Err != nil || res.Text() != want {
			t.Errorf("%s: %q %v, want %q", target, res.Text(), res.Err, want)
		}
	}
	if res := pagitest.New(&apps.URLMap{}).Get("/"); res.Err != nil || res.Status != 404 {
		t.Errorf("the zero value: %d %v", res.Status, res.Err)
	}
}

func TestURLMapHosts(t *testing.T) {
	m := &apps.URLMap{Mounts: []apps.Mount{
		{Path: "/", App: named("any")},
		{Path: "/deep/er", App: named("any deeper")},
		{Host: "*.example.com", App: named("wild")},
		{Host: "*.eu.example.com", Path: "/", App: named("wilder")},
		{Host: "WWW.Example.Com:443", Path: "/www", App: named("www")},
		{Host: "::1", App: named("six")},
	}}
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
	c := pagitest.New(m)
	for _, tc := range []struct{ host, path, want string }{
		{"www.example.com", "/www/x", "www"}, {"www.example.com:8080", "/www", "www"}, {"WWW.EXAMPLE.COM.", "/www", "www"},
		{"www.example.com", "/else", "wild"}, {"ann.example.com", "/deep/er", "wild"}, {"a.b.example.com", "/", "wild"},
		{"x.eu.example.com", "/", "wilder"}, {"eu.example.com", "/", "wild"}, {"example.com", "/", "any"}, {"badexample.com", "/", "any"},
		{".example.com", "/", "any"}, {"[::1]:5000", "/", "six"}, {"[::1]", "/", "six"}, {"other", "/deep/er/x", "any deeper"}, {"", "/", "any"},
	} {
		res := c.Get(tc.path, pagitest.Header("host", tc.host))
		if name, _, _ := strings.Cut(res.Text(), " ["); name != tc.want || res.Err != nil {
			t.Errorf("%s%s: %q %v, want %q", tc.host, tc.path, name, res.Err, tc.want)
		}
	}
}

type lifeApp struct {
	name string
	log  *[]string
	fail error
}

func (a *lifeApp) Serve(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
	if s.Type != pagi.TypeLifespan {
		return pagi.Unsupported(s)
	}
	return lifespan.Serve(ctx, r, w, func(context.Context) error {
		*a.log = append(*a.log, a.name)
		s.State[a.name] = true
		return a.fail
	}, nil)
}

func TestURLMapLifespan(t *testing.T) {
	var log []string
	one := &lifeApp{name: "one", log: &log}
	m := &apps.URLMap{Mounts: []apps.Mount{{Path: "/a", App: one}, {Path: "/b", App: one}, {Path: "/c", App: named("none")}, {Path: "/d", App: named("none")}}, Default: one}
	c := pagitest.Start(t, m)
	if diff := cmp.Diff([]string{"one"}, log); diff != "" || c.State()["one"] != true {
		t.Errorf("started %s, state %v", diff, c.State())
	}
	m = &apps.URLMap{Mounts: []apps.Mount{{Host: "h", Path: "/x", App: &lifeApp{name: "bad", log: new([]string), fail: errors.New("no")}}}}
	if err := pagitest.New(m).Startup(t.Context()); err == nil || err.Error() != "startup failed: h/x: no" {
		t.Errorf("a failing mount: %v", err)
	}
	m = &apps.URLMap{Default: &lifeApp{name: "bad", log: new([]string), fail: errors.New("no")}}
	if err := pagitest.New(m).Startup(t.Context()); err == nil || err.Error() != "startup failed: default: no" {
		t.Errorf("a failing default: %v", err)
	}
}

func TestURLMapCheck(t *testing.T) {
	ok := named("x")
	for want, m := range map[string]*apps.URLMap{
		"mounts: /x has no application":                   {Mounts: []apps.Mount{{Path: "/x"}}},
		`path: "x" must begin with a slash`:               {Mounts: []apps.Mount{{Path: "x", App: ok}}},
		`host: "a*.b" must be a host name`:                {Mounts: []apps.Mount{{Host: "a*.b", App: ok}}},
		`host: "http://a/" must be a host name`:           {Mounts: []apps.Mount{{Host: "http://a/", App: ok}}},
		`host: "*." must be a host name`:                  {Mounts: []apps.Mount{{Host: "*.", App: ok}}},
		"mounts: /x/ is mounted twice":                    {Mounts: []apps.Mount{{Path: "/x", App: ok}, {Path: "/x/", App: ok}}},
		"mounts: A.b:80/ is mounted twice":                {Mounts: []apps.Mount{{Host: "a.B", App: ok}, {Host: "A.b:80", Path: "/", App: ok}}},
		"/r: to: is missing":                              {Mounts: []apps.Mount{{Path: "/r", App: &apps.Redirect{}}}},
		"default: status: must be 200 to 999, is 7":       {Default: &apps.NotFound{Status: 7}},
		"/c: cascade[0]: to: is missing":                  {Mounts: []apps.Mount{{Path: "/c", App: &apps.Cascade{Apps: []pagi.App{&apps.Redirect{}}}}}},
		"/c: catch: must hold statuses of 200 to 999, ha": {Mounts: []apps.Mount{{Path: "/c", App: &apps.Cascade{Catch: []int{9}}}}},
	} {
		if err := m.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := (&apps.URLMap{}).Check(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
}

func TestNotFound(t *testing.T) {
	for name, tc := range map[string]struct {
		app         *apps.NotFound
		status      int
		ctype, body string
	}{
		"the zero value": {&apps.NotFound{}, 404, "text/plain; charset=utf-8", "Not Found"},
		"all options":    {&apps.NotFound{Body: "<p>gone", ContentType: "text/html", Status: 410}, 410, "text/html", "<p>gone"},
		"a function":     {&apps.NotFound{Body: "x", BodyFunc: func(s *pagi.Scope) string { return "no " + s.Path }}, 404, "text/plain; charset=utf-8", "no /p"},
	} {
		res := pagitest.New(tc.app).Get("/p")
		if res.Err != nil || res.Status != tc.status || res.Header("content-type") != tc.ctype || res.Text() != tc.body {
			t.Errorf("%s: %d %q %q %v", name, res.Status, res.Header("content-type"), res.Text(), res.Err)
		}
	}
	if err := (&apps.NotFound{ContentType: "a\nb"}).Check(); err == nil {
		t.Error("Check accepts a content type with LF")
	}
	bad := &apps.NotFound{BodyFunc: func(s *pagi.Scope) string { t.Error("called for lifespan"); return "" }}
	if err := bad.Serve(t.Context(), &pagi.Scope{Type: pagi.TypeLifespan}, nil, nil); !errors.Is(err, pagi.ErrUnsupported) {
		t.Errorf("lifespan: %v", err)
	}
}

func ExampleRedirect() {
	client := pagitest.New(&apps.Redirect{To: "https://example.org/new", Status: 301})
	res := client.Get("/old?page=2")
	fmt.Println(res.Status, res.Header("location"))
	// Output: 301 https://example.org/new?page=2
}

func TestRedirect(t *testing.T) {
	for _, tc := range []struct {
		app    *apps.Redirect
		target string
		status int
		want   string
	}{
		{&apps.Redirect{To: "/new"}, "/old", 302, "/new"},
		{&apps.Redirect{To: "/new?a=1"}, "/old?b=2", 302, "/new?a=1&b=2"},
		{&apps.Redirect{To: "/new?a=1#frag", Status: 308}, "/old?b=2", 308, "/new?a=1&b=2#frag"},
		{&apps.Redirect{To: "/new", DropQuery: true}, "/old?b=2", 302, "/new"},
		{&apps.Redirect{ToFunc: func(s *pagi.Scope) string { return "//h" + s.Path }, Status: 307}, "/old", 307, "//h/old"},
	} {
		res := pagitest.New(tc.app).Get(tc.target)
		if res.Err != nil || res.Status != tc.status || res.Header("location") != tc.want {
			t.Errorf("%s: %d %q %v, want %q", tc.target, res.Status, res.Header("location"), res.Err, tc.want)
		}
		if err := tc.app.Check(); err != nil {
			t.Error(err)
		}
	}
	for want, app := range map[string]*apps.Redirect{"to: is missing": {}, "status: must be 301": {To: "/", Status: 200}, "to: \"/\\n\" must not": {To: "/\n"}} {
		if err := app.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := (&apps.Redirect{To: "/"}).Serve(t.Context(), &pagi.Scope{Type: pagi.TypeLifespan}, nil, nil); !errors.Is(err, pagi.ErrUnsupported) {
		t.Errorf("lifespan: %v", err)
	}
}

func TestNoSpellingOfAPathLeadsPastAMount(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"cgi-bin/echo.sh": "the source", "page.txt": "a page"})
	for name, root := range map[string]pagi.App{
		"file": &apps.File{Root: dir}, "directory": &apps.Directory{File: apps.File{Root: dir}},
	} {
		c := pagitest.New(&apps.URLMap{Mounts: []apps.Mount{{Path: "/", App: root}, {Path: "/cgi-bin", App: named("cgi")}}})
		for _, target := range []string{"//cgi-bin/echo.sh", "/%2fcgi-bin/echo.sh", "/%2Fcgi-bin%2Fecho.sh", "///cgi-bin/echo.sh", "//cgi-bin/", "//page.txt"} {
			if res := c.Get(target); res.Err != nil || res.Status != 404 {
				t.Errorf("%s, %s: %d %q %v", name, target, res.Status, res.Text(), res.Err)
			}
		}
		if res := c.Get("/page.txt"); res.Text() != "a page" {
			t.Errorf("%s: %d %q", name, res.Status, res.Text())
		}
	}
}

func TestPlacesThatAreTheSame(t *testing.T) {
	same := apps.Mount{Host: "a.example", Path: "/x"}.Place()
	for _, m := range []apps.Mount{{Host: "A.Example", Path: "/x"}, {Host: "a.example.", Path: "/x/"}, {Host: "a.example:80", Path: "/x"}} {
		if m.Place() != same {
			t.Errorf("%s: %q, want %q", m.Name(), m.Place(), same)
		}
	}
	for _, m := range []apps.Mount{{Path: "/x"}, {Host: "*.a.example", Path: "/x"}, {Host: "a.example", Path: "/X"}, {Host: "a.example"}} {
		if m.Place() == same {
			t.Errorf("%s has the same place", m.Name())
		}
	}
}

func TestRedirectKeepsThePath(t *testing.T) {
	for _, tc := range []struct{ mount, to, target, want string }{
		{"/old", "https://new.example/shop", "/old/a%2Fb/?x=1", "https://new.example/shop/a%2Fb/?x=1"},
		{"/old", "https://new.example/shop/", "/old/a", "https://new.example/shop/a"},
		{"/old", "https://new.example", "/old", "https://new.example"},
		{"/old", "https://new.example/?from=old#top", "/old/a?x", "https://new.example/a?from=old&x#top"},
		{"/", "https://new.example", "/a/b", "https://new.example/a/b"},
		{"/old", "/", "/old//evil.example/", "/evil.example/"},
		{"/old", "/", `/old/\evil.example`, "/%5Cevil.example"},
		{"/ö", "/new", "/%C3%B6/a", "/new/a"},
	} {
		app := &apps.URLMap{Mounts: []apps.Mount{{Path: tc.mount, App: &apps.Redirect{To: tc.to, KeepPath: true}}}}
		if res := pagitest.New(app).Get(tc.target); res.Err != nil || res.Status != 302 || res.Header("location") != tc.want {
			t.Errorf("%s to %s, %s: %q, want %q", tc.mount, tc.to, tc.target, res.Header("location"), tc.want)
		}
	}
}
