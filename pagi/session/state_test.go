package session_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/session"
)

func TestCookieStateExtract(t *testing.T) {
	for _, c := range []struct {
		name  string
		state session.CookieState
		lines []string
		want  string
	}{
		{"the only cookie", session.CookieState{}, []string{"pagi_session=abc"}, "abc"},
		{"one of several", session.CookieState{}, []string{"a=1; pagi_session=abc; b=2"}, "abc"},
		{"with spaces and tabs", session.CookieState{}, []string{"a=1;\tpagi_session = abc ;b=2"}, "abc"},
		{"in the second line", session.CookieState{}, []string{"a=1", "pagi_session=abc"}, "abc"},
		{"the first of two", session.CookieState{}, []string{"pagi_session=abc; pagi_session=def"}, "abc"},
		{"another name", session.CookieState{Name: "sid"}, []string{"pagi_session=abc; sid=def"}, "def"},
		{"with a prefix", session.CookieState{HostPrefix: true}, []string{"pagi_session=abc; __Host-pagi_session=def"}, "def"},
		{"a value with an equals sign", session.CookieState{}, []string{"pagi_session=a=b="}, "a=b="},
		{"a name in other case", session.CookieState{}, []string{"Pagi_Session=abc"}, ""},
		{"a name that only begins so", session.CookieState{}, []string{"pagi_session2=abc; xpagi_session=abc"}, ""},
		{"no value", session.CookieState{}, []string{"pagi_session"}, ""},
		{"an empty value", session.CookieState{}, []string{"pagi_session="}, ""},
		{"no cookie", session.CookieState{}, nil, ""},
		{"only separators", session.CookieState{}, []string{";;;=;"}, ""},
	} {
		scope := &pagi.Scope{}
		for _, line := range c.lines {
			scope.Headers.Add("cookie", line)
		}
		if got := c.state.Extract(scope); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestCookieStateInject(t *testing.T) {
	for _, c := range []struct {
		name   string
		state  session.CookieState
		scope  pagi.Scope
		maxAge time.Duration
		want   string
	}{
		{"the defaults", session.CookieState{}, pagi.Scope{Scheme: "http"}, time.Hour, "pagi_session=T; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"},
		{"over https", session.CookieState{}, pagi.Scope{Scheme: "https"}, 0, "pagi_session=T; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"over wss", session.CookieState{}, pagi.Scope{Scheme: "wss"}, 0, "pagi_session=T; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"never secure", session.CookieState{Secure: "never"}, pagi.Scope{Scheme: "https"}, 0, "pagi_session=T; Path=/; HttpOnly; SameSite=Lax"},
		{"always secure", session.CookieState{Secure: "always"}, pagi.Scope{Scheme: "http"}, 0, "pagi_session=T; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"a part of a second is rounded up", session.CookieState{}, pagi.Scope{}, 1500 * time.Millisecond, "pagi_session=T; Path=/; Max-Age=2; HttpOnly; SameSite=Lax"},
		{"below a mount", session.CookieState{}, pagi.Scope{RootPath: "/shop"}, 0, "pagi_session=T; Path=/shop; HttpOnly; SameSite=Lax"},
		{"below a mount with other characters", session.CookieState{}, pagi.Scope{RootPath: "/a;b"}, 0, "pagi_session=T; Path=/; HttpOnly; SameSite=Lax"},
		{"a path of its own", session.CookieState{Path: "/x"}, pagi.Scope{RootPath: "/shop"}, 0, "pagi_session=T; Path=/x; HttpOnly; SameSite=Lax"},
		{"a domain", session.CookieState{Domain: "example.org"}, pagi.Scope{}, 0, "pagi_session=T; Path=/; Domain=example.org; HttpOnly; SameSite=Lax"},
		{"strict", session.CookieState{SameSite: "Strict"}, pagi.Scope{}, 0, "pagi_session=T; Path=/; HttpOnly; SameSite=Strict"},
		{"none is secure", session.CookieState{SameSite: "None"}, pagi.Scope{}, 0, "pagi_session=T; Path=/; HttpOnly; Secure; SameSite=None"},
		{"the host prefix", session.CookieState{Name: "s", HostPrefix: true}, pagi.Scope{RootPath: "/shop"}, 0, "__Host-s=T; Path=/; HttpOnly; Secure; SameSite=Lax"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.state.Check(); err != nil {
				t.Fatal(err)
			}
			headers := pagi.NewHeaders("x", "y")
			if err := c.state.Inject(&c.scope, &headers, "T", c.maxAge); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(pagi.NewHeaders("x", "y", "set-cookie", c.want), headers); diff != "" {
				t.Error(diff)
			}
			headers = nil
			c.state.Clear(&c.scope, &headers)
			cleared := headers.Get("set-cookie")
			if !strings.Contains(cleared, "=; Path=") || !strings.Contains(cleared, "; Max-Age=0; HttpOnly") || strings.Contains(cleared, "Secure") != strings.Contains(c.want, "Secure") {
				t.Errorf("cleared by %q", cleared)
			}
		})
	}
}

func TestCookieStateRefusesALargeCookie(t *testing.T) {
	var headers pagi.Headers
	var size *session.SizeError
	state := session.CookieState{}
	rest := len("pagi_session=; Path=/; HttpOnly; SameSite=Lax")
	if err := state.Inject(&pagi.Scope{}, &headers, strings.Repeat("x", session.MaxCookie-rest), 0); err != nil {
		t.Error(err)
	}
	if err := state.Inject(&pagi.Scope{}, &headers, strings.Repeat("x", session.MaxCookie-rest+1), 0); !errors.As(err, &size) || size.Size != session.MaxCookie+1 {
		t.Error(err)
	}
	if len(headers) != 1 {
		t.Errorf("%d headers", len(headers))
	}
}

func TestCookieStateCheck(t *testing.T) {
	for _, c := range []struct {
		state session.CookieState
		want  string
	}{
		{session.CookieState{Name: "a b"}, "name"},
		{session.CookieState{Name: "a=b"}, "name"},
		{session.CookieState{Domain: "a;b"}, "domain"},
		{session.CookieState{Path: "/a\r\nb"}, "path"},
		{session.CookieState{Path: "a"}, "path"},
		{session.CookieState{Path: "/ä"}, "path"},
		{session.CookieState{Secure: "yes"}, "secure"},
		{session.CookieState{SameSite: "lax"}, "same_site"},
		{session.CookieState{SameSite: "None", Secure: "never"}, "same_site"},
		{session.CookieState{HostPrefix: true, Domain: "example.org"}, "host_prefix"},
		{session.CookieState{HostPrefix: true, Path: "/a"}, "host_prefix"},
		{session.CookieState{HostPrefix: true, Secure: "never"}, "host_prefix"},
	} {
		err := c.state.Check()
		var option *pagi.OptionError
		if !errors.As(err, &option) || option.Option != c.want {
			t.Errorf("%+v: %v", c.state, err)
		}
	}
	if err := (session.CookieState{HostPrefix: true, Path: "/"}).Check(); err != nil {
		t.Error(err)
	}
}

func TestPrefixesAreNotWrittenByHand(t *testing.T) {
	for _, name := range []string{"__Host-x", "__secure-x"} {
		var option *pagi.OptionError
		if err := (session.CookieState{Name: name}).Check(); !errors.As(err, &option) || option.Option != "name" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHeaderState(t *testing.T) {
	for _, name := range []string{"", "X-Token"} {
		f := newFixture(basics(), func(m *session.Manager) { m.State = session.HeaderState{Name: name} })
		header := name
		if header == "" {
			header = "x-session-id"
		}
		res := f.Get("/login")
		id := res.Header(header)
		if !session.ValidID(id) || len(cookies(res)) != 0 {
			t.Fatalf("headers %v", res.Headers)
		}
		with := pagitest.Header(header, id)
		if res := f.Get("/user", with); res.Text() != "ann" || res.Headers.Has(header) {
			t.Errorf("user %q, headers %v", res.Text(), res.Headers)
		}
		if res := f.Get("/user"); res.Text() != "nobody" {
			t.Errorf("without the header: %q", res.Text())
		}
		if res := f.Get("/logout", with); !res.Headers.Has(header) || res.Header(header) != "" {
			t.Errorf("after a logout: headers %v", res.Headers)
		}
		if res := f.Get("/user", with); res.Text() != "nobody" {
			t.Errorf("after a logout: %q", res.Text())
		}
	}
}

func TestBearerState(t *testing.T) {
	app := basics()
	app["/token"] = func(c *call) (string, error) { return c.ID(), c.Set("user", "ann") }
	f := newFixture(app, func(m *session.Manager) { m.State = session.BearerState{} })
	res := f.Get("/token")
	if names := slices.Collect(res.Headers.Values("set-cookie")); len(names) != 0 || res.Headers.Has("authorization") {
		t.Errorf("headers %v", res.Headers)
	}
	id := res.Text()
	for header, want := range map[string]string{
		"Bearer " + id: "ann", "bearer " + id: "ann", "BEARER   " + id + " ": "ann",
		"Basic " + id: "nobody", id: "nobody", "Bearer": "nobody", "Bearer ": "nobody", "Bearer x" + id: "nobody", "Bearer" + id: "nobody",
	} {
		if got := f.Get("/user", pagitest.Header("authorization", header)).Text(); got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
}

func TestCallbackState(t *testing.T) {
	var events []string
	state := session.CallbackState{
		ExtractFunc: func(scope *pagi.Scope) string { return scope.QueryString },
		InjectFunc: func(_ *pagi.Scope, headers *pagi.Headers, token string, maxAge time.Duration) error {
			events = append(events, "inject "+maxAge.String())
			headers.Add("x-token", token)
			return nil
		},
		ClearFunc: func(*pagi.Scope, *pagi.Headers) { events = append(events, "clear") },
	}
	f := newFixture(basics(), func(m *session.Manager) { m.State = state })
	id := f.Get("/login").Header("x-token")
	if got := f.get(t, "/user?"+id); got != "ann" {
		t.Errorf("user %q", got)
	}
	f.get(t, "/logout?"+id)
	if diff := cmp.Diff([]string{"inject 24h0m0s", "clear"}, events); diff != "" {
		t.Error(diff)
	}

	state.InjectFunc, state.ClearFunc = nil, nil
	f = newFixture(basics(), func(m *session.Manager) { m.State = state })
	f.get(t, "/login")
	f.get(t, "/logout?"+strings.Repeat("a", 32))

	broken := errors.New("no room")
	state.InjectFunc = func(*pagi.Scope, *pagi.Headers, string, time.Duration) error { return broken }
	f = newFixture(basics(), func(m *session.Manager) { m.State = state })
	if res := f.Get("/login"); res.Status != 503 || !errors.Is(res.Err, broken) {
		t.Errorf("status %d, error %v", res.Status, res.Err)
	}
}

// FuzzCookie checks that no cookie header does harm, and that what is extracted is in it.
func FuzzCookie(f *testing.F) {
	for _, seed := range []string{"", "pagi_session=abc", "a=1; pagi_session=abc", "pagi_session=\"a;b\"", ";;=;=", "pagi_session", "pagi_session==", " pagi_session\t=\t", strings.Repeat("a=b; ", 2000) + "pagi_session=x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		got := session.CookieState{}.Extract(&pagi.Scope{Headers: pagi.Headers{{Name: "cookie", Value: line}}})
		if !strings.Contains(line, got) || strings.ContainsAny(got, ";") || got != strings.Trim(got, " \t") {
			t.Errorf("%q of %q", got, line)
		}
	})
}

func TestCachesAreToldOfSessions(t *testing.T) {
	reading := func(_ *pagi.Scope, s *session.Session) error { s.Has("user"); return nil }
	setting := func(_ *pagi.Scope, s *session.Session) error { return s.Set("user", "ann") }
	unused := func(*pagi.Scope, *session.Session) error { return nil }
	for name, c := range map[string]struct {
		state              session.State
		use                func(*pagi.Scope, *session.Session) error
		own                []string
		vary, cacheControl string
	}{
		"a session that is not used":        {nil, unused, nil, "", ""},
		"one that is read":                  {nil, reading, nil, "cookie", ""},
		"one that sets a cookie":            {nil, setting, nil, "cookie", `private, no-cache="set-cookie"`},
		"the application knows better":      {nil, setting, []string{"cache-control", "public", "vary", "Accept"}, "Accept, cookie", "public"},
		"one in a header":                   {session.HeaderState{}, setting, nil, "x-session-id", `private, no-cache="x-session-id"`},
		"one in the Authorization header":   {session.BearerState{}, setting, nil, "authorization", ""},
		"one that is carried by a callback": {session.CallbackState{ExtractFunc: func(*pagi.Scope) string { return "" }}, setting, nil, "", ""},
	} {
		app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
			s, _ := session.FromScope(scope)
			if err := c.use(scope, s); err != nil {
				return err
			}
			if err := send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders(c.own...)}); err != nil {
				return err
			}
			return send(ctx, pagi.HTTPResponseBody{})
		})
		res := pagitest.New(session.Manager{State: c.state}.Wrap(app)).Get("/")
		if res.Header("vary") != c.vary || res.Header("cache-control") != c.cacheControl || res.Err != nil {
			t.Errorf("%s: %v %v", name, res.Headers, res.Err)
		}
	}
}
