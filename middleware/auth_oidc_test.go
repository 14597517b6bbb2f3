package middleware_test

import (
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func ExampleAuthOIDC() {
	m := middleware.AuthOIDC{
		Issuer:         "https://id.example.org",
		ClientID:       "shop",
		ClientSecret:   "what the provider has given",
		Secrets:        []string{"0123456789abcdef0123456789abcdef"},
		BaseURL:        "https://shop.example.org",
		LogoutPath:     "/logout",
		AllowedDomains: []string{"example.org"},
	}
	fmt.Println(m.Check())
	// Output: <nil>
}

// idp is an OpenID provider that logs everybody in at once.
type idp struct {
	*httptest.Server
	key    *rsa.PrivateKey
	down   atomic.Bool
	mu     sync.Mutex
	asked  int
	codes  map[string]url.Values // what the browser was sent with, by code
	claims jwt.MapClaims         // added to those of the ID token; nil removes one
	token  func(idToken string) any
	signed jwt.SigningMethod
	broken bool // the token endpoint fails
}

func newIDP(t testing.TB) *idp {
	t.Helper()
	p := &idp{key: rsaKey(t, 2048), codes: map[string]url.Values{}, signed: jwt.SigningMethodRS256}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *idp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	if p.down.Load() {
		http.Error(w, "down", http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	answer := func(v any) { _ = json.NewEncoder(w).Encode(v) } // the client sees a failure
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		answer(map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/auth", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"end_session_endpoint": p.URL + "/end?x=1", "id_token_signing_alg_values_supported": []string{"RS256"}, "response_types_supported": []string{"code"},
		})
	case "/keys":
		key, err := jwkset.NewJWKFromKey(p.key.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: "k", USE: "sig", ALG: "RS256"}})
		if err != nil {
			panic(err)
		}
		answer(jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{key.Marshal()}})
	case "/token":
		sent, known := p.codes[r.FormValue("code")]
		delete(p.codes, r.FormValue("code"))
		user, password, _ := r.BasicAuth()
		if p.broken {
			http.Error(w, "{", http.StatusInternalServerError)
			return
		}
		if !known || sent.Get("redirect_uri") != r.FormValue("redirect_uri") || user != "shop" || password != "hush" ||
			sent.Get("code_challenge_method") != "S256" || oauth2.S256ChallengeFromVerifier(r.FormValue("code_verifier")) != sent.Get("code_challenge") {
			w.WriteHeader(http.StatusBadRequest)
			answer(map[string]string{"error": "invalid_grant"})
			return
		}
		claims := jwt.MapClaims{
			"iss": p.URL, "aud": "shop", "sub": "4711", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(), "nonce": sent.Get("nonce"),
			"email": "ann@example.org", "email_verified": true, "name": "Ann", "groups": []string{"staff"},
		}
		maps.Copy(claims, p.claims)
		maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
		id := jwt.NewWithClaims(p.signed, claims)
		id.Header["kid"] = "k"
		var key any = p.key
		switch p.signed {
		case jwt.SigningMethodHS256:
			key = []byte("hush")
		case jwt.SigningMethodNone:
			key = jwt.UnsafeAllowNoneSignatureType
		}
		text, err := id.SignedString(key)
		if err != nil {
			panic(err)
		}
		if p.token != nil {
			answer(p.token(text))
			return
		}
		answer(map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": text})
	default:
		http.NotFound(w, r)
	}
}

// logIn takes a browser's way to the provider and returns the target of the way back.
func (p *idp) logIn(t testing.TB, location string) (callback string) {
	t.Helper()
	u, err := url.Parse(location)
	if err != nil || !strings.HasPrefix(location, p.URL+"/auth?") {
		t.Fatalf("the browser was sent to %q", location)
	}
	sent := u.Query()
	if sent.Get("client_id") != "shop" || sent.Get("response_type") != "code" || !strings.Contains(sent.Get("scope"), "openid") || sent.Get("nonce") == "" {
		t.Errorf("the browser was sent to %s", location)
	}
	back, err := url.Parse(sent.Get("redirect_uri"))
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	code := fmt.Sprint("code", len(p.codes), time.Now().UnixNano())
	p.codes[code] = sent
	return back.Path + "?" + url.Values{"code": {code}, "state": {sent.Get("state")}}.Encode()
}

func (p *idp) options() middleware.AuthOIDC {
	return middleware.AuthOIDC{Issuer: p.URL, ClientID: "shop", ClientSecret: "hush", Secrets: []string{tokenSecret}, LogoutPath: "/logout", Logger: silent}
}

// page makes a request that of a browser which opens a page.
var page = pagitest.Header("accept", "text/html,application/xhtml+xml,*/*;q=0.8")

// in logs a browser in and returns the answer to its way back.
func (p *idp) in(t testing.TB, c *pagitest.Client, target string) *pagitest.Response {
	t.Helper()
	res := c.Get(target, page)
	if res.Status != 302 {
		t.Fatalf("%s: %d %s", target, res.Status, res.Text())
	}
	return c.Get(p.logIn(t, res.Header("location")), page)
}

func TestAuthOIDC(t *testing.T) {
	p := newIDP(t)
	app := p.options().Wrap(whoami)
	c := pagitest.New(app)
	res := c.Get("/menu?x=1", page)
	if res.Status != 302 || res.Header("cache-control") != "no-store" {
		t.Errorf("%d %v", res.Status, res.Headers)
	}
	cookie := res.Header("set-cookie")
	for _, attribute := range []string{"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"} {
		if !strings.Contains(cookie, attribute) {
			t.Errorf("the cookie %s has no %s", cookie, attribute)
		}
	}
	u, _ := url.Parse(res.Header("location"))
	for _, secret := range []string{u.Query().Get("state"), u.Query().Get("nonce")} {
		if strings.Contains(strings.SplitN(cookie, "=", 2)[1], secret) {
			t.Errorf("the cookie shows %s: %s", secret, cookie)
		}
	}
	callback := p.logIn(t, res.Header("location"))
	res = c.Get(callback, page)
	if res.Status != 302 || res.Header("location") != "/menu?x=1" || res.Header("cache-control") != "no-store" {
		t.Fatalf("%d %v %s", res.Status, res.Headers, res.Text())
	}
	if res := c.Get("/menu?x=1", page).Expect(t, 200, "oidc ann@example.org 4711"); res.Header("cache-control") != "private" {
		t.Errorf("shared caches may store the page: %v", res.Headers)
	}
	c.Get("/data").Expect(t, 200, "oidc ann@example.org") // a script of the page
	if got := askAll(t, app, "/", pagitest.Header("cookie", "pagi_oidc="+c.Cookie("pagi_oidc"))); !cmp.Equal(got, everywhere("oidc ann@example.org 4711")) {
		t.Errorf("%v", got)
	}

	if res := c.Get(callback, page); res.Status != 400 || c.Cookie("pagi_oidc") == "" {
		t.Errorf("a replayed way back: %d", res.Status)
	}
	value := c.Cookie("pagi_oidc")
	if res := c.Get("/logout", pagitest.Header("sec-fetch-site", "cross-site")); res.Status != 403 || c.Cookie("pagi_oidc") == "" {
		t.Errorf("another site logs out: %d", res.Status)
	}
	if res := c.Post("/logout", pagitest.Header("origin", "https://evil.example")); res.Status != 403 || c.Cookie("pagi_oidc") == "" {
		t.Errorf("another site logs out by a form in a browser without Sec-Fetch-Site: %d", res.Status)
	}
	c.Get("/logout", page).Expect(t, 200, "You are logged out.")
	if c.Cookie("pagi_oidc") != "" || c.Get("/", page).Status != 302 {
		t.Error("the browser is still logged in")
	}
	if res := c.Get("/", page, pagitest.Header("cookie", "pagi_oidc="+value)); res.Status != 302 {
		t.Errorf("a copy of the cookie still counts: %d", res.Status)
	}
	if res := c.Do("PUT", "/logout"); res.Status != 405 {
		t.Error(res.Status)
	}
	if res := c.Post("/oidc/callback"); res.Status != 405 {
		t.Error(res.Status)
	}
}

func TestWhoIsSentToTheProvider(t *testing.T) {
	p := newIDP(t)
	m := p.options()
	m.Paths = []string{"/private"}
	app := m.Wrap(outer(whoami))
	header := pagitest.Header
	for name, tc := range map[string]struct {
		method, target string
		opts           []pagitest.Option
		want           int
	}{
		"a page":                               {"GET", "/private", []pagitest.Option{page}, 302},
		"its head":                             {"HEAD", "/private", []pagitest.Option{page}, 302},
		"below another spelling":               {"GET", "//private/x", []pagitest.Option{page}, 302},
		"a browser that says navigate":         {"GET", "/private", []pagitest.Option{header("sec-fetch-mode", "navigate")}, 302},
		"fetch":                                {"GET", "/private", []pagitest.Option{page, header("sec-fetch-mode", "cors")}, 401},
		"an image":                             {"GET", "/private", []pagitest.Option{header("accept", "image/*"), header("sec-fetch-mode", "no-cors")}, 401},
		"XMLHttpRequest of an old browser":     {"GET", "/private", []pagitest.Option{page, header("x-requested-with", "XMLHttpRequest")}, 401},
		"fetch of an old browser":              {"GET", "/private", []pagitest.Option{header("accept", "*/*")}, 401},
		"a program":                            {"GET", "/private", nil, 401},
		"a form":                               {"POST", "/private", []pagitest.Option{page, header("sec-fetch-mode", "navigate")}, 401},
		"a path that is not protected":         {"GET", "/", []pagitest.Option{page}, 200},
		"the way back, without anything":       {"GET", "/oidc/callback", []pagitest.Option{page}, 400},
		"the way back with a state":            {"GET", "/oidc/callback?code=x&state=" + strings.Repeat("x", 32), []pagitest.Option{page}, 400},
		"the way back with a long state":       {"GET", "/oidc/callback?code=x&state=" + strings.Repeat("x", 3200), []pagitest.Option{page}, 400},
		"a host that is none":                  {"GET", "/private", []pagitest.Option{page, header("host", "a/b")}, 400},
		"a cookie that was made by hand":       {"GET", "/private", []pagitest.Option{page, header("cookie", "pagi_oidc=e1.x.y")}, 302},
		"an empty cookie":                      {"GET", "/private", []pagitest.Option{page, header("cookie", "pagi_oidc=")}, 302},
		"a header of the client with the user": {"GET", "/private", []pagitest.Option{header("remote-user", "ann")}, 401},
	} {
		res := pagitest.New(app).Do(tc.method, tc.target, tc.opts...)
		if res.Status != tc.want || res.Status == 401 && !res.Headers.Has("www-authenticate") {
			t.Errorf("%s: %d %v", name, res.Status, res.Headers)
		}
	}
	if got := askAll(t, app, "/private"); !cmp.Equal(got, everywhere("401")) {
		t.Errorf("%v", got)
	}
	if got := askAll(t, app, "/"); !cmp.Equal(got, everywhere("outer olga olga")) {
		t.Errorf("%v", got)
	}
}

func TestWhereALoginReturns(t *testing.T) {
	p := newIDP(t)
	app := p.options().Wrap(whoami)
	for target, want := range map[string]string{
		"/":                               "/",
		"/a%2Fb?c=%0d%0aX:%20y":           "/a%2Fb?c=%0d%0aX:%20y",
		"//evil.example/":                 "/",
		`/\evil.example/`:                 "/",
		"/%5Cevil.example":                "/%5Cevil.example",
		"http://evil.example/x":           "/",
		"/\t/evil.example":                "/",
		"/?" + strings.Repeat("x", 1600):  "/",
		"/a" + strings.Repeat("x", 1600):  "/",
		"/a?" + strings.Repeat("x", 1600): "/a",
	} {
		c := pagitest.New(app)
		res := c.Get("/", page, pagitest.Edit(func(s *pagi.Scope) { s.Target = target }))
		back := c.Get(p.logIn(t, res.Header("location")), page)
		if back.Status != 302 || back.Header("location") != want {
			t.Errorf("%.40q: %d %.40q", target, back.Status, back.Header("location"))
		}
	}
}

func TestLoginsThatAreRefused(t *testing.T) {
	p := newIDP(t)
	domain := func(m *middleware.AuthOIDC) { m.AllowedDomains = []string{"Example.org"} }
	users := func(m *middleware.AuthOIDC) { m.AllowedUsers = []string{"ann@example.org", "ann"} }
	none := func(*middleware.AuthOIDC) {}
	for name, tc := range map[string]struct {
		set    func(*middleware.AuthOIDC)
		claims jwt.MapClaims
		status int
		want   string
	}{
		"a right one":                               {none, nil, 302, "oidc ann@example.org"},
		"another nonce":                             {none, jwt.MapClaims{"nonce": "x"}, 502, ""},
		"no nonce":                                  {none, jwt.MapClaims{"nonce": nil}, 502, ""},
		"an ID token that has expired":              {none, jwt.MapClaims{"exp": 1}, 502, ""},
		"an ID token for another client":            {none, jwt.MapClaims{"aud": "other"}, 502, ""},
		"an ID token for several clients":           {none, jwt.MapClaims{"aud": []string{"other", "shop"}, "azp": "shop"}, 302, "oidc ann@example.org"},
		"the same, made for another one":            {none, jwt.MapClaims{"aud": []string{"other", "shop"}, "azp": "other"}, 502, ""},
		"an ID token of another issuer":             {none, jwt.MapClaims{"iss": "https://evil"}, 502, ""},
		"a wrong hash of the access token":          {none, jwt.MapClaims{"at_hash": "x"}, 502, ""},
		"an allowed domain":                         {domain, nil, 302, "oidc ann@example.org"},
		"another domain":                            {domain, jwt.MapClaims{"email": "ann@example.org.evil"}, 403, ""},
		"a domain in front":                         {domain, jwt.MapClaims{"email": "ann@notexample.org"}, 403, ""},
		"two at signs":                              {domain, jwt.MapClaims{"email": "ann@example.org@evil"}, 403, ""},
		"an address that is not verified":           {domain, jwt.MapClaims{"email_verified": false}, 403, ""},
		"an address of which nothing is said":       {domain, jwt.MapClaims{"email_verified": nil}, 403, ""},
		"the same, and allowed":                     {func(m *middleware.AuthOIDC) { domain(m); m.UnverifiedEmail = true }, jwt.MapClaims{"email_verified": nil}, 302, "oidc ann@example.org"},
		"not verified is never allowed":             {func(m *middleware.AuthOIDC) { domain(m); m.UnverifiedEmail = true }, jwt.MapClaims{"email_verified": "false"}, 403, ""},
		"no address":                                {domain, jwt.MapClaims{"email": nil}, 403, ""},
		"an allowed user":                           {users, nil, 302, "oidc ann@example.org"},
		"a user who is not allowed":                 {users, jwt.MapClaims{"email": "bob@example.org"}, 403, ""},
		"an allowed user's address, not verified":   {users, jwt.MapClaims{"email_verified": false}, 403, ""},
		"the same address as preferred_username":    {users, jwt.MapClaims{"email_verified": false, "preferred_username": "ann@example.org"}, 403, ""},
		"an allowed preferred_username":             {users, jwt.MapClaims{"email": nil, "preferred_username": "ann"}, 302, "oidc ann"},
		"the name of another user in upper case":    {users, jwt.MapClaims{"email": nil, "preferred_username": "ANN"}, 403, ""},
		"an address in upper case":                  {users, jwt.MapClaims{"email": "Ann@Example.org"}, 302, "oidc Ann@Example.org"},
		"no name but sub":                           {none, jwt.MapClaims{"email": nil}, 302, "oidc 4711"},
		"another claim":                             {func(m *middleware.AuthOIDC) { m.UsernameClaim = "name" }, nil, 302, "oidc Ann"},
		"a claim that is missing":                   {func(m *middleware.AuthOIDC) { m.UsernameClaim = "upn" }, nil, 403, ""},
		"a name with a line break":                  {func(m *middleware.AuthOIDC) { m.UsernameClaim = "name" }, jwt.MapClaims{"name": "a\nb"}, 403, ""},
		"the claim email, not verified":             {func(m *middleware.AuthOIDC) { m.UsernameClaim = "email" }, jwt.MapClaims{"email_verified": false}, 403, ""},
		"a required group":                          {func(m *middleware.AuthOIDC) { m.Claims = map[string]any{"groups": []any{"boss", "staff"}} }, nil, 302, "oidc ann@example.org"},
		"a group that is missing":                   {func(m *middleware.AuthOIDC) { m.Claims = map[string]any{"groups": "boss"} }, nil, 403, ""},
		"a group that is missing of an allowed one": {func(m *middleware.AuthOIDC) { users(m); m.Claims = map[string]any{"groups": "boss"} }, nil, 403, ""},
	} {
		m := p.options()
		tc.set(&m)
		p.claims = tc.claims
		c := pagitest.New(m.Wrap(whoami))
		res := p.in(t, c, "/")
		if res.Status != tc.status {
			t.Errorf("%s: %d %s", name, res.Status, res.Text())
		}
		if tc.want == "" {
			if got := c.Get("/", page); c.Cookie("pagi_oidc") != "" || got.Status != 302 {
				t.Errorf("%s: the browser is logged in: %d", name, got.Status)
			}
		} else if got := c.Get("/").Text(); !strings.HasPrefix(got, tc.want+" ") {
			t.Errorf("%s: %q", name, got)
		}
	}
	p.claims = nil
	for name, tc := range map[string]struct {
		set  func()
		want int
	}{
		"an ID token signed with the client's secret": {func() { p.signed = jwt.SigningMethodHS256 }, 502},
		"an ID token without a signature":             {func() { p.signed = jwt.SigningMethodNone }, 502},
		"another key":                                 {func() { p.key = rsaKey(t, 2048) }, 302}, // the keys are fetched again
		"no ID token": {func() {
			p.token = func(string) any { return map[string]any{"access_token": "x", "token_type": "Bearer"} }
		}, 502},
		"an ID token that is no text": {func() {
			p.token = func(string) any { return map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": 1} }
		}, 502},
		"a provider that fails": {func() { p.broken = true }, 502},
		"a code that was used":  {func() { p.codes = map[string]url.Values{} }, 400},
	} {
		p.signed, p.token, p.broken = jwt.SigningMethodRS256, nil, false
		c := pagitest.New(p.options().Wrap(whoami))
		callback := p.logIn(t, c.Get("/", page).Header("location"))
		p.mu.Lock()
		tc.set()
		p.mu.Unlock()
		if res := c.Get(callback, page); res.Status != tc.want {
			t.Errorf("%s: %d %s", name, res.Status, res.Text())
		}
	}
	p.signed, p.token, p.broken = jwt.SigningMethodRS256, nil, false
	c := pagitest.New(p.options().Wrap(whoami))
	callback := p.logIn(t, c.Get("/", page).Header("location"))
	if res := c.Get(callback+"&iss=https%3A%2F%2Fevil", page); res.Status != 400 {
		t.Errorf("another provider: %d", res.Status)
	}
	callback = p.logIn(t, c.Get("/", page).Header("location"))
	if res := c.Get(callback+"&iss="+url.QueryEscape(p.URL), page); res.Status != 302 {
		t.Errorf("the provider itself: %d", res.Status)
	}
	c = pagitest.New(p.options().Wrap(whoami))
	u, _ := url.Parse(c.Get("/", page).Header("location"))
	res := c.Get("/oidc/callback?error=access_denied&error_description=%3Cscript%3E&state=" + u.Query().Get("state"))
	if res.Status != 403 || strings.Contains(res.Text(), "script") {
		t.Errorf("a refusal of the provider: %d %s", res.Status, res.Text())
	}
}

// A way back is worth nothing in another browser, and the cookies of one login are nothing in another.
func TestALoginBelongsToItsBrowser(t *testing.T) {
	p := newIDP(t)
	app := p.options().Wrap(whoami)
	attacker, victim := pagitest.New(app), pagitest.New(app)
	callback := p.logIn(t, attacker.Get("/", page).Header("location"))
	if res := victim.Get(callback, page); res.Status != 400 {
		t.Errorf("without a cookie: %d", res.Status)
	}
	other := victim.Get("/", page)
	if res := victim.Get(callback, page); res.Status != 400 {
		t.Errorf("with the cookie of another login: %d", res.Status)
	}
	// The cookie of another login under the name that belongs to the state.
	state, _ := url.Parse(callback)
	_, value, _ := strings.Cut(other.Header("set-cookie"), "=")
	value, _, _ = strings.Cut(value, ";")
	victim.SetCookie("pagi_oidc_"+state.Query().Get("state")[:8], value)
	if res := victim.Get(callback, page); res.Status != 400 {
		t.Errorf("with another login's cookie under its name: %d", res.Status)
	}
	// The cookie of a login that has begun is no login.
	if res := pagitest.New(app).Get("/", page, pagitest.Header("cookie", "pagi_oidc="+value)); res.Status != 302 {
		t.Errorf("a login that has begun counts as one: %d", res.Status)
	}
	// Two tabs at a time.
	c := pagitest.New(app)
	one, two := p.logIn(t, c.Get("/one", page).Header("location")), p.logIn(t, c.Get("/two", page).Header("location"))
	if a, b := c.Get(one, page).Header("location"), c.Get(two, page).Header("location"); a != "/one" || b != "/two" {
		t.Errorf("%q %q", a, b)
	}
	// Many tabs do not fill the header.
	c = pagitest.New(app)
	for range 20 {
		c.Get("/", page)
	}
	if res := c.Get("/", page, pagitest.Edit(func(s *pagi.Scope) {
		if n := strings.Count(s.Headers.Get("cookie"), "pagi_oidc_"); n > 6 {
			t.Errorf("the browser holds %d cookies", n)
		}
	})); res.Status != 302 {
		t.Error(res.Status)
	}
}

func TestCookiesOfLogins(t *testing.T) {
	p := newIDP(t)
	now := time.Now()
	m := p.options()
	m.Now, m.Lifetime = func() time.Time { return now }, 40*time.Second // below that of the ID token
	c := pagitest.New(m.Wrap(whoami))
	p.in(t, c, "/")
	value := c.Cookie("pagi_oidc")
	status := func(m middleware.AuthOIDC, value string) int {
		return pagitest.New(m.Wrap(whoami)).Get("/", page, pagitest.Header("cookie", "pagi_oidc="+value)).Status
	}
	if got := status(m, value); got != 200 {
		t.Errorf("in another process: %d", got)
	}
	for _, at := range []int{3, 12, len(value) / 2, len(value) - 1} {
		changed := []byte(value)
		changed[at] ^= 1
		if got := status(m, string(changed)); got != 302 {
			t.Errorf("changed at %d: %d", at, got)
		}
	}
	rotated := m
	rotated.Secrets = []string{strings.Repeat("new!", 8), tokenSecret}
	other := m
	other.Secrets = []string{strings.Repeat("new!", 8)}
	stricter := m
	stricter.AllowedUsers = []string{"bob@example.org"}
	client := m
	client.ClientID = "other"
	for name, tc := range map[string]struct {
		m    middleware.AuthOIDC
		want int
	}{"a former secret": {rotated, 200}, "another secret": {other, 302}, "stricter rules": {stricter, 302}, "another client": {client, 302}} {
		if got := status(tc.m, value); got != tc.want {
			t.Errorf("%s: %d", name, got)
		}
	}
	now = now.Add(39 * time.Second)
	if got := status(m, value); got != 200 {
		t.Errorf("shortly before it expires: %d", got)
	}
	now = now.Add(time.Second)
	if got := status(m, value); got != 302 {
		t.Errorf("expired: %d", got)
	}
	now = time.Now()
	slow := pagitest.New(m.Wrap(whoami))
	location := slow.Get("/", page).Header("location")
	now = now.Add(11 * time.Minute)
	if res := slow.Get(p.logIn(t, location), page); res.Status != 400 {
		t.Errorf("a login that took 11 minutes: %d", res.Status)
	}

	https := p.options()
	https.BaseURL, https.CookieName = "https://shop.example", "login"
	res := pagitest.New(https.Wrap(whoami)).Get("/", page)
	u, _ := url.Parse(res.Header("location"))
	if cookie := res.Header("set-cookie"); !strings.HasPrefix(cookie, "__Host-login_") || !strings.Contains(cookie, "; Secure") || u.Query().Get("redirect_uri") != "https://shop.example/oidc/callback" {
		t.Errorf("%s %s", cookie, u.Query().Get("redirect_uri"))
	}
}

func TestAProviderThatIsDown(t *testing.T) {
	p := newIDP(t)
	p.down.Store(true)
	c := pagitest.Start(t, p.options().Wrap(pagi.AppFunc(whoami)))
	for range 3 {
		if res := c.Get("/", page); res.Status != 503 || res.Header("retry-after") == "" {
			t.Errorf("%d", res.Status)
		}
	}
	if p.asked != 1 {
		t.Errorf("it was asked %d times", p.asked)
	}
	if res := c.Get("/"); res.Status != 401 {
		t.Errorf("a program: %d", res.Status)
	}
}

func TestProviderLogout(t *testing.T) {
	p := newIDP(t)
	m := p.options()
	m.ProviderLogout, m.LogoutRedirect = true, "/bye?x=1"
	c := pagitest.New(m.Wrap(whoami))
	p.in(t, c, "/")
	res := c.Post("/logout", pagitest.Header("origin", "http://testserver"))
	want := p.URL + "/end?" + url.Values{"x": {"1"}, "client_id": {"shop"}, "post_logout_redirect_uri": {"http://testserver/bye?x=1"}}.Encode()
	if res.Status != 303 || res.Header("location") != want || c.Cookie("pagi_oidc") != "" {
		t.Errorf("%d %s", res.Status, res.Header("location"))
	}
	m.ProviderLogout = false
	if res := pagitest.New(m.Wrap(whoami)).Get("/logout"); res.Status != 303 || res.Header("location") != "/bye?x=1" {
		t.Errorf("%d %s", res.Status, res.Header("location"))
	}
}

func TestAuthOIDCRefusesOptions(t *testing.T) {
	good := middleware.AuthOIDC{Issuer: "https://id.example", ClientID: "shop", Secrets: []string{tokenSecret}}
	for want, set := range map[string]func(*middleware.AuthOIDC){
		`issuer: "" is no http or https URL`:                    func(m *middleware.AuthOIDC) { m.Issuer = "" },
		`issuer: "https://id.example/?x" is no`:                 func(m *middleware.AuthOIDC) { m.Issuer = "https://id.example/?x" },
		`client_id: is missing`:                                 func(m *middleware.AuthOIDC) { m.ClientID = "" },
		`secrets: is missing`:                                   func(m *middleware.AuthOIDC) { m.Secrets = nil },
		`secrets: number 2 has 3 bytes; it needs 32`:            func(m *middleware.AuthOIDC) { m.Secrets = []string{tokenSecret, "abc"} },
		`base_url: "https://x/y" is not a scheme and a host`:    func(m *middleware.AuthOIDC) { m.BaseURL = "https://x/y" },
		`base_url: "x" is not a scheme and a host`:              func(m *middleware.AuthOIDC) { m.BaseURL = "x" },
		`redirect_path: "//evil" is not a path of this site`:    func(m *middleware.AuthOIDC) { m.RedirectPath = "//evil" },
		`logout_path: "logout" is not a path`:                   func(m *middleware.AuthOIDC) { m.LogoutPath = "logout" },
		`logout_path: must not be the redirect_path`:            func(m *middleware.AuthOIDC) { m.LogoutPath = "/oidc/callback" },
		`logout_redirect: "/\\evil" is not a path of this site`: func(m *middleware.AuthOIDC) { m.LogoutRedirect = `/\evil` },
		`logout_redirect: "https://evil" is not a path`:         func(m *middleware.AuthOIDC) { m.LogoutRedirect = "https://evil" },
		`paths: "x" must begin with a slash`:                    func(m *middleware.AuthOIDC) { m.Paths = []string{"x"} },
		`scopes: "a b" is no scope`:                             func(m *middleware.AuthOIDC) { m.Scopes = []string{"a b"} },
		`allowed_domains: "@example.org" is no domain`:          func(m *middleware.AuthOIDC) { m.AllowedDomains = []string{"@example.org"} },
		`claims: "x" must be a text`:                            func(m *middleware.AuthOIDC) { m.Claims = map[string]any{"x": nil} },
		`lifetime: must not be negative`:                        func(m *middleware.AuthOIDC) { m.Lifetime = -1 },
		`cookie_name: "a b" is not the name of a cookie`:        func(m *middleware.AuthOIDC) { m.CookieName = "a b" },
		`cookie_name: "__Host-x" has a prefix with a meaning`:   func(m *middleware.AuthOIDC) { m.CookieName = "__Host-x" },
	} {
		m := good
		set(&m)
		err := m.Check()
		if bad := new(*pagi.OptionError); !errors.As(err, bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
			continue
		}
		if c := pagitest.New(m.Wrap(hello)); c.Startup(t.Context()) == nil || c.Get("/").Status != 500 {
			t.Errorf("%s: it starts, or serves", want)
		}
	}
}
