package middleware_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/response"
	"github.com/pagi-go/pagi-bridge/pagi/session"
	"github.com/pagi-go/pagi-bridge/site"
)

const sessionSecret, otherSecret = "an example of a secret of 32 byte", "another example of such a secret"

func ExampleSession() {
	app := middleware.Session{Cookie: session.CookieState{Name: "shop", SameSite: "Strict"}}.Wrap(account)
	c := pagitest.New(app)
	fmt.Println(c.Get("/").Text())
	fmt.Println(strings.SplitN(c.Get("/login").Header("set-cookie"), "; ", 2)[1])
	fmt.Println(c.Get("/").Text())
	// Output:
	// user:
	// Path=/; Max-Age=86400; HttpOnly; SameSite=Strict
	// user: ann
}

// account answers with the user of the session, after /login or /logout.
var account = pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
	s, ok := session.FromScope(scope)
	if !ok {
		return fmt.Errorf("no session")
	}
	var err error
	switch scope.Path {
	case "/login":
		if err = s.Regenerate(); err == nil {
			err = s.Set("user", "ann")
		}
	case "/visit":
		err = s.Set("seen", true)
	case "/logout":
		err = s.Destroy()
	case "/large":
		err = s.Set("x", strings.Repeat("x", 200))
	}
	if err != nil {
		return err
	}
	return response.Text(strings.TrimRight(fmt.Sprint("user: ", s.GetOr("user", "")), " ")).Send(ctx, scope, send)
})

// sessions returns a Session of each store, without its Manager's options.
func sessions(t *testing.T) map[string]middleware.Session {
	url := testkit.StartRedis(t).URL
	return map[string]middleware.Session{
		"memory": {},
		"cookie": {Store: "cookie", Secrets: []string{sessionSecret}},
		"bolt":   {Store: "bolt", File: filepath.Join(t.TempDir(), "sessions.db")},
		"redis":  {Store: "redis", URL: url},
	}
}

const sessionCookie = session.DefaultCookie

func withCookie(value string) pagitest.Option {
	return pagitest.Header("cookie", sessionCookie+"="+value)
}

func TestSessionStores(t *testing.T) {
	for name, m := range sessions(t) {
		c := pagitest.Start(t, m.Wrap(account))
		if res := c.Get("/"); res.Text() != "user:" || res.Headers.Has("set-cookie") {
			t.Errorf("%s: a visitor gets a session: %v", name, res.Headers)
		}
		c.Get("/visit").Expect(t, 200)
		before := c.Cookie(sessionCookie)
		c.Get("/login").Expect(t, 200)
		during := c.Cookie(sessionCookie)
		if res := c.Get("/"); res.Text() != "user: ann" || res.Header("vary") != "cookie" {
			t.Errorf("%s: %q %v", name, res.Text(), res.Headers)
		}
		fresh := func(cookie string) string { return pagiGet(c, "/", withCookie(cookie)).Text() }
		if got := fresh(before); before == during || got != "user:" {
			t.Errorf("%s: the id of before the login shows %q", name, got)
		}
		if got := fresh(during); got != "user: ann" {
			t.Errorf("%s: another client with the cookie sees %q", name, got)
		}
		res := c.Get("/logout", withCookie(during)).Expect(t, 200)
		if !strings.Contains(res.Header("set-cookie"), "Max-Age=0") || res.Header("cache-control") != `private, no-cache="set-cookie"` {
			t.Errorf("%s: logout: %v", name, res.Headers)
		}
		if got := fresh(during); (got == "user:") == (name == "cookie") { // a cookie store cannot take a cookie back
			t.Errorf("%s: the cookie of before the logout shows %q", name, got)
		}
		chosen := strings.Repeat("A", len(before))
		if got := pagiGet(c, "/visit", withCookie(chosen)).Header("set-cookie"); strings.Contains(got, chosen) || got == "" {
			t.Errorf("%s: an id that the client has chosen: %q", name, got)
		}
	}
}

// pagiGet sends a request without the cookies of c, whose application has been started.
func pagiGet(c *pagitest.Client, path string, opts ...pagitest.Option) *pagitest.Response {
	c.ClearCookies()
	defer c.ClearCookies()
	return c.Get(path, opts...)
}

func TestSessionsInCookiesThatSomebodyChanges(t *testing.T) {
	for name, m := range map[string]middleware.Session{
		"encrypted": {Store: "cookie", Secrets: []string{sessionSecret}},
		"signed":    {Store: "cookie", Secrets: []string{sessionSecret}, Signed: true},
	} {
		c := pagitest.New(m.Wrap(account))
		c.Get("/login")
		token := c.Cookie(sessionCookie)
		seen := func(m middleware.Session, cookie string) string {
			return pagitest.New(m.Wrap(account)).Get("/", pagitest.Header("cookie", cookie)).Text()
		}
		if got := seen(m, sessionCookie+"="+token); got != "user: ann" {
			t.Errorf("%s: as it was: %q", name, got)
		}
		rotated, removed, other, renamed := m, m, m, m
		rotated.Secrets = []string{otherSecret, sessionSecret}
		removed.Secrets = []string{otherSecret}
		other.Signed = !m.Signed
		renamed.Cookie.Name = "admin"
		if got := seen(rotated, sessionCookie+"="+token); got != "user: ann" {
			t.Errorf("%s: after the secret was changed: %q", name, got)
		}
		for what, got := range map[string]string{
			"after the secret was removed": seen(removed, sessionCookie+"="+token),
			"in the other form":            seen(other, sessionCookie+"="+token),
			"swapped into another cookie":  seen(renamed, "admin="+token),
			"cut":                          seen(m, sessionCookie+"="+token[:len(token)-2]),
			"with a byte changed":          seen(m, sessionCookie+"="+token[:40]+string(token[40]^1)+token[41:]),
			"signed with an empty secret":  seen(m, sessionCookie+"=s1..e30."),
			"that is only a prefix":        seen(m, sessionCookie+"=e1."),
		} {
			if got != "user:" {
				t.Errorf("%s, %s: %q", name, what, got)
			}
		}
	}
}

func TestSessionTimes(t *testing.T) {
	for name, store := range map[string]string{"memory": "memory", "cookie": "cookie"} {
		now := time.Unix(1_700_000_000, 0)
		m := middleware.Session{Store: store, Manager: session.Manager{Expire: time.Hour, Idle: 10 * time.Minute, Now: func() time.Time { return now }}}
		if store == "cookie" {
			m.Secrets = []string{sessionSecret}
		}
		c := pagitest.New(m.Wrap(account))
		login := func() string {
			c.ClearCookies()
			c.Get("/login").Expect(t, 200)
			return c.Cookie(sessionCookie)
		}
		seen := func(token string) string { return pagiGet(c, "/", withCookie(token)).Text() }
		start, token := now, login()
		for what, after := range map[string]time.Duration{"within the idle time": 9 * time.Minute, "by a clock that is a minute behind": -time.Minute} {
			now = start.Add(after)
			if got := seen(token); got != "user: ann" {
				t.Errorf("%s, %s: %q", name, what, got)
			}
		}
		now = start
		token = login()
		now = start.Add(10 * time.Minute)
		if got := seen(token); got != "user:" {
			t.Errorf("%s, idle for too long: %q", name, got)
		}
		now = start
		token = login()
		for range 8 { // used all the time
			now = now.Add(9 * time.Minute)
			if token != "" && now.Sub(start) < time.Hour {
				c.SetCookie(sessionCookie, token)
				if got := c.Get("/").Text(); got != "user: ann" {
					t.Errorf("%s, after %v: %q", name, now.Sub(start), got)
				}
				token = c.Cookie(sessionCookie)
			}
		}
		if got := seen(token); got != "user:" {
			t.Errorf("%s, in use for too long: %q", name, got)
		}
	}
}

func TestSessionStates(t *testing.T) {
	c := pagitest.New(middleware.Session{State: "header", Header: "X-Token"}.Wrap(account))
	token := c.Get("/login").Header("x-token")
	if got := c.Get("/", pagitest.Header("x-token", token)); got.Text() != "user: ann" || got.Header("vary") != "x-token" {
		t.Errorf("header: %q %v", got.Text(), got.Headers)
	}
	var id string
	c = pagitest.New(middleware.Session{State: "bearer"}.Wrap(pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		defer func() {
			s, _ := session.FromScope(scope)
			id = s.ID()
		}()
		return account.Serve(ctx, scope, receive, send)
	})))
	c.Get("/login")
	if got := c.Get("/", pagitest.Header("authorization", "Bearer "+id)); got.Text() != "user: ann" || got.Header("vary") != "authorization" {
		t.Errorf("bearer: %q %v", got.Text(), got.Headers)
	}
	c = pagitest.New(middleware.Session{Cookie: session.CookieState{HostPrefix: true}}.Wrap(account))
	c.Scheme = "https"
	if got := c.Get("/login").Header("set-cookie"); !strings.HasPrefix(got, "__Host-pagi_session=") || !strings.Contains(got, "; Secure") {
		t.Errorf("cookie: %q", got)
	}
	own := &session.Memory{}
	c = pagitest.New(middleware.Session{Manager: session.Manager{Store: own, State: session.HeaderState{}, MaxSize: 100}}.Wrap(account))
	if got := c.Get("/login"); own.Len() != 1 || !got.Headers.Has("x-session-id") {
		t.Errorf("a Manager's own store and state: %d %v", own.Len(), got.Headers)
	}
	if res := c.Get("/large"); res.Status != 500 {
		t.Errorf("max_size: %d", res.Status)
	}
	c = pagitest.New(middleware.Session{MaxSessions: 1}.Wrap(account))
	c.Get("/login")
	first := c.Cookie(sessionCookie)
	pagiGet(c, "/login")
	if got := pagiGet(c, "/", withCookie(first)).Text(); got != "user:" {
		t.Errorf("max_sessions: %q", got)
	}
}

func TestSessionInASiteFile(t *testing.T) {
	dir := t.TempDir()
	write := func(options string) string {
		file := filepath.Join(dir, "site.yaml")
		text := "middleware:\n  - session: " + options + "\nmounts:\n  - path: /\n    not_found: {}\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	s, err := site.Load(write("{store: bolt, file: s.db, expire: 2h, idle: 0, max_size: 1KiB, cookie: {name: sid, same_site: Strict, host_prefix: true}}"))
	if err != nil {
		t.Fatal(err)
	}
	m := s.Middleware[0].Part.(*middleware.Session)
	if m.Manager.Expire != 2*time.Hour || m.Manager.Idle != -1 || m.Manager.MaxSize != 1024 || m.File != filepath.Join(dir, "s.db") ||
		m.Cookie != (session.CookieState{Name: "sid", SameSite: "Strict", HostPrefix: true}) {
		t.Errorf("%+v", m)
	}
	app, err := s.Build()
	if err != nil {
		t.Fatal(err)
	}
	pagitest.Start(t, app).Get("/").Expect(t, 404)
	for options, want := range map[string]string{
		"{store: file}":                     `:2:22: store: must be memory, cookie, bolt or redis, is "file"`,
		"{cookie: {same_site: lax}}":        `:2:23: cookie: same_site: "lax" is not Lax, Strict or None`,
		"{store: cookie, secrets: [short]}": ":2:39: secrets: number 1 has 5 bytes; it needs 32",
	} {
		s, err := site.Load(write(options))
		if err == nil {
			_, err = s.Build()
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %s", options, err, want)
		}
	}
}

func TestSessionOptions(t *testing.T) {
	checks(t, map[string]pagi.Middleware{
		`store: must be memory, cookie, bolt or redis, is "x"`:   middleware.Session{Store: "x"},
		`state: must be cookie, header or bearer, is "x"`:        middleware.Session{State: "x"},
		`secrets: sessions in cookies need a secret`:             middleware.Session{Store: "cookie"},
		`secrets: number 2 is there twice`:                       middleware.Session{Store: "cookie", Secrets: []string{sessionSecret, sessionSecret}},
		`secrets: number 1 has 1 bytes; it needs 32`:             middleware.Session{Store: "cookie", Secrets: []string{"x"}},
		`secrets: it belongs to the store cookie, not to memory`: middleware.Session{Secrets: []string{sessionSecret}},
		`signed: it belongs to the store cookie, not to bolt`:    middleware.Session{Store: "bolt", File: "x", Signed: true},
		`file: it is missing`:                                    middleware.Session{Store: "bolt"},
		`file: it belongs to the store bolt`:                     middleware.Session{File: "x"},
		`url: either the URL or a client is needed`:              middleware.Session{Store: "redis"},
		`url: it is wrong`:                                       middleware.Session{Store: "redis", URL: "http://x"},
		`url: it belongs to the store redis`:                     middleware.Session{URL: "redis://x"},
		`prefix: it belongs to the store redis`:                  middleware.Session{Prefix: "x"},
		`max_sessions: it belongs to the store memory`:           middleware.Session{Store: "bolt", File: "x", MaxSessions: 1},
		`max_sessions: must not be negative`:                     middleware.Session{MaxSessions: -1},
		`max_size: -1 is less than 0`:                            middleware.Session{Manager: session.Manager{MaxSize: -1}},
		`cookie: name: "a b" is not the name of a cookie`:        middleware.Session{Cookie: session.CookieState{Name: "a b"}},
		`cookie: it belongs to the state cookie, not to header`:  middleware.Session{State: "header", Cookie: session.CookieState{Name: "x"}},
		`header: it belongs to the state header, not to cookie`:  middleware.Session{Header: "x"},
		`header: name: "a b" is not a header name`:               middleware.Session{State: "header", Header: "a b"},
		`bearer: a bearer state cannot give`:                     middleware.Session{State: "bearer", Store: "cookie", Secrets: []string{sessionSecret}},
	})
	var m middleware.Session
	option.SetDefaults(&m)
	if m.Manager.Expire != session.DefaultExpire || m.Manager.Idle != session.DefaultIdle || m.Manager.MaxSize != session.DefaultMaxSize || m.MaxSessions != session.DefaultMaxSessions {
		t.Errorf("the defaults of the tags are not those of the package: %+v", m)
	}
}
