package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

var cookieSecret = strings.Repeat("k", 32)

// withJar returns an application that uses its jar and then says hello.
func withJar(use func(jar *middleware.CookieJar)) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
		use(middleware.CookieJarOf(s))
		switch s.Type {
		case pagi.TypeSSE:
			return answering(pagi.SSEStart{}, pagi.SSESend{Data: "hello"}).Serve(ctx, s, r, w)
		case pagi.TypeWebSocket:
			return answering(pagi.WebSocketAccept{}).Serve(ctx, s, r, w)
		}
		return hello.Serve(ctx, s, r, w)
	})
}

func ExampleCookie() {
	app := middleware.Cookie{Secrets: []string{cookieSecret}}.Wrap(pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
		jar := middleware.CookieJarOf(s)
		user, ok := jar.Signed("user")
		if !ok {
			user = "a stranger"
			if err := jar.SetSigned(&http.Cookie{Name: "user", Value: "Ann", HttpOnly: true}); err != nil {
				return err
			}
		}
		return respond(200, "Hello, "+user).Serve(ctx, s, r, w)
	}))
	client := pagitest.New(app)
	fmt.Println(client.Get("/").Text())
	fmt.Println(client.Get("/").Text())
	// Output:
	// Hello, a stranger
	// Hello, Ann
}

func TestCookieReads(t *testing.T) {
	for _, c := range []struct {
		name, header string
		want         map[string]string
	}{
		{"none", "", map[string]string{}},
		{"two", "a=1; b=2", map[string]string{"a": "1", "b": "2"}},
		{"the first of a name counts", "a=1; a=2", map[string]string{"a": "1"}},
		{"quotes", `a="1 2"`, map[string]string{"a": "1 2"}},
		{"an empty value", "a=", map[string]string{"a": ""}},
		{"an equals sign", "a=b=c", map[string]string{"a": "b=c"}},
		{"no name", "=1; b; c=3", map[string]string{"c": "3"}},
		{"percent-encoding stays", "a=%20", map[string]string{"a": "%20"}},
	} {
		var found *pagi.Scope
		app := middleware.Cookie{}.Wrap(pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
			found = s
			return hello.Serve(ctx, s, r, w)
		}))
		var opts []pagitest.Option
		if c.header != "" {
			opts = append(opts, pagitest.Header("cookie", c.header))
		}
		res := pagitest.New(app).Get("/", opts...)
		if diff := cmp.Diff(any(c.want), found.Value(scopekey.Cookies)); diff != "" || res.Err != nil || res.Headers.Has("set-cookie") {
			t.Errorf("%s: %v %s", c.name, res.Err, diff)
		}
		if got := middleware.CookieJarOf(found).Get("a"); got != c.want["a"] {
			t.Errorf("%s: %q", c.name, got)
		}
	}
	if middleware.CookieJarOf(&pagi.Scope{}) != nil {
		t.Error("there is a jar without the middleware")
	}
}

func TestCookieSets(t *testing.T) {
	for _, c := range []struct {
		name string
		use  func(jar *middleware.CookieJar) error
		want []string
		err  string
	}{
		{"for all paths", func(j *middleware.CookieJar) error { return j.Set(&http.Cookie{Name: "a", Value: "1"}) }, []string{"a=1; Path=/"}, ""},
		{"all attributes", func(j *middleware.CookieJar) error {
			return j.Set(&http.Cookie{Name: "a", Value: "1", Path: "/x", Domain: "example.org", MaxAge: 3600, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
		}, []string{"a=1; Path=/x; Domain=example.org; Max-Age=3600; HttpOnly; Secure; SameSite=Strict"}, ""},
		{"several", func(j *middleware.CookieJar) error {
			return errors.Join(j.Set(&http.Cookie{Name: "a", Value: "1"}), j.Set(&http.Cookie{Name: "b", Value: "2"}), j.Set(&http.Cookie{Name: "a", Value: "3", Path: "/x"}))
		}, []string{"a=1; Path=/", "b=2; Path=/", "a=3; Path=/x"}, ""},
		{"the last one counts", func(j *middleware.CookieJar) error {
			return errors.Join(j.Set(&http.Cookie{Name: "a", Value: "1"}), j.Set(&http.Cookie{Name: "b", Value: "2"}), j.Set(&http.Cookie{Name: "a", Value: "3", Path: "/"}))
		}, []string{"a=3; Path=/", "b=2; Path=/"}, ""},
		{"deleted", func(j *middleware.CookieJar) error { return j.Delete("a", "", "") }, []string{"a=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0"}, ""},
		{"deleted after it was set", func(j *middleware.CookieJar) error {
			return errors.Join(j.Set(&http.Cookie{Name: "a", Value: "1", Path: "/x", Domain: ".example.org"}), j.Delete("a", "/x", "example.org"))
		}, []string{"a=; Path=/x; Domain=example.org; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0"}, ""},
		{"a name with a space", func(j *middleware.CookieJar) error { return j.Set(&http.Cookie{Name: "a b", Value: "1"}) }, nil, "Cookie.Name"},
		{"a value that splits the response", func(j *middleware.CookieJar) error { return j.Set(&http.Cookie{Name: "a", Value: "1\r\nx: y"}) }, nil, "Cookie.Value"},
		{"a value that adds an attribute", func(j *middleware.CookieJar) error { return j.Set(&http.Cookie{Name: "a", Value: "1; Domain=evil"}) }, nil, "Cookie.Value"},
		{"a path that adds one", func(j *middleware.CookieJar) error {
			return j.Set(&http.Cookie{Name: "a", Value: "1", Path: "/; Domain=evil"})
		}, nil, "Cookie.Path"},
		{"a value that is too long", func(j *middleware.CookieJar) error {
			return j.Set(&http.Cookie{Name: "a", Value: strings.Repeat("x", 4096)})
		}, nil, "4097 bytes"},
		{"__Host- that is not secure", func(j *middleware.CookieJar) error { return j.Set(&http.Cookie{Name: "__Host-a", Value: "1"}) }, nil, "__Host-"},
		{"__Host- that is", func(j *middleware.CookieJar) error {
			return j.Set(&http.Cookie{Name: "__Host-a", Value: "1", Secure: true})
		}, []string{"__Host-a=1; Path=/; Secure"}, ""},
		{"SameSite=None that is not secure", func(j *middleware.CookieJar) error {
			return j.Set(&http.Cookie{Name: "a", Value: "1", SameSite: http.SameSiteNoneMode})
		}, nil, "SameSite"},
		{"signed without a secret", func(j *middleware.CookieJar) error { return j.SetSigned(&http.Cookie{Name: "a"}) }, nil, "secrets"},
		{"encrypted without a secret", func(j *middleware.CookieJar) error { return j.SetEncrypted(&http.Cookie{Name: "a"}) }, nil, "secrets"},
	} {
		var err error
		res := pagitest.New(middleware.Cookie{}.Wrap(withJar(func(j *middleware.CookieJar) { err = c.use(j) }))).Get("/")
		got := slices.Collect(res.Headers.Values("set-cookie"))
		if diff := cmp.Diff(c.want, got); diff != "" || res.Err != nil || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v %v %s", c.name, res.Err, err, diff)
		}
	}
	if len(shared) != 1 {
		t.Errorf("the application's own headers were changed: %v", shared)
	}
}

func TestCookieInEveryScope(t *testing.T) {
	client := pagitest.New(middleware.Cookie{}.Wrap(withJar(func(j *middleware.CookieJar) { j.Set(&http.Cookie{Name: "a", Value: j.Get("a") + "1"}) })))
	client.Get("/")
	events := client.Events("/")
	if res := events.Finish(); res.Header("set-cookie") != "a=11; Path=/" {
		t.Errorf("an event stream: %v", res.Headers)
	}
	ws := client.WebSocket("/")
	if ws.Headers.Get("set-cookie") != "a=111; Path=/" {
		t.Errorf("a WebSocket: %v", ws.Headers)
	}
	ws.Finish()
}

func TestCookieTooLate(t *testing.T) {
	var late error
	app := middleware.Cookie{}.Wrap(pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
		jar := middleware.CookieJarOf(s)
		if err := jar.Set(&http.Cookie{Name: "a", Value: "1"}); err != nil {
			return err
		}
		if err := w(ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("x", "\n")}); err == nil {
			return errors.New("a wrong header is sent")
		}
		if err := jar.Set(&http.Cookie{Name: "b", Value: "2"}); err != nil {
			return err // the start was refused: it is not too late
		}
		if err := w(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
			return err
		}
		late = jar.Set(&http.Cookie{Name: "c", Value: "3"})
		return w(ctx, pagi.HTTPResponseBody{})
	}))
	res := pagitest.New(app).Get("/")
	if got := res.Headers.Joined("set-cookie"); got != "a=1; Path=/, b=2; Path=/" || !errors.Is(late, middleware.ErrCookieTooLate) {
		t.Errorf("%s, %v", got, late)
	}
}

func TestCookieSignsAndEncrypts(t *testing.T) {
	other := strings.Repeat("o", 32)
	// made returns the value of the cookie a that the middleware makes of "secret".
	made := func(encrypted bool, name string, secrets ...string) string {
		res := pagitest.New(middleware.Cookie{Secrets: secrets}.Wrap(withJar(func(j *middleware.CookieJar) {
			set := j.SetSigned
			if encrypted {
				set = j.SetEncrypted
			}
			if err := set(&http.Cookie{Name: name, Value: "a secret; with \"everything\"\n"}); err != nil {
				t.Error(err)
			}
		}))).Get("/")
		value, _, _ := strings.Cut(res.Header("set-cookie"), ";")
		return strings.TrimPrefix(value, name+"=")
	}
	for _, encrypted := range []bool{false, true} {
		token := made(encrypted, "a", cookieSecret)
		if readable := strings.Contains(token, "YSBzZWNyZX"); readable == encrypted {
			t.Errorf("encrypted %v: %s", encrypted, token)
		}
		swap := func(s string, i int, c byte) string { return s[:i] + string(c) + s[i+1:] }
		last := byte('A')
		if token[len(token)-2] == last {
			last = 'B'
		}
		for _, c := range []struct {
			name    string
			value   string
			secrets []string
			ok      bool
		}{
			{"as it was set", token, []string{cookieSecret}, true},
			{"after the secret has changed", token, []string{other, cookieSecret}, true},
			{"after the secret has gone", token, []string{other}, false},
			{"without secrets", token, nil, false},
			{"changed", swap(token, len(token)-2, last), []string{cookieSecret}, false},
			{"changed in the middle", swap(token, len(token)/2, '.'), []string{cookieSecret}, false},
			{"cut", token[:len(token)-1], []string{cookieSecret}, false},
			{"of another cookie", made(encrypted, "b", cookieSecret), []string{cookieSecret}, false},
			{"of the other kind", made(!encrypted, "a", cookieSecret), []string{cookieSecret}, false},
			{"plain", "a secret", []string{cookieSecret}, false},
			{"empty", "", []string{cookieSecret}, false},
		} {
			var value string
			var ok bool
			app := middleware.Cookie{Secrets: c.secrets}.Wrap(withJar(func(j *middleware.CookieJar) {
				if encrypted {
					value, ok = j.Encrypted("a")
				} else {
					value, ok = j.Signed("a")
				}
			}))
			res := pagitest.New(app).Get("/", pagitest.Header("cookie", "a="+c.value))
			if res.Err != nil || ok != c.ok || ok && value != "a secret; with \"everything\"\n" || !ok && value != "" {
				t.Errorf("encrypted %v, %s: %q %v", encrypted, c.name, value, ok)
			}
		}
	}
}

func TestCookieOptionsAreChecked(t *testing.T) {
	for want, m := range map[string]middleware.Cookie{
		`secrets: number 1 has 5 bytes; it needs 32`: {Secrets: []string{"short"}},
		`secrets: number 2 has 0 bytes; it needs 32`: {Secrets: []string{cookieSecret, ""}},
		`secrets: number 2 is there twice`:           {Secrets: []string{cookieSecret, cookieSecret}},
	} {
		if err := m.Check(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if res := pagitest.New(m.Wrap(hello)).Get("/"); res.Status != 500 {
			t.Errorf("a request with a wrong option: %d", res.Status)
		}
	}
	if err := (middleware.Cookie{}).Check(); err != nil {
		t.Error(err)
	}
}

func BenchmarkCookie(b *testing.B) {
	app := middleware.Cookie{}.Wrap(hello)
	send := func(context.Context, pagi.Event) error { return nil }
	for name, header := range map[string]string{"no cookies": "", "three cookies": "a=1; session=" + strings.Repeat("x", 32) + "; b=2"} {
		b.Run(name, func(b *testing.B) {
			scope := &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Stash: &pagi.Stash{}}
			if header != "" {
				scope.Headers = pagi.NewHeaders("cookie", header)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := app.Serve(b.Context(), scope, nil, send); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
