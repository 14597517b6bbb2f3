package middleware

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/pagi-go/pagi-bridge/internal/hostname"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/pagi/session"
)

const (
	// loginTime is how long a user may take to log in at the provider.
	loginTime = 10 * time.Minute
	// maxLogins is how many logins that have begun a browser may hold cookies of.
	maxLogins = 5
	// maxReturn is the longest path that is returned to after a login, in bytes.
	maxReturn = 1500
)

// login is an AuthOIDC that is ready for use. A browser takes these steps:
//
//	begin     it gets a cookie with state, nonce and PKCE verifier, and goes to the provider
//	callback  it comes back with the state and a code, and gets the cookie of the login
//	identity  the cookie says who it is
//	logout    it loses the cookie
type login struct {
	AuthOIDC
	client   *http.Client
	provider *lazyProvider
	config   oauth2.Config // without Endpoint and RedirectURL
	required requiredClaims
	logins   *session.CookieStore // cookies of logins
	begun    *session.CookieStore // cookies of logins that have begun
	ended    *endedLogins
}

func newLogin(m AuthOIDC) (*login, error) {
	if m.Now == nil {
		m.Now = time.Now
	}
	required, err := parseClaims("claims", m.Claims)
	if err != nil {
		return nil, err
	}
	scopes := m.Scopes
	if len(scopes) == 0 {
		scopes = []string{"profile", "email"}
	}
	var keys []session.Key
	for _, secret := range m.Secrets {
		keys = append(keys, session.Key{ID: keyID("oidc", secret), Secret: []byte(secret)})
	}
	// A cookie counts only under the rules by which it was given.
	rules, err := json.Marshal([]any{m.Issuer, m.ClientID, m.UsernameClaim, m.AllowedUsers, m.AllowedDomains, required, m.UnverifiedEmail})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(rules)
	name := "oidc " + hex.EncodeToString(sum[:])
	client := limitedClient()
	l := &login{
		AuthOIDC: m, client: client, required: required, ended: newEndedLogins(m.Now),
		provider: newLazyProvider(m.Issuer, client, m.Logger),
		config:   oauth2.Config{ClientID: m.ClientID, ClientSecret: m.ClientSecret, Scopes: append([]string{oidc.ScopeOpenID}, scopes...)},
		logins:   &session.CookieStore{Keys: keys, Name: name},
		begun:    &session.CookieStore{Keys: keys, Name: name + " begun"},
	}
	if err := errors.Join(l.logins.Check(), l.begun.Check()); err != nil {
		return nil, pagi.BadOption("secrets", "%w", err)
	}
	return l, nil
}

// begunLogin is the content of the cookie of a login that has begun.
type begunLogin struct {
	State, Nonce, Verifier string
	RedirectURL            string // what the provider was told
	Return                 string // the page that was opened
}

// loggedIn is the content of the cookie of a login.
type loggedIn struct {
	User   string
	Claims map[string]any
}

const contentKey = "oidc"

// seal makes a cookie's value of content.
func (l *login) seal(ctx context.Context, store *session.CookieStore, content any, lifetime time.Duration) (string, error) {
	data, err := json.Marshal(content)
	if err != nil {
		return "", err
	}
	now := l.Now()
	return store.Save(ctx, &session.Record{
		ID: newState(), Data: map[string]json.RawMessage{contentKey: data}, Created: now, Used: now, Deadline: now.Add(lifetime),
	})
}

// open reads a cookie's value into content, unless it has expired.
func (l *login) open(ctx context.Context, store *session.CookieStore, token string, content any) (*session.Record, bool) {
	if token == "" {
		return nil, false
	}
	record, err := store.Load(ctx, token)
	if err != nil || !l.Now().Before(record.Deadline) || json.Unmarshal(record.Data[contentKey], content) != nil {
		return nil, false
	}
	return record, true
}

// newState returns a random text of 192 bits that session.ValidID accepts.
func newState() string {
	var b [24]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// identity returns who the request's cookie says the client is.
func (l *login) identity(ctx context.Context, scope *pagi.Scope) (auth pagi.Auth, claims map[string]any, ok bool) {
	var in loggedIn
	record, ok := l.open(ctx, l.logins, l.cookieState("").Extract(scope), &in)
	if !ok || in.User == "" || l.ended.has(record.ID) {
		return auth, nil, false
	}
	return pagi.Auth{Type: "oidc", Username: in.User}, in.Claims, true
}

// begunState is how the cookie of a login that has begun is sent. Each has a name of its own, so that
// pages in several tabs can be opened at a time.
func (l *login) begunState(state string) session.CookieState { return l.cookieState("_" + state[:8]) }

// begin sends a browser to the provider.
func (l *login) begin(ctx context.Context, scope *pagi.Scope, send pagi.Send) error {
	base := l.BaseURL
	if base == "" {
		host := scope.Headers.Get("host")
		if !hostname.Valid(host) {
			return reply.Text(ctx, scope, send, http.StatusBadRequest, "This request names no host to come back to after a login.")
		}
		base = webScheme(scope) + "://" + host
	}
	p, err := l.provider.get(ctx)
	if err != nil {
		return l.unavailable(ctx, scope, send)
	}
	b := begunLogin{State: newState(), Nonce: newState(), Verifier: oauth2.GenerateVerifier(), RedirectURL: base + l.redirectPath(), Return: returnTo(scope)}
	token, err := l.seal(ctx, l.begun, b, loginTime)
	if err != nil {
		return err
	}
	config := l.config
	config.Endpoint, config.RedirectURL = p.Endpoint(), b.RedirectURL
	headers := pagi.NewHeaders("location", config.AuthCodeURL(b.State, oidc.Nonce(b.Nonce), oauth2.S256ChallengeOption(b.Verifier)), "cache-control", "no-store")
	l.tidy(ctx, scope, &headers)
	if err := l.begunState(b.State).Inject(scope, &headers, token, loginTime); err != nil {
		return err
	}
	return reply.Send(ctx, scope, send, http.StatusFound, headers, nil)
}

// tidy makes a browser forget logins that have begun, if it holds too many: the header with its cookies
// must not become too large.
func (l *login) tidy(ctx context.Context, scope *pagi.Scope, headers *pagi.Headers) {
	prefix := or(l.CookieName, "pagi_oidc") + "_"
	var suffixes []string
	for _, cookie := range request.New(ctx, scope, nil).Cookies() {
		name := strings.TrimPrefix(cookie.Name, "__Host-")
		if suffix, ok := strings.CutPrefix(name, prefix); ok && len(suffix) == 8 && isToken(suffix) {
			suffixes = append(suffixes, suffix)
		}
	}
	if len(suffixes) >= maxLogins {
		for _, suffix := range suffixes {
			l.begunState(suffix).Clear(scope, headers)
		}
	}
}

// returnTo returns the page that was opened. It never leads to another host.
func returnTo(scope *pagi.Scope) string {
	target := scope.RequestURI()
	if len(target) > maxReturn {
		target, _, _ = strings.Cut(target, "?")
	}
	if len(target) > maxReturn || !isLocal(target) {
		return "/"
	}
	return target
}

func (l *login) unavailable(ctx context.Context, scope *pagi.Scope, send pagi.Send) error {
	return reply.Text(ctx, scope, send, http.StatusServiceUnavailable, "The login is not available at the moment.", "retry-after", "10", "cache-control", "no-store")
}

// callback ends a login that has begun.
func (l *login) callback(ctx context.Context, scope *pagi.Scope, send pagi.Send) error {
	if scope.Method != http.MethodGet {
		return reply.Status(ctx, scope, send, http.StatusMethodNotAllowed, "allow", "GET")
	}
	query, _ := url.ParseQuery(scope.QueryString) // what can be parsed counts
	state := query.Get("state")
	headers := pagi.NewHeaders("content-type", "text/plain; charset=utf-8", "cache-control", "no-store", "referrer-policy", "no-referrer")
	refuse := func(status int, text string, args ...any) error {
		logger(l.Logger).WarnContext(ctx, "auth_oidc: a login was refused", append([]any{"status", status}, args...)...)
		return reply.Send(ctx, scope, send, status, headers, []byte(text+"\n"))
	}
	const again = "This login has expired, or was used already. Open the page that you want again."
	if !session.ValidID(state) {
		return refuse(http.StatusBadRequest, again, "reason", "there is no state")
	}
	cookie := l.begunState(state)
	var b begunLogin
	if _, ok := l.open(ctx, l.begun, cookie.Extract(scope), &b); !ok || subtle.ConstantTimeCompare([]byte(b.State), []byte(state)) != 1 {
		return refuse(http.StatusBadRequest, again, "reason", "the browser has no cookie for the state")
	}
	cookie.Clear(scope, &headers)
	if issuer := query.Get("iss"); issuer != "" && issuer != l.Issuer { // RFC 9207
		return refuse(http.StatusBadRequest, again, "reason", "the answer is that of another provider", "issuer", issuer)
	}
	if code := query.Get("error"); code != "" {
		return refuse(http.StatusForbidden, "The provider has refused the login.", "error", code, "description", query.Get("error_description"))
	}
	p, err := l.provider.get(ctx)
	if err != nil {
		return l.unavailable(ctx, scope, send)
	}
	claims, err := l.exchange(ctx, p, b, query.Get("code"))
	if refused := new(*oauth2.RetrieveError); errors.As(err, refused) && (*refused).ErrorCode == "invalid_grant" {
		return refuse(http.StatusBadRequest, again, "error", err)
	}
	if err != nil {
		return refuse(http.StatusBadGateway, "The answer of the login's provider cannot be used.", "error", err)
	}
	user, err := l.admit(claims)
	if err != nil {
		return refuse(http.StatusForbidden, "You may not use this site.", "user", user, "error", err)
	}
	token, err := l.seal(ctx, l.logins, loggedIn{user, keptClaims(claims)}, l.Lifetime)
	if err != nil {
		return err
	}
	if err := l.cookieState("").Inject(scope, &headers, token, l.Lifetime); err != nil {
		return err
	}
	headers.Set("location", b.Return)
	return reply.Send(ctx, scope, send, http.StatusFound, headers, nil)
}

// exchange gets the claims of the user for a code.
func (l *login) exchange(ctx context.Context, p *provider, b begunLogin, code string) (map[string]any, error) {
	if code == "" {
		return nil, errors.New("there is no code")
	}
	config := l.config
	config.Endpoint, config.RedirectURL = p.Endpoint(), b.RedirectURL
	ctx = oidc.ClientContext(ctx, l.client)
	token, err := config.Exchange(ctx, code, oauth2.VerifierOption(b.Verifier))
	if err != nil {
		return nil, err
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return nil, errors.New("there is no ID token")
	}
	id, err := p.VerifierContext(ctx, &oidc.Config{ClientID: l.ClientID, Now: l.Now}).Verify(ctx, raw)
	if err != nil {
		return nil, err
	}
	if b.Nonce == "" || subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(b.Nonce)) != 1 {
		return nil, errors.New("the nonce is another one")
	}
	if id.AccessTokenHash != "" {
		if err := id.VerifyAccessToken(token.AccessToken); err != nil {
			return nil, err
		}
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return nil, err
	}
	if party, ok := claims["azp"]; ok && party != l.ClientID { // OpenID Connect Core 1.0 section 3.1.3.7
		return nil, errors.New("the ID token was made for another client")
	}
	return claims, nil
}

// admit returns the name of the user, and an error for one who may not log in.
func (l *login) admit(claims map[string]any) (user string, err error) {
	user, err = l.username(claims)
	if err != nil {
		return "", err
	}
	if name := l.required.missing(claims); name != "" {
		return user, fmt.Errorf("the claim %s has none of the required values", name)
	}
	isUser := func(u string) bool { return u == user || strings.Contains(u, "@") && pagi.EqualFold(u, user) }
	if len(l.AllowedUsers) == 0 && len(l.AllowedDomains) == 0 || slices.ContainsFunc(l.AllowedUsers, isUser) {
		return user, nil
	}
	if email, ok := l.email(claims); ok {
		domain := email[strings.LastIndexByte(email, '@')+1:]
		if slices.ContainsFunc(l.AllowedDomains, func(d string) bool { return pagi.EqualFold(d, domain) }) {
			return user, nil
		}
	}
	return user, errors.New("neither the user nor a verified email address is allowed")
}

// username returns the name of the user. Users may choose their email address and
// preferred_username at many providers. So an address counts only if it is verified, and a
// preferred_username cannot pass for one.
func (l *login) username(claims map[string]any) (string, error) {
	name := ""
	switch {
	case l.UsernameClaim == "email":
		name, _ = l.email(claims)
	case l.UsernameClaim != "":
		name, _ = claimText(claim(claims, l.UsernameClaim))
	default:
		var ok bool
		if name, ok = l.email(claims); ok {
			break
		}
		if name, _ = claims["preferred_username"].(string); name == "" || strings.Contains(name, "@") {
			name, _ = claims["sub"].(string)
		}
	}
	if name == "" || hasControl(name) {
		return "", fmt.Errorf("there is no name of a user in the claim %s", or(l.UsernameClaim, "sub"))
	}
	return name, nil
}

// email returns the email address, if it is known to belong to the user.
func (l *login) email(claims map[string]any) (email string, ok bool) {
	email, _ = claims["email"].(string)
	value, said := claims["email_verified"]
	verified, _ := claimText(value)
	if !strings.Contains(email, "@") || verified != "true" && (said || !l.UnverifiedEmail) {
		return "", false
	}
	return email, true
}

// keptClaims returns the claims that the cookie keeps, which must be small.
func keptClaims(claims map[string]any) map[string]any {
	kept := map[string]any{}
	for _, name := range []string{"iss", "sub", "email", "email_verified", "name", "preferred_username"} {
		if text, ok := claimText(claims[name]); ok && len(text) <= 255 {
			kept[name] = claims[name]
		}
	}
	return kept
}

// logout ends the login. A page of another site cannot cause it if the browser says where a request
// comes from.
func (l *login) logout(ctx context.Context, scope *pagi.Scope, send pagi.Send) error {
	if scope.Method != http.MethodGet && scope.Method != http.MethodPost {
		return reply.Status(ctx, scope, send, http.StatusMethodNotAllowed, "allow", "GET, POST")
	}
	foreign := scope.Headers.Get("sec-fetch-site") == "cross-site"
	if !scope.Headers.Has("sec-fetch-site") { // an old browser, or one that came by http
		origin, _ := originOf(scope)
		foreign = fromElsewhere(scope) && (l.BaseURL == "" || origin != l.BaseURL)
	}
	if foreign {
		return reply.Text(ctx, scope, send, http.StatusForbidden, "Another site cannot log you out.")
	}
	headers := pagi.NewHeaders("content-type", "text/plain; charset=utf-8", "cache-control", "no-store")
	cookie := l.cookieState("")
	if record, ok := l.open(ctx, l.logins, cookie.Extract(scope), new(loggedIn)); ok {
		l.ended.add(record.ID, record.Deadline)
	}
	cookie.Clear(scope, &headers)
	target := l.LogoutRedirect
	if l.ProviderLogout {
		if p, err := l.provider.get(ctx); err == nil && p.endSession != nil {
			end := *p.endSession
			query := end.Query()
			query.Set("client_id", l.ClientID)
			if host := scope.Headers.Get("host"); target != "" && (l.BaseURL != "" || hostname.Valid(host)) {
				query.Set("post_logout_redirect_uri", or(l.BaseURL, webScheme(scope)+"://"+host)+target)
			}
			end.RawQuery = query.Encode()
			target = end.String()
		}
	}
	if target == "" {
		return reply.Send(ctx, scope, send, http.StatusOK, headers, []byte("You are logged out.\n"))
	}
	headers.Set("location", target)
	return reply.Send(ctx, scope, send, http.StatusSeeOther, headers, nil)
}
