package middleware_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/pagi/response"
	"github.com/pagi-go/pagi-bridge/pagi/session"
)

const csrfSecret = "0123456789abcdef0123456789abcdef"

func ExampleCSRF() {
	c := pagitest.New(middleware.CSRF{}.Wrap(hello))
	fmt.Println(c.Post("/", pagitest.Header("sec-fetch-site", "same-origin")).Status)
	fmt.Println(c.Post("/", pagitest.Header("sec-fetch-site", "cross-site")).Status)
	// Output:
	// 200
	// 403
}

// In the mode "token" a form brings back the token that its page was given.
func ExampleCSRFToken() {
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		token, _ := middleware.CSRFTokenOf(scope)
		return response.Text(token.String()).Send(ctx, scope, send)
	})
	c := pagitest.New(middleware.CSRF{Mode: "token", Secret: csrfSecret}.Wrap(app))
	token := c.Get("/form").Text()
	fmt.Println(c.Post("/form", pagitest.Form("name", "ann", "csrf_token", token)).Status)
	fmt.Println(c.Post("/form", pagitest.Form("name", "ann")).Status)
	// Output:
	// 200
	// 403
}

// The rules are those of net/http, which this test asks as well.
func TestCSRFByOrigin(t *testing.T) {
	theirs := http.NewCrossOriginProtection()
	if err := theirs.AddTrustedOrigin("https://trusted.example"); err != nil {
		t.Fatal(err)
	}
	c := pagitest.New(middleware.CSRF{TrustedOrigins: []string{"https://trusted.example"}}.Wrap(hello))
	c.Host = "app.example:8080"
	passed := 0
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "PURGE"} {
		for _, site := range []string{"", "same-origin", "none", "same-site", "cross-site", "Same-Origin", "bogus"} {
			for _, origin := range []string{"", "https://app.example:8080", "http://app.example:8080", "https://app.example", "https://trusted.example",
				"https://trusted.example.evil.example", "https://evil.example", "null", "://", "app.example:8080"} {
				req, err := http.NewRequest(method, "http://app.example:8080/", nil)
				if err != nil {
					t.Fatal(err)
				}
				var opts []pagitest.Option
				for name, value := range map[string]string{"sec-fetch-site": site, "origin": origin} {
					if value != "" {
						req.Header.Set(name, value)
						opts = append(opts, pagitest.Header(name, value))
					}
				}
				want := 200
				if theirs.Check(req) != nil {
					want = 403
				} else {
					passed++
				}
				if res := c.Do(method, "/", opts...); res.Status != want || res.Err != nil {
					t.Errorf("%s from %q, origin %q: %d %v, want %d", method, site, origin, res.Status, res.Err, want)
				}
			}
		}
	}
	if passed < 100 {
		t.Errorf("only %d requests have passed", passed)
	}
}

func TestCSRFOptionsAndScopes(t *testing.T) {
	foreign := []pagitest.Option{pagitest.Header("origin", "https://evil.example"), pagitest.Header("sec-fetch-site", "cross-site")}
	m := middleware.CSRF{Exclude: []string{"/hook", "/hooks/"}, SafeMethods: []string{"GET", "SEARCH"}, TrustedOrigins: []string{"https://*.trusted.example"}}
	c := pagitest.New(m.Wrap(hello))
	for name, tc := range map[string]struct {
		method, path string
		status       int
	}{
		"an excluded path":                       {"POST", "/hook", 200},
		"a path below an excluded one":           {"POST", "/hooks/x", 200},
		"a path that only begins like one":       {"POST", "/hooking", 403},
		"a path that an application may shorten": {"POST", "/hooks/../admin", 403},
		"a safe method":                          {"SEARCH", "/", 200},
		"a method that is not on the list":       {"OPTIONS", "/", 403},
	} {
		if res := c.Do(tc.method, tc.path, foreign...); res.Status != tc.status || res.Err != nil {
			t.Errorf("%s: %d %v", name, res.Status, res.Err)
		}
	}
	if res := c.Post("/", pagitest.Header("origin", "https://a.trusted.example"), pagitest.Header("sec-fetch-site", "same-site")); res.Status != 200 {
		t.Errorf("a trusted name: %d", res.Status)
	}
	if res := c.Post("/", append(foreign, pagitest.AcceptEvents())...); res.Status != 403 {
		t.Errorf("a POST for an event stream: %d", res.Status)
	}
	for origin, accepted := range map[string]bool{"https://evil.example": false, "null": false, "https://testserver": true, "": true, "https://a.trusted.example": true} {
		var opts []pagitest.Option
		if origin != "" {
			opts = append(opts, pagitest.Header("origin", origin))
		}
		ws := pagitest.New(m.Wrap(answering(pagi.WebSocketAccept{}, pagi.WebSocketClose{}))).WebSocket("/", opts...)
		if ws.Accepted != accepted || !accepted && ws.Response.Status != 403 {
			t.Errorf("a WebSocket from %q: accepted %v", origin, ws.Accepted)
		}
		if err := ws.Finish(); err != nil {
			t.Error(err)
		}
	}
}

// shop answers GET /form with a token, /login and /logout as their names say, and others with the
// body of the request.
var shop = pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	s, hasSession := session.FromScope(scope)
	r := request.New(ctx, scope, receive)
	switch {
	case scope.Path == "/form":
		token, _ := middleware.CSRFTokenOf(scope)
		return response.Text(token.String()).Send(ctx, scope, send)
	case scope.Path == "/login" && hasSession:
		if err := s.Set("user", "ann"); err != nil {
			return err
		}
		if err := s.Regenerate(); err != nil {
			return err
		}
	case scope.Path == "/logout" && hasSession:
		if err := s.Destroy(); err != nil {
			return err
		}
	}
	body, err := r.Text()
	if err != nil {
		return err
	}
	return response.Text("got "+body).Send(ctx, scope, send)
})

func tokenApps() map[string]pagi.App {
	return map[string]pagi.App{
		"a signed cookie": middleware.CSRF{Mode: "token", Secret: csrfSecret}.Wrap(shop),
		"a session":       session.Manager{}.Wrap(middleware.CSRF{Mode: "token"}.Wrap(shop)),
	}
}

func TestCSRFByToken(t *testing.T) {
	for name, app := range tokenApps() {
		c := pagitest.New(app)
		first := c.Get("/form")
		token := first.Text()
		if len(token) != 86 || first.Header("vary") != "cookie" || !strings.Contains(first.Header("set-cookie"), "; HttpOnly") {
			t.Fatalf("%s: %q %v", name, token, first.Headers)
		}
		again := c.Get("/form")
		if again.Text() == token || again.Headers.Has("set-cookie") {
			t.Errorf("%s: the token has no new mask, or a cookie is set twice: %v", name, again.Headers)
		}
		other := pagitest.New(app).Get("/form").Text()
		changed := "A" + token[1:]
		if token[0] == 'A' {
			changed = "B" + token[1:]
		}
		form := "a=b&csrf_token=" + token
		for what, tc := range map[string]struct {
			opts   []pagitest.Option
			status int
			body   string
		}{
			"in a header":                   {[]pagitest.Option{pagitest.Header("X-CSRF-Token", token), pagitest.Body("x")}, 200, "got x"},
			"with another mask":             {[]pagitest.Option{pagitest.Header("x-csrf-token", again.Text())}, 200, "got "},
			"in a form":                     {[]pagitest.Option{pagitest.Form("a", "b", "csrf_token", token)}, 200, "got " + form},
			"in a form with parts":          {[]pagitest.Option{pagitest.Multipart(pagitest.Part{Name: "csrf_token", Content: token}, pagitest.Part{Name: "f", Filename: "f.txt", Content: "data"})}, 200, "data"},
			"in a form in pieces":           {[]pagitest.Option{pagitest.Chunks("a=b&csrf", "_token="+token), pagitest.Header("content-type", "application/x-www-form-urlencoded")}, 200, "got " + form},
			"missing":                       {nil, 403, ""},
			"missing in a form":             {[]pagitest.Option{pagitest.Form("a", "b")}, 403, ""},
			"in the query":                  {[]pagitest.Option{pagitest.Query("csrf_token", token)}, 403, ""},
			"in a body that is no form":     {[]pagitest.Option{pagitest.JSON(map[string]string{"csrf_token": token})}, 403, ""},
			"of another client":             {[]pagitest.Option{pagitest.Header("x-csrf-token", other)}, 403, ""},
			"changed":                       {[]pagitest.Option{pagitest.Header("x-csrf-token", changed)}, 403, ""},
			"cut":                           {[]pagitest.Option{pagitest.Header("x-csrf-token", token[:43])}, 403, ""},
			"all zeros":                     {[]pagitest.Option{pagitest.Header("x-csrf-token", strings.Repeat("A", 86))}, 403, ""},
			"that is no base64":             {[]pagitest.Option{pagitest.Header("x-csrf-token", "!")}, 403, ""},
			"but from another site":         {[]pagitest.Option{pagitest.Header("x-csrf-token", token), pagitest.Header("sec-fetch-site", "same-site")}, 403, ""},
			"wrong in the header counts":    {[]pagitest.Option{pagitest.Header("x-csrf-token", "x"), pagitest.Form("csrf_token", token)}, 403, ""},
			"in a form that is too large":   {[]pagitest.Option{pagitest.Form("a", strings.Repeat("x", 1<<20), "csrf_token", token)}, 413, ""},
			"in a large body and a header":  {[]pagitest.Option{pagitest.Header("x-csrf-token", token), pagitest.Body(strings.Repeat("x", 1<<19))}, 200, "got x"},
			"in a form that is no form":     {[]pagitest.Option{pagitest.Body("x"), pagitest.Header("content-type", "multipart/form-data")}, 400, ""},
			"for a request for event steam": {[]pagitest.Option{pagitest.AcceptEvents()}, 403, ""},
		} {
			res := c.Post("/", tc.opts...)
			if res.Status != tc.status || !strings.Contains(res.Text(), tc.body) {
				t.Errorf("%s, a token %s: %d %q %v", name, what, res.Status, res.Text(), res.Err)
			}
		}
		ws := pagitest.New(app).WebSocket("/", pagitest.Header("origin", "https://evil.example"))
		if ws.Accepted || ws.Response.Status != 403 {
			t.Errorf("%s: a WebSocket of another site is accepted", name)
		}
		if err := ws.Finish(); err != nil {
			t.Error(err)
		}
	}
}

func TestCSRFCookieOfAnAttacker(t *testing.T) {
	app := middleware.CSRF{Mode: "token", Secret: csrfSecret}.Wrap(shop)
	attacker := pagitest.New(app)
	token := attacker.Get("/form").Text()
	planted := attacker.Cookie("csrf_token")
	signature := planted[strings.IndexByte(planted, '.'):]
	own := pagitest.New(middleware.CSRF{Mode: "token", Secret: strings.Repeat("x", 32)}.Wrap(shop))
	ownToken := own.Get("/form").Text()
	for name, c := range map[string]struct {
		cookie, token string
		headers       []string
		status        int
	}{
		"signed with another secret":                 {"csrf_token=" + own.Cookie("csrf_token"), ownToken, nil, 403},
		"with a swapped signature":                   {"csrf_token=" + strings.Repeat("A", 43) + signature, strings.Repeat("A", 86), nil, 403},
		"without a signature":                        {"csrf_token=" + strings.Repeat("A", 43), strings.Repeat("A", 86), nil, 403},
		"empty":                                      {"csrf_token=", "", nil, 403},
		"beside another one":                         {"csrf_token=" + planted + "; csrf_token=x", token, nil, 403},
		"planted, and the browser names the page":    {"csrf_token=" + planted, token, []string{"sec-fetch-site", "same-site", "origin", "https://sub.testserver"}, 403},
		"planted, and an old browser names the page": {"csrf_token=" + planted, token, []string{"origin", "https://sub.testserver"}, 403},
		"planted in a browser that says nothing (see the documentation)": {"csrf_token=" + planted, token, nil, 200},
	} {
		opts := []pagitest.Option{pagitest.Header("cookie", c.cookie), pagitest.Header("x-csrf-token", c.token)}
		for i := 0; i < len(c.headers); i += 2 {
			opts = append(opts, pagitest.Header(c.headers[i], c.headers[i+1]))
		}
		if res := pagitest.New(app).Post("/", opts...); res.Status != c.status {
			t.Errorf("a cookie %s: %d", name, res.Status)
		}
	}
	prefixed := pagitest.New(middleware.CSRF{Mode: "token", Secret: csrfSecret, HostPrefix: true}.Wrap(shop))
	prefixed.Scheme = "https"
	token = prefixed.Get("/form").Text()
	value := prefixed.Cookie("__Host-csrf_token")
	if res := prefixed.Post("/", pagitest.Header("x-csrf-token", token)); res.Status != 200 {
		t.Errorf("a cookie with a prefix: %d", res.Status)
	}
	if res := pagitest.New(prefixed.App).Post("/", pagitest.Header("x-csrf-token", token), pagitest.Header("cookie", "csrf_token="+value)); res.Status != 403 {
		t.Errorf("a cookie that lacks the prefix: %d", res.Status)
	}
}

func TestCSRFTokensOfASession(t *testing.T) {
	app := tokenApps()["a session"]
	c := pagitest.New(app)
	before := c.Get("/form").Text()
	post := func(path, token string) int { return c.Post(path, pagitest.Header("x-csrf-token", token)).Status }
	if got := post("/login", before); got != 200 {
		t.Fatalf("login: %d", got)
	}
	if got := post("/", before); got != 403 {
		t.Errorf("a token from before the login, which somebody else may have planted: %d", got)
	}
	after := c.Get("/form").Text()
	if got := post("/", after); got != 200 {
		t.Errorf("a token of after the login: %d", got)
	}
	attacker := pagitest.New(app)
	theirs := attacker.Get("/form").Text()
	if got := post("/", theirs); got != 403 {
		t.Errorf("a token of another session: %d", got)
	}
	if got := post("/logout", after); got != 200 {
		t.Errorf("logout: %d", got)
	}
	if got := post("/", after); got != 403 {
		t.Errorf("a token of before the logout: %d", got)
	}
}

func TestCSRFEnforcedByTheApplication(t *testing.T) {
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		token, ok := middleware.CSRFTokenOf(scope)
		if !ok {
			return fmt.Errorf("no token")
		}
		if scope.Method == "GET" {
			return response.Text(token.String()).Send(ctx, scope, send)
		}
		form, err := request.New(ctx, scope, receive).Form()
		if err != nil {
			return err
		}
		return response.Text(fmt.Sprint(token.Valid(form.Get("t")))).Send(ctx, scope, send)
	})
	c := pagitest.New(middleware.CSRF{Mode: "token", Enforce: "app", Secret: csrfSecret}.Wrap(app))
	token := c.Get("/").Text()
	for _, tc := range []struct {
		opts []pagitest.Option
		want string
	}{
		{[]pagitest.Option{pagitest.Form("t", token)}, "true"},
		{[]pagitest.Option{pagitest.Form("t", "x")}, "false"},
		{[]pagitest.Option{pagitest.Form()}, "false"},
		{[]pagitest.Option{pagitest.Form("t", token), pagitest.Header("sec-fetch-site", "cross-site")}, "false"},
	} {
		if res := c.Post("/", tc.opts...); res.Text() != tc.want || res.Status != 200 {
			t.Errorf("got %d %s, want %s", res.Status, res.Text(), tc.want)
		}
	}
	// A handshake has no token that the application could check.
	ws := c.WebSocket("/", pagitest.Header("origin", "https://evil.example"))
	if ws.Accepted || ws.Response == nil || ws.Response.Status != 403 {
		t.Error("a WebSocket of another site reaches the application")
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
}

func TestCSRFTokensUnderOtherNames(t *testing.T) {
	c := pagitest.New(middleware.CSRF{Mode: "token", Secret: csrfSecret, TokenHeader: "X-Token", TokenField: "_token"}.Wrap(shop))
	token := c.Get("/form").Text()
	for what, tc := range map[string]struct {
		opt    pagitest.Option
		status int
	}{
		"its header":      {pagitest.Header("x-token", token), 200},
		"its field":       {pagitest.Form("_token", token), 200},
		"another header":  {pagitest.Header("x-csrf-token", token), 403},
		"another field":   {pagitest.Form("csrf_token", token), 403},
		"a wrong header":  {pagitest.Header("x-token", "x"), 403},
		"the other place": {pagitest.Form("x-token", token), 403},
	} {
		if res := c.Post("/", tc.opt); res.Status != tc.status {
			t.Errorf("%s: %d", what, res.Status)
		}
	}
}

func TestCSRFWithoutWhatATokenNeeds(t *testing.T) {
	if res := pagitest.New(middleware.CSRF{Mode: "token"}.Wrap(hello)).Get("/"); res.Status != 500 || !strings.Contains(fmt.Sprint(res.Err), "needs a session middleware outside") {
		t.Errorf("%d %v", res.Status, res.Err)
	}
	late := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		token, _ := middleware.CSRFTokenOf(scope)
		if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
			return err
		}
		return send(ctx, pagi.HTTPResponseBody{Body: []byte("[" + token.String() + "]")})
	})
	for name, app := range map[string]pagi.App{
		"a cookie":  middleware.CSRF{Mode: "token", Secret: csrfSecret}.Wrap(late),
		"a session": session.Manager{Now: time.Now}.Wrap(middleware.CSRF{Mode: "token"}.Wrap(late)),
	} {
		if res := pagitest.New(app).Get("/"); res.Text() != "[]" || res.Headers.Has("set-cookie") {
			t.Errorf("%s, asked for after the start: %q %v", name, res.Text(), res.Err)
		}
	}
}

func TestCSRFCookie(t *testing.T) {
	for name, c := range map[string]struct {
		m      middleware.CSRF
		scheme string
		want   string
	}{
		"over http":                     {middleware.CSRF{}, "http", "Path=/; HttpOnly; SameSite=Lax"},
		"over https":                    {middleware.CSRF{}, "https", "Path=/; HttpOnly; Secure; SameSite=Lax"},
		"over http behind a proxy":      {middleware.CSRF{Secure: "always"}, "http", "Path=/; HttpOnly; Secure; SameSite=Lax"},
		"over https, and not only that": {middleware.CSRF{Secure: "never"}, "https", "Path=/; HttpOnly; SameSite=Lax"},
	} {
		c.m.Mode, c.m.Secret, c.m.CookieName = "token", csrfSecret, "c"
		client := pagitest.New(c.m.Wrap(shop))
		client.Scheme = c.scheme
		value, attributes, _ := strings.Cut(client.Get("/form").Header("set-cookie"), "; ")
		if !strings.HasPrefix(value, "c=") || attributes != c.want {
			t.Errorf("%s: %s; %s", name, value, attributes)
		}
		if got := client.Get("/"); got.Headers.Has("set-cookie") {
			t.Errorf("%s: a cookie for a page without a token: %v", name, got.Headers)
		}
	}
}

func TestCSRFOptions(t *testing.T) {
	checks(t, map[string]pagi.Middleware{
		`mode: must be origin or token, is "x"`:          middleware.CSRF{Mode: "x"},
		`trusted_origins: "a.example" is not an origin`:  middleware.CSRF{TrustedOrigins: []string{"a.example"}},
		`trusted_origins: neither "*" nor "null"`:        middleware.CSRF{TrustedOrigins: []string{"*"}},
		`exclude: "x" must begin with a slash`:           middleware.CSRF{Exclude: []string{"x"}},
		`safe_methods: "a b" is not a method`:            middleware.CSRF{SafeMethods: []string{"a b"}},
		`enforce: must be reject or app, is "header"`:    middleware.CSRF{Enforce: "header"},
		`enforce: app needs the mode token`:              middleware.CSRF{Enforce: "app"},
		`secret: has 5 bytes; it needs 32`:               middleware.CSRF{Mode: "token", Secret: "short"},
		`token_header: "a b" is not a header name`:       middleware.CSRF{TokenHeader: "a b"},
		`max_form: must not be negative, is -1`:          middleware.CSRF{MaxForm: -1},
		`cookie_name: "a b" is not the name of a cookie`: middleware.CSRF{CookieName: "a b"},
		`cookie_name: "__Host-x" has a prefix`:           middleware.CSRF{CookieName: "__Host-x"},
		`secure: "yes" is not auto, always or never`:     middleware.CSRF{Secure: "yes"},
		`host_prefix: it allows neither a domain`:        middleware.CSRF{HostPrefix: true, Secure: "never"},
	})
}
