package middleware_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

func ExampleBearerAuth() {
	app := middleware.BearerAuth{Tokens: map[string]string{"ci": "Zm9yIHRoZSBidWlsZGVy"}}.Wrap(whoami)
	c := pagitest.New(app)
	fmt.Println(c.Get("/").Header("www-authenticate"))
	fmt.Println(c.Get("/", pagitest.Header("authorization", "Bearer Zm9yIHRoZSBidWlsZGVy")).Text())
	// Output:
	// Bearer realm="Bearer"
	// bearer ci
}

const tokenSecret = "0123456789abcdef0123456789abcdef"

func bearer(token string) pagitest.Option { return pagitest.Header("authorization", "Bearer "+token) }

// expiringSoon returns claims of ann that expire in a minute, with further ones. A nil removes one.
func expiringSoon(more map[string]any) jwt.MapClaims {
	claims := jwt.MapClaims{"sub": "ann", "exp": time.Now().Add(time.Minute).Unix()}
	for name, value := range more {
		if value == nil {
			delete(claims, name)
			continue
		}
		claims[name] = value
	}
	return claims
}

// signed returns a JWT. key may be a jwt.SigningMethod's own, and header adds to the header.
func signed(t testing.TB, method jwt.SigningMethod, key any, claims jwt.MapClaims, header map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	maps.Copy(token.Header, header)
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func segment(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

const (
	invalid = `error="invalid_token", error_description="The access token is not valid"`
	expired = `error="invalid_token", error_description="The access token expired"`
)

func TestBearerAuthWithSecret(t *testing.T) {
	hs := func(secret string, more map[string]any) string {
		return signed(t, jwt.SigningMethodHS256, []byte(secret), expiringSoon(more), nil)
	}
	plain := middleware.BearerAuth{Secrets: []string{tokenSecret}}
	strict := middleware.BearerAuth{
		Secrets: []string{tokenSecret}, Issuer: "https://id.example", Audience: []string{"shop", "site"}, Leeway: time.Minute, UsernameClaim: "email",
		Claims: map[string]any{"tenant": "acme", "realm_access.roles": []any{"staff", "boss"}, "level": uint64(3), "jti": []any{}},
	}
	strictly := func(more map[string]any) string {
		claims := map[string]any{
			"iss": "https://id.example", "aud": "shop", "email": "ann@example", "tenant": "acme", "level": 3, "jti": "x",
			"realm_access": map[string]any{"roles": []string{"user", "staff"}},
		}
		maps.Copy(claims, more)
		return hs(tokenSecret, claims)
	}
	now := time.Now()
	good := hs(tokenSecret, nil)
	parts := strings.Split(good, ".")
	for name, tc := range map[string]struct {
		m     middleware.BearerAuth
		token string
		want  string
	}{
		"a right one":                            {plain, good, "bearer ann ann"},
		"another secret":                         {plain, hs(strings.ToUpper(tokenSecret), nil), invalid},
		"a former secret":                        {middleware.BearerAuth{Secrets: []string{strings.Repeat("n", 32), tokenSecret}}, good, "bearer ann ann"},
		"no user":                                {plain, hs(tokenSecret, map[string]any{"sub": nil}), "bearer <nil>"},
		"a user with a line break":               {plain, hs(tokenSecret, map[string]any{"sub": "ann\nREMOTE_USER: root"}), invalid},
		"expired":                                {plain, hs(tokenSecret, map[string]any{"exp": now.Add(-time.Second).Unix()}), expired},
		"expired with another secret":            {plain, hs(strings.ToUpper(tokenSecret), map[string]any{"exp": 1}), invalid},
		"expired within the leeway":              {middleware.BearerAuth{Secrets: []string{tokenSecret}, Leeway: time.Minute}, hs(tokenSecret, map[string]any{"exp": now.Add(-time.Second).Unix()}), "bearer ann ann"},
		"an expiry that is a text":               {plain, hs(tokenSecret, map[string]any{"exp": "never"}), invalid},
		"no expiry":                              {plain, hs(tokenSecret, map[string]any{"exp": nil}), invalid},
		"no expiry, and allowed":                 {middleware.BearerAuth{Secrets: []string{tokenSecret}, AllowNoExpiry: true}, hs(tokenSecret, map[string]any{"exp": nil}), "bearer ann ann"},
		"expired where none is needed":           {middleware.BearerAuth{Secrets: []string{tokenSecret}, AllowNoExpiry: true}, hs(tokenSecret, map[string]any{"exp": 1}), expired},
		"not valid yet":                          {plain, hs(tokenSecret, map[string]any{"nbf": now.Add(time.Minute).Unix()}), invalid},
		"another algorithm of the family":        {plain, signed(t, jwt.SigningMethodHS512, []byte(tokenSecret), expiringSoon(nil), nil), invalid},
		"no algorithm":                           {plain, signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, expiringSoon(nil), nil), invalid},
		"no algorithm in another case":           {plain, segment(map[string]string{"alg": "nOnE"}) + "." + parts[1] + ".", invalid},
		"no algorithm and a signature":           {plain, segment(map[string]string{"alg": "none"}) + "." + parts[1] + "." + parts[2], invalid},
		"a header without alg":                   {plain, segment(map[string]string{}) + "." + parts[1] + "." + parts[2], invalid},
		"no signature":                           {plain, parts[0] + "." + parts[1] + ".", invalid},
		"two parts":                              {plain, parts[0] + "." + parts[1], invalid},
		"four parts":                             {plain, good + ".x", invalid},
		"other claims below the signature":       {plain, parts[0] + "." + segment(expiringSoon(map[string]any{"sub": "root"})) + "." + parts[2], invalid},
		"a header that is no JSON":               {plain, "eA." + parts[1] + "." + parts[2], invalid},
		"a critical header":                      {plain, signed(t, jwt.SigningMethodHS256, []byte(tokenSecret), expiringSoon(nil), map[string]any{"crit": []string{"exp"}}), invalid},
		"no token":                               {plain, "", ""},
		"characters that no token has":           {plain, good + `"`, invalid},
		"a token of 17 KB":                       {plain, strings.Repeat("x", 17<<10), invalid},
		"all that is required":                   {strict, strictly(nil), "bearer ann@example ann"},
		"another issuer":                         {strict, strictly(map[string]any{"iss": "https://id.example.evil"}), invalid},
		"no issuer":                              {strict, strictly(map[string]any{"iss": nil}), invalid},
		"one of several audiences":               {strict, strictly(map[string]any{"aud": []string{"x", "site"}}), "bearer ann@example ann"},
		"another audience":                       {strict, strictly(map[string]any{"aud": "shopping"}), invalid},
		"no audience":                            {strict, strictly(map[string]any{"aud": nil}), invalid},
		"not valid yet, but within the leeway":   {strict, strictly(map[string]any{"nbf": now.Add(30 * time.Second).Unix()}), "bearer ann@example ann"},
		"another value of a claim":               {strict, strictly(map[string]any{"tenant": "acme2"}), invalid},
		"a claim that is missing":                {strict, strictly(map[string]any{"tenant": nil}), invalid},
		"another number":                         {strict, strictly(map[string]any{"level": 30}), invalid},
		"a list without the value":               {strict, strictly(map[string]any{"realm_access": map[string]any{"roles": []string{"user"}}}), invalid},
		"an object that is a text":               {strict, strictly(map[string]any{"realm_access": "staff"}), invalid},
		"a claim that may have any value":        {strict, strictly(map[string]any{"jti": nil}), invalid},
		"no name of a user where one is claimed": {strict, strictly(map[string]any{"email": nil}), invalid},
	} {
		var opts []pagitest.Option
		if tc.token != "" {
			opts = append(opts, bearer(tc.token))
		}
		want := everywhere(tc.want)
		if !strings.HasPrefix(tc.want, "bearer") {
			want = everywhere("401")
		}
		app := outer(tc.m.Wrap(whoami))
		if len(tc.token) < 8<<10 {
			if diff := cmp.Diff(want, askAll(t, app, "/", opts...)); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
		res := pagitest.New(app).Get("/", opts...)
		demand := `Bearer realm="Bearer"`
		if tc.want != "" {
			demand += ", " + tc.want
		}
		if res.Status == 401 && res.Header("www-authenticate") != demand {
			t.Errorf("%s: %s", name, res.Header("www-authenticate"))
		}
	}
}

// publicPEM writes a public key and returns the name of the file.
func publicPEM(t testing.TB, key crypto.PublicKey) (file string, text []byte) {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	file = filepath.Join(t.TempDir(), "key.pem")
	write(t, file, string(text))
	return file, text
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestBearerAuthWithPublicKeys(t *testing.T) {
	rsaPrivate, p256, p384 := rsaKey(t, 2048), ecKey(t, elliptic.P256()), ecKey(t, elliptic.P384())
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaFile, rsaText := publicPEM(t, rsaPrivate.Public())
	p256File, _ := publicPEM(t, p256.Public())
	p384File, _ := publicPEM(t, p384.Public())
	edFile, edText := publicPEM(t, ed.Public())
	token := func(method jwt.SigningMethod, key any) string { return signed(t, method, key, expiringSoon(nil), nil) }
	for name, tc := range map[string]struct {
		keys       []string
		algorithms []string
		token      string
		want       int
	}{
		"RSA":                                   {[]string{rsaFile}, []string{"RS256"}, token(jwt.SigningMethodRS256, rsaPrivate), 200},
		"RSA with PSS":                          {[]string{rsaFile}, []string{"RS256", "PS256"}, token(jwt.SigningMethodPS256, rsaPrivate), 200},
		"an algorithm that is not given":        {[]string{rsaFile}, []string{"RS256"}, token(jwt.SigningMethodRS512, rsaPrivate), 401},
		"another RSA key":                       {[]string{rsaFile}, []string{"RS256"}, token(jwt.SigningMethodRS256, rsaKey(t, 2048)), 401},
		"the PEM file as the secret of an HMAC": {[]string{rsaFile}, []string{"RS256"}, token(jwt.SigningMethodHS256, rsaText), 401},
		"the same with Ed25519":                 {[]string{edFile}, nil, token(jwt.SigningMethodHS256, edText), 401},
		"the key itself as the secret":          {[]string{edFile}, nil, token(jwt.SigningMethodHS256, []byte(ed.Public().(ed25519.PublicKey))), 401},
		"no algorithm":                          {[]string{rsaFile}, []string{"RS256"}, token(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType), 401},
		"P-256":                                 {[]string{p256File}, nil, token(jwt.SigningMethodES256, p256), 200},
		"P-384":                                 {[]string{p384File}, nil, token(jwt.SigningMethodES384, p384), 200},
		"Ed25519":                               {[]string{edFile}, nil, token(jwt.SigningMethodEdDSA, ed), 200},
		"the second of several keys":            {[]string{p256File, edFile, rsaFile}, []string{"ES256", "EdDSA"}, token(jwt.SigningMethodEdDSA, ed), 200},
		"a key whose algorithm is not given":    {[]string{p256File, edFile, rsaFile}, []string{"ES256", "EdDSA"}, token(jwt.SigningMethodRS256, rsaPrivate), 401},
	} {
		m := middleware.BearerAuth{Keys: tc.keys, Algorithms: tc.algorithms}
		if err := m.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if res := pagitest.New(m.Wrap(whoami)).Get("/", bearer(tc.token)); res.Status != tc.want {
			t.Errorf("%s: %d", name, res.Status)
		}
	}
}

// keyServer serves a JWK set that can be changed, and fails while it is empty.
type keyServer struct {
	*httptest.Server
	set   atomic.Pointer[string]
	asked atomic.Int32
}

func serveKeys(t testing.TB, keys ...jwkset.JWKMarshal) *keyServer {
	t.Helper()
	s := &keyServer{}
	s.put(t, keys...)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		if text := *s.set.Load(); text != "" {
			fmt.Fprint(w, text)
			return
		}
		http.Error(w, "down", http.StatusBadGateway)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *keyServer) put(t testing.TB, keys ...jwkset.JWKMarshal) {
	t.Helper()
	text := ""
	if len(keys) > 0 {
		b, err := json.Marshal(jwkset.JWKSMarshal{Keys: keys})
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	s.set.Store(&text)
}

func jwk(t testing.TB, key any, kid string, alg jwkset.ALG, use jwkset.USE) jwkset.JWKMarshal {
	t.Helper()
	_, secret := key.([]byte)
	k, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid, ALG: alg, USE: use}, Marshal: jwkset.JWKMarshalOptions{Private: secret}})
	if err != nil {
		t.Fatal(err)
	}
	return k.Marshal()
}

func TestBearerAuthWithAJWKSet(t *testing.T) {
	one, two, enc := rsaKey(t, 2048), rsaKey(t, 2048), rsaKey(t, 2048)
	short := rsaKey(t, 1024)
	secret := []byte(tokenSecret)
	s := serveKeys(t, jwk(t, one.Public(), "one", "RS256", "sig"), jwk(t, two.Public(), "two", "", ""), jwk(t, enc.Public(), "enc", "", "enc"),
		jwk(t, secret, "secret", "HS256", "sig"), jwk(t, short.Public(), "short", "", "sig"), jwkset.JWKMarshal{KTY: "OKP", CRV: "Ed448", X: "AA", KID: "unknown"}, jwkset.JWKMarshal{KTY: "RSA", KID: "malformed"})
	file := filepath.Join(t.TempDir(), "jwks.json")
	write(t, file, *s.set.Load())
	token := func(method jwt.SigningMethod, key any, kid any) string {
		header := map[string]any{}
		if kid != nil {
			header["kid"] = kid
		}
		return signed(t, method, key, expiringSoon(nil), header)
	}
	for name, m := range map[string]middleware.BearerAuth{
		"from a URL":  {JWKSURL: s.URL, Algorithms: []string{"RS256", "RS384"}},
		"from a file": {JWKSFile: file, Algorithms: []string{"RS256", "RS384"}},
	} {
		c := pagitest.New(m.Wrap(whoami))
		for what, tc := range map[string]struct {
			token string
			want  int
		}{
			"the key of the id":                 {token(jwt.SigningMethodRS256, one, "one"), 200},
			"another key":                       {token(jwt.SigningMethodRS256, two, "two"), 200},
			"the key of another id":             {token(jwt.SigningMethodRS256, one, "two"), 401},
			"no id":                             {token(jwt.SigningMethodRS256, two, nil), 200},
			"an unknown id":                     {token(jwt.SigningMethodRS256, one, "three"), 401},
			"an id that is a number":            {token(jwt.SigningMethodRS256, one, 1), 401},
			"another algorithm than the key's":  {token(jwt.SigningMethodRS384, one, "one"), 401},
			"a key for any algorithm":           {token(jwt.SigningMethodRS384, two, "two"), 200},
			"a key for encryption":              {token(jwt.SigningMethodRS256, enc, "enc"), 401},
			"a key for encryption, without id":  {token(jwt.SigningMethodRS256, enc, nil), 401},
			"a secret of the set":               {token(jwt.SigningMethodHS256, secret, "secret"), 401},
			"a key that is too short":           {token(jwt.SigningMethodRS256, short, "short"), 401},
			"a public key as secret of an HMAC": {token(jwt.SigningMethodHS256, one.N.Bytes(), "one"), 401},
		} {
			if res := c.Get("/", bearer(tc.token)); res.Status != tc.want {
				t.Errorf("%s, %s: %d", name, what, res.Status)
			}
		}
	}
	if n := s.asked.Load(); n != 1 {
		t.Errorf("the server was asked %d times; unknown ids must not cause a flood", n)
	}
	down := serveKeys(t)
	res := pagitest.New(middleware.BearerAuth{JWKSURL: down.URL, Algorithms: []string{"RS256"}}.Wrap(whoami)).Get("/", bearer(token(jwt.SigningMethodRS256, one, "one")))
	if res.Status != 503 || res.Header("retry-after") != "10" || res.Headers.Has("www-authenticate") {
		t.Errorf("without keys: %d %v", res.Status, res.Headers)
	}
}

func TestBearerAuthScopes(t *testing.T) {
	m := middleware.BearerAuth{Secrets: []string{tokenSecret}, Scopes: []string{"read", "write"}}
	for name, tc := range map[string]struct {
		claims map[string]any
		want   string
	}{
		"both in scope":      {map[string]any{"scope": "write x read"}, "bearer ann ann"},
		"both in scp":        {map[string]any{"scp": []string{"read", "write"}}, "bearer ann ann"},
		"one in each":        {map[string]any{"scope": "read", "scp": "write"}, "bearer ann ann"},
		"one is missing":     {map[string]any{"scope": "read"}, "403"},
		"the start of one":   {map[string]any{"scope": "read writers"}, "403"},
		"no scopes":          {nil, "403"},
		"a scope of objects": {map[string]any{"scope": map[string]any{"read": true, "write": true}}, "403"},
	} {
		token := signed(t, jwt.SigningMethodHS256, []byte(tokenSecret), expiringSoon(tc.claims), nil)
		if diff := cmp.Diff(everywhere(tc.want), askAll(t, m.Wrap(whoami), "/", bearer(token))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		res := pagitest.New(m.Wrap(whoami)).Get("/", bearer(token))
		if tc.want == "403" && res.Header("www-authenticate") != `Bearer realm="Bearer", error="insufficient_scope", error_description="The access token lacks a scope", scope="read write"` {
			t.Errorf("%s: %s", name, res.Header("www-authenticate"))
		}
	}
}

func TestWhereATokenStands(t *testing.T) {
	const ann, bob = "ann-0123456789abcdef", "bob-0123456789abcdef"
	m := middleware.BearerAuth{Realm: `a "realm"`, Tokens: map[string]string{"ann": ann, "bob": bob}}
	with := m
	with.QueryParameter, with.Cookie = "access_token", "token"
	streams := func(http, others string) map[string]string {
		return map[string]string{pagi.TypeHTTP: http, pagi.TypeSSE: others, pagi.TypeWebSocket: others}
	}
	header := pagitest.Header
	for name, tc := range map[string]struct {
		m      middleware.BearerAuth
		target string
		opts   []pagitest.Option
		want   map[string]string
	}{
		"the header":                              {m, "/", []pagitest.Option{bearer(bob)}, everywhere("bearer bob")},
		"another case of the scheme":              {m, "/", []pagitest.Option{header("authorization", "BEARER "+bob)}, everywhere("bearer bob")},
		"a token that is not known":               {m, "/", []pagitest.Option{bearer("cas-0123456789abcdef")}, everywhere("401")},
		"the start of a token":                    {m, "/", []pagitest.Option{bearer(ann[:19])}, everywhere("401")},
		"another scheme":                          {m, "/", []pagitest.Option{header("authorization", "Basic "+ann)}, everywhere("401")},
		"only the scheme":                         {m, "/", []pagitest.Option{header("authorization", "Bearer")}, everywhere("401")},
		"two headers":                             {m, "/", []pagitest.Option{bearer(ann), bearer(ann)}, everywhere("400")},
		"two headers of two schemes":              {m, "/", []pagitest.Option{bearer(ann), header("authorization", "Basic x")}, everywhere("400")},
		"the query, not asked for":                {m, "/?access_token=" + ann, nil, everywhere("401")},
		"the cookie, not asked for":               {m, "/", []pagitest.Option{header("cookie", "token="+ann)}, everywhere("401")},
		"the query":                               {with, "/?a=b&access_token=" + ann, nil, streams("401", "bearer ann")},
		"the query twice":                         {with, "/?access_token=" + ann + "&access_token=" + bob, nil, streams("401", "400")},
		"the query and the header":                {with, "/?access_token=" + ann, []pagitest.Option{bearer(bob)}, streams("bearer bob", "400")},
		"the cookie":                              {with, "/", []pagitest.Option{header("cookie", "a=b; token="+ann)}, streams("401", "bearer ann")},
		"the cookie and the header":               {with, "/", []pagitest.Option{header("cookie", "token="+ann), bearer(bob)}, everywhere("bearer bob")},
		"the cookie from the own origin":          {with, "/", []pagitest.Option{header("cookie", "token="+ann), header("origin", "http://testserver")}, streams("401", "bearer ann")},
		"the cookie from another origin":          {with, "/", []pagitest.Option{header("cookie", "token="+ann), header("origin", "http://testserver.evil")}, everywhere("401")},
		"the cookie from a sandbox":               {with, "/", []pagitest.Option{header("cookie", "token="+ann), header("origin", "null")}, everywhere("401")},
		"the cookie for a script of another site": {with, "/", []pagitest.Option{header("cookie", "token="+ann), header("sec-fetch-site", "cross-site")}, everywhere("401")}, // no-cors: without Origin
		"the cookie for a page of the site":       {with, "/", []pagitest.Option{header("cookie", "token="+ann), header("sec-fetch-site", "same-origin")}, streams("401", "bearer ann")},
		"the query from another origin":           {with, "/?access_token=" + ann, []pagitest.Option{header("origin", "http://evil")}, streams("401", "bearer ann")},
		"an empty cookie":                         {with, "/", []pagitest.Option{header("cookie", "token=")}, everywhere("401")},
		"a path that is not protected":            {middleware.BearerAuth{Tokens: m.Tokens, Paths: []string{"/api"}}, "/", []pagitest.Option{bearer(ann)}, everywhere("nobody")},
		"a path that is protected":                {middleware.BearerAuth{Tokens: m.Tokens, Paths: []string{"/api"}}, "/x/../api/y", nil, everywhere("401")},
	} {
		if diff := cmp.Diff(tc.want, askAll(t, tc.m.Wrap(whoami), tc.target, tc.opts...)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if res := pagitest.New(with.Wrap(whoami)).Post("/", pagitest.Form("access_token", ann)); res.Status != 401 {
		t.Errorf("a token in the body: %d", res.Status)
	}
	res := pagitest.New(m.Wrap(whoami)).Get("/", bearer(ann), bearer(bob))
	if got := res.Header("www-authenticate"); got != `Bearer realm="a \"realm\"", error="invalid_request", error_description="The request has more than one token"` {
		t.Error(got)
	}
}

func TestValidator(t *testing.T) {
	m := middleware.BearerAuth{UsernameClaim: "login", Scopes: []string{"read"}, Validator: func(_ context.Context, scope *pagi.Scope, token string) (map[string]any, error) {
		switch token {
		case "broken":
			return nil, &pagi.StatusError{Status: 503, Message: "later"}
		case "good":
			return map[string]any{"login": "ann", "sub": "1", "scope": []string{"read"}}, nil
		case "scopeless":
			return map[string]any{"login": "ann"}, nil
		case "nameless":
			return map[string]any{}, nil
		}
		return nil, nil
	}}
	c := pagitest.New(m.Wrap(whoami))
	c.Get("/", bearer("good")).Expect(t, 200, "bearer ann 1")
	for token, want := range map[string]int{"bad": 401, "scopeless": 403, "nameless": 401, "broken": 503} {
		if res := c.Get("/", bearer(token)); res.Status != want {
			t.Errorf("%s: %d", token, res.Status)
		}
	}
	var claims any
	app := middleware.BearerAuth{Secrets: []string{tokenSecret}}.Wrap(pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
		claims = s.Value(scopekey.AuthClaims)
		return hello.Serve(ctx, s, r, w)
	}))
	pagitest.New(app).Get("/", bearer(signed(t, jwt.SigningMethodHS256, []byte(tokenSecret), jwt.MapClaims{"sub": "ann", "exp": 5e9, "groups": []string{"a"}}, nil)))
	if diff := cmp.Diff(map[string]any{"sub": "ann", "exp": 5e9, "groups": []any{"a"}}, claims); diff != "" {
		t.Error(diff)
	}
	// A static token replaces the identity of an outer middleware, and its claims.
	res := pagitest.New(outer(middleware.BearerAuth{Tokens: map[string]string{"ann": "ann-0123456789abcdef"}}.Wrap(whoami))).Get("/", bearer("ann-0123456789abcdef"))
	res.Expect(t, 200)
	if res.Text() != "bearer ann" {
		t.Error(res.Text())
	}
}

func TestBearerAuthRefusesOptions(t *testing.T) {
	short, _ := publicPEM(t, rsaKey(t, 1024).Public())
	good, _ := publicPEM(t, rsaKey(t, 2048).Public())
	p224, _ := publicPEM(t, ecKey(t, elliptic.P224()).Public())
	dir := t.TempDir()
	private, text, oct := filepath.Join(dir, "private.pem"), filepath.Join(dir, "text"), filepath.Join(dir, "oct.json")
	write(t, private, string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey(t, 2048))})))
	write(t, text, "{}")
	write(t, oct, `{"keys":[{"kty":"oct","kid":"secret","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}]}`)
	secret := []string{tokenSecret}
	for want, m := range map[string]middleware.BearerAuth{
		`tokens: there is nothing to verify a token with`:                      {},
		`tokens: the token of "ann" must have 16`:                              {Tokens: map[string]string{"ann": "short"}},
		`tokens: "" is no name`:                                                {Tokens: map[string]string{"": "ann-0123456789abcdef"}},
		`tokens: the token of "bob" must have 16`:                              {Tokens: map[string]string{"bob": "a b c d e f g h i j"}},
		`tokens: these tokens have neither scopes nor claims`:                  {Tokens: map[string]string{"ann": "ann-0123456789abcdef"}, Scopes: []string{"x"}},
		`keys: only one of secrets, keys`:                                      {Secrets: secret, Keys: []string{good}, Algorithms: []string{"RS256"}},
		`secrets: one of 5 bytes is too short for HS256, which needs 32`:       {Secrets: []string{"short"}},
		`secrets: one of 32 bytes is too short for HS512, which needs 64`:      {Secrets: secret, Algorithms: []string{"HS256", "HS512"}},
		`algorithms: "none" is none of HS256, HS384, HS512`:                    {Secrets: secret, Algorithms: []string{"none"}},
		`algorithms: "RS256" is none of HS256`:                                 {Secrets: secret, Algorithms: []string{"RS256"}},
		`algorithms: "HS256" is none of RS256`:                                 {Keys: []string{good}, Algorithms: []string{"HS256"}},
		`algorithms: must be given`:                                            {Keys: []string{good}},
		`keys: ` + short + `: an RSA key of 1024 bits is too short`:            {Keys: []string{short}, Algorithms: []string{"RS256"}},
		`keys: ` + private + `: holds a RSA PRIVATE KEY; it must be a public`:  {Keys: []string{private}, Algorithms: []string{"RS256"}},
		`keys: ` + p224 + `: a key of the type *ecdsa.PublicKey cannot verify`: {Keys: []string{p224}, Algorithms: []string{"RS256"}},
		`keys: ` + text + `: is no PEM file`:                                   {Keys: []string{text}, Algorithms: []string{"RS256"}},
		`keys: ` + dir + `/none: open`:                                         {Keys: []string{dir + "/none"}, Algorithms: []string{"RS256"}},
		`jwks_file: ` + text + `: the JWK set has no key that can be used`:     {JWKSFile: text, Algorithms: []string{"RS256"}},
		`jwks_file: ` + oct + `: the JWK set has no key that can be used`:      {JWKSFile: oct, Algorithms: []string{"RS256"}},
		`jwks_url: "jwks.json" is no http or https URL`:                        {JWKSURL: "jwks.json", Algorithms: []string{"RS256"}},
		`leeway: must not be negative`:                                         {Secrets: secret, Leeway: -1},
		`claims: "x" must be a text`:                                           {Secrets: secret, Claims: map[string]any{"x": map[string]any{}}},
		`scopes: "a b" is no scope`:                                            {Secrets: secret, Scopes: []string{"a b"}},
		`cookie: "a b" is not`:                                                 {Secrets: secret, Cookie: "a b"},
		`paths: "api" must begin with a slash`:                                 {Secrets: secret, Paths: []string{"api"}},
		`realm: "a\nb" must not contain`:                                       {Secrets: secret, Realm: "a\nb"},
	} {
		err := m.Check()
		if bad := new(*pagi.OptionError); !errors.As(err, bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
			continue
		}
		if strings.Contains(err.Error(), "a b c d") || strings.Contains(err.Error(), tokenSecret) {
			t.Errorf("the error contains a secret: %v", err)
		}
		if c := pagitest.New(m.Wrap(hello)); c.Startup(t.Context()) == nil || c.Get("/").Status != 500 {
			t.Errorf("%s: it starts, or serves", want)
		}
	}
}

func FuzzBearerAuth(f *testing.F) {
	good := signed(f, jwt.SigningMethodHS256, []byte(tokenSecret), jwt.MapClaims{"sub": "ann"}, nil)
	f.Add("Bearer " + good)
	f.Add("Bearer eyJhbGciOiJub25lIn0.e30.")
	app := middleware.BearerAuth{Secrets: []string{tokenSecret}, AllowNoExpiry: true}.Wrap(whoami)
	f.Fuzz(func(t *testing.T, header string) {
		scope := &pagi.Scope{Type: pagi.TypeHTTP, Headers: pagi.NewHeaders("authorization", header)}
		err := app.Serve(t.Context(), scope, nil, func(_ context.Context, ev pagi.Event) error {
			if start, is := ev.(pagi.HTTPResponseStart); is && start.Status == 200 && !strings.Contains(header, good) {
				t.Errorf("%q lets pass", header)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}
