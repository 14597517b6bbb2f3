package middleware

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/hostname"
	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/session"
)

// AuthOIDC lets users log in at an OpenID provider (OpenID Connect Core 1.0, code flow with PKCE). A
// page that is opened without a login is redirected to the provider. Any other request without one is
// answered with 401: those of scripts, event streams, WebSocket handshakes and methods other than GET
// and HEAD.
//
// The login is a sealed cookie, so the server keeps no sessions. The application finds the user in
// Scope.Auth and some claims under scopekey.AuthClaims. A script behind a bridge finds the user in
// REMOTE_USER.
//
// The provider is asked for its configuration at the first login. Until it has answered, the answer is
// 503.
type AuthOIDC struct {
	// Issuer is the URL of the provider.
	Issuer string `yaml:"issuer"`
	// ClientID and ClientSecret are what the provider knows the site by. A public client has no secret.
	ClientID     string `yaml:"client_id"`
	ClientSecret string `yaml:"client_secret"`
	// Secrets are secrets of 32 bytes at least that seal the cookies. The first one makes cookies, and all
	// of them open cookies.
	Secrets []string `yaml:"secrets"`
	// BaseURL is the scheme and host under which browsers know the site, "https://www.example.org"; ""
	// means those of the request. If it is https, the cookies have the prefix __Host-.
	BaseURL string `yaml:"base_url"`
	// RedirectPath is the path to which the provider sends the browser back; "" means /oidc/callback.
	RedirectPath string `yaml:"redirect_path"`
	// LogoutPath is the path that ends a login; "" means none.
	LogoutPath string `yaml:"logout_path"`
	// LogoutRedirect is the path to which a browser is sent after that; "" means a line of text.
	LogoutRedirect string `yaml:"logout_redirect"`
	// ProviderLogout also ends the login at the provider, if that supports it.
	ProviderLogout bool `yaml:"provider_logout"`
	// Paths are protected, with all below them; none means all paths.
	Paths []string `yaml:"paths"`
	// Scopes are the scopes to ask for besides openid; none means profile and email.
	Scopes []string `yaml:"scopes"`
	// UsernameClaim is the claim with the name of the user. "" means email if it is verified, else
	// preferred_username if it has no "@", else sub.
	UsernameClaim string `yaml:"username_claim"`
	// AllowedUsers are the names of users who may log in, and AllowedDomains the domains of their email
	// addresses. Either is enough. None of both means all users. The case of letters counts in names, but
	// not in addresses.
	AllowedUsers   []string `yaml:"allowed_users"`
	AllowedDomains []string `yaml:"allowed_domains"`
	// Claims has the value, or the values, of which a claim must have one, by its name: the groups who
	// may log in, for example. A name with dots leads into objects. With an empty list any value will do.
	Claims map[string]any `yaml:"claims"`
	// UnverifiedEmail takes an email address without the claim email_verified for the user's own.
	UnverifiedEmail bool `yaml:"unverified_email"`
	// Lifetime is how long a login counts; 0 means 8 h.
	Lifetime time.Duration `yaml:"lifetime" default:"8h" zero:"must be more than 0"`
	// CookieName is the name of the cookie; "" means pagi_oidc. Give two AuthOIDC of one site two names.
	CookieName string `yaml:"cookie_name"`
	// Logger gets failures of the provider and logins that are refused; nil means slog.Default.
	Logger *slog.Logger `yaml:"-"`
	// Now is the clock; nil means time.Now.
	Now func() time.Time `yaml:"-"`
}

func init() { parts.Middleware[AuthOIDC]("auth_oidc") }

// Check reports options that cannot work. It does not ask the provider.
func (m AuthOIDC) Check() error {
	var errs []error
	bad := func(option, format string, args ...any) {
		errs = append(errs, pagi.BadOption(option, format, args...))
	}
	if u, err := url.Parse(m.Issuer); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		bad("issuer", "%q is no http or https URL", m.Issuer)
	}
	if m.ClientID == "" {
		bad("client_id", "is missing")
	}
	if len(m.Secrets) == 0 {
		bad("secrets", "is missing; make one: openssl rand -hex 32")
	}
	errs = append(errs, checkSecrets("secrets", m.Secrets))
	if u, err := url.Parse(m.BaseURL); m.BaseURL != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || m.BaseURL != u.Scheme+"://"+u.Host || !hostname.Valid(u.Host)) {
		bad("base_url", "%q is not a scheme and a host, as https://www.example.org", m.BaseURL)
	}
	for _, path := range []struct{ option, value string }{{"redirect_path", m.redirectPath()}, {"logout_path", or(m.LogoutPath, "/")}, {"logout_redirect", or(m.LogoutRedirect, "/")}} {
		if !isLocal(path.value) {
			bad(path.option, "%q is not a path of this site", path.value)
		}
	}
	if m.LogoutPath == m.redirectPath() {
		bad("logout_path", "must not be the redirect_path")
	}
	errs = append(errs, checkPaths("paths", m.Paths))
	for _, scope := range m.Scopes {
		if scope == "" || strings.ContainsAny(scope, " \t\"\\") || hasControl(scope) {
			bad("scopes", "%q is no scope", scope)
		}
	}
	for _, domain := range m.AllowedDomains {
		if !hostname.Valid(domain) {
			bad("allowed_domains", "%q is no domain", domain)
		}
	}
	if _, err := parseClaims("claims", m.Claims); err != nil {
		errs = append(errs, err)
	}
	if m.Lifetime < 0 {
		bad("lifetime", "must not be negative, is %v", m.Lifetime)
	}
	errs = append(errs, renamed(m.cookieState("").Check(), "name", "cookie_name"))
	return errors.Join(errs...)
}

func (m AuthOIDC) redirectPath() string { return or(m.RedirectPath, "/oidc/callback") }

// cookieState is how a cookie is sent. suffix tells the cookies of logins that have begun from the one
// of the login.
func (m AuthOIDC) cookieState(suffix string) session.CookieState {
	return session.CookieState{Name: or(m.CookieName, "pagi_oidc") + suffix, Path: "/", HostPrefix: strings.HasPrefix(m.BaseURL, "https://")}
}

// Wrap puts m around next.
func (m AuthOIDC) Wrap(next pagi.App) pagi.App {
	if err := m.Check(); err != nil {
		return lifespan.Broken(err)
	}
	option.SetDefaults(&m)
	login, err := newLogin(m)
	if err != nil {
		return lifespan.Broken(err)
	}
	app := wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		asked := scope.RootPath + scope.Path
		switch {
		case scope.Type == pagi.TypeHTTP && asked == m.redirectPath():
			return login.callback(ctx, scope, send)
		case scope.Type == pagi.TypeHTTP && m.LogoutPath != "" && asked == m.LogoutPath:
			return login.logout(ctx, scope, send)
		case !protects(m.Paths, scope):
			return next.Serve(ctx, scope, receive, send)
		}
		if auth, claims, ok := login.identity(ctx, scope); ok {
			return next.Serve(ctx, identified(scope, auth, claims), receive, keptPrivate(scope, send))
		}
		if opensPage(scope) {
			return login.begin(ctx, scope, send)
		}
		demand := challenge("OIDC", "realm", m.Issuer)
		return reply.Text(ctx, scope, send, http.StatusUnauthorized, "Log in first: open a page of this site.", "www-authenticate", demand, "cache-control", "no-store")
	})
	return lifespan.Hooks{Shutdown: []func(context.Context, map[string]any) error{func(context.Context, map[string]any) error {
		login.client.CloseIdleConnections()
		return nil
	}}}.Wrap(app)
}

// opensPage reports whether a browser asks for a page that it will show. Browsers of today say so
// (Fetch Metadata Request Headers); others ask for HTML.
func opensPage(scope *pagi.Scope) bool {
	if scope.Type != pagi.TypeHTTP || scope.Method != http.MethodGet && scope.Method != http.MethodHead {
		return false
	}
	if mode, ok := scope.Headers.Lookup("sec-fetch-mode"); ok {
		return mode == "navigate"
	}
	return !scope.Headers.Has("x-requested-with") && scope.Headers.HasToken("accept", "text/html")
}

// isLocal reports whether s is a path, maybe with a query, that a browser can only take for one of the
// same host. A browser reads "\" as "/", leaves line breaks out, and takes what follows "//" for a host.
func isLocal(s string) bool {
	if s == "" || s[0] != '/' || len(s) > 1 && (s[1] == '/' || s[1] == '\\') {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}
