package middleware

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
	"github.com/pagi-go/pagi-bridge/pagi/session"
)

// CSRF refuses requests that a page of another site makes in the name of its visitor.
//
// By default it goes by what browsers say of a request, with the rules of
// http.CrossOriginProtection: Sec-Fetch-Site must be same-origin or none; without it, an Origin must
// name the host of the request. A request with neither header is not from a browser, and passes. So
// do safe methods, which must change nothing. WebSocket handshakes are checked, although they are
// GETs.
//
// In the mode "token" a request must also have a token, which the application has put into a page:
// see CSRFToken. The token belongs to the session below a session middleware, else to a signed
// cookie. Then it takes a subdomain that plants both a cookie and a token, in a browser without
// Sec-Fetch-Site and Origin, to get past CSRF; HostPrefix keeps such cookies out.
type CSRF struct {
	// Mode is "origin" or "token".
	Mode string `yaml:"mode" default:"origin"`
	// TrustedOrigins are other origins whose pages may send requests, as in CORS.Origins, but neither
	// "*" nor "null".
	TrustedOrigins []string `yaml:"trusted_origins"`
	// Exclude are paths that are not checked. One that ends in a slash stands for everything below it.
	Exclude []string `yaml:"exclude"`
	// SafeMethods are the methods that are not checked. None means GET, HEAD, OPTIONS and TRACE.
	SafeMethods []string `yaml:"safe_methods"`
	// Enforce is "reject", or "app" in the mode "token": the application calls CSRFToken.Valid and
	// answers itself. Requests with a token in a large form need that. WebSocket handshakes have no
	// token: those from pages of other sites are refused in any case.
	Enforce string `yaml:"enforce" default:"reject"`
	// Secret signs the cookie of a token, and has at least 32 bytes. It is needed without a session
	// middleware outside CSRF.
	Secret string `yaml:"secret"`
	// TokenHeader is the header of a request's token.
	TokenHeader string `yaml:"token_header" default:"X-CSRF-Token"`
	// TokenField is the field of a form with the token, which is looked at if TokenHeader is missing.
	TokenField string `yaml:"token_field" default:"csrf_token"`
	// MaxForm is how large a form may be in which the token is looked for. It is read into memory.
	MaxForm int64 `yaml:"max_form" unit:"bytes" default:"1MiB" zero:"must be more than 0"`
	// CookieName is the name of the cookie that is used without a session.
	CookieName string `yaml:"cookie_name" default:"csrf_token"`
	// HostPrefix puts "__Host-" in front of it: other hosts, subdomains too, cannot set such a cookie.
	// Browsers take it only over https.
	HostPrefix bool `yaml:"host_prefix"`
	// Secure is when the cookie is for https only: "always", "never", or "auto": if the request came
	// over https.
	Secure string `yaml:"secure" default:"auto"`
}

func init() { parts.Middleware[CSRF]("csrf") }

// Check reports options that are wrong or contradict each other.
func (m CSRF) Check() error {
	option.SetDefaults(&m)
	var errs []error
	if m.Mode != "origin" && m.Mode != "token" {
		errs = append(errs, pagi.BadOption("mode", "must be origin or token, is %q", m.Mode))
	}
	set, err := parseOrigins("trusted_origins", m.TrustedOrigins)
	if err == nil && (set.all || set.exact["null"]) {
		err = pagi.BadOption("trusted_origins", `neither "*" nor "null" is an origin to trust`)
	}
	errs = append(errs, err, checkPaths("exclude", m.Exclude), checkName("token_header", m.TokenHeader))
	for _, method := range m.SafeMethods {
		errs = append(errs, checkMethod("safe_methods", method))
	}
	switch {
	case m.Enforce != "reject" && m.Enforce != "app":
		errs = append(errs, pagi.BadOption("enforce", "must be reject or app, is %q", m.Enforce))
	case m.Enforce == "app" && m.Mode == "origin":
		errs = append(errs, pagi.BadOption("enforce", "app needs the mode token: without a token the application has nothing to check"))
	}
	if m.Secret != "" && len(m.Secret) < session.MinSecret {
		errs = append(errs, pagi.BadOption("secret", "has %d bytes; it needs %d", len(m.Secret), session.MinSecret))
	}
	if m.MaxForm < 0 {
		errs = append(errs, pagi.BadOption("max_form", "must not be negative, is %d", m.MaxForm))
	}
	return errors.Join(append(errs, renamed(m.cookie().Check(), "name", "cookie_name"))...)
}

func (m CSRF) cookie() session.CookieState {
	return session.CookieState{Name: m.CookieName, HostPrefix: m.HostPrefix, Secure: m.Secure}
}

// csrf is a CSRF that is ready for use.
type csrf struct {
	CSRF
	trusted origins
	state   session.CookieState
}

// Wrap puts m around next.
func (m CSRF) Wrap(next pagi.App) pagi.App {
	option.SetDefaults(&m)
	c := &csrf{CSRF: m, state: m.cookie()}
	c.trusted, _ = parseOrigins("", m.TrustedOrigins) // Check reports the error
	if c.SafeMethods = upper(m.SafeMethods); len(c.SafeMethods) == 0 {
		c.SafeMethods = []string{"GET", "HEAD", "OPTIONS", "TRACE"}
	}
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		unchecked := scope.Type != pagi.TypeWebSocket && slices.Contains(c.SafeMethods, scope.Method) || exempts(c.Exclude, scope)
		ours := unchecked || c.isOurs(scope)
		if !ours && (c.Enforce == "reject" || scope.Type == pagi.TypeWebSocket) {
			return c.refuse(ctx, scope, send, "This request comes from a page of another site.")
		}
		if c.Mode == "origin" {
			return next.Serve(ctx, scope, receive, send)
		}
		return c.serve(ctx, next, scope, receive, send, unchecked, ours)
	})
}

func (c *csrf) refuse(ctx context.Context, scope *pagi.Scope, send pagi.Send, why string) error {
	return reply.Text(ctx, scope, send, http.StatusForbidden, why)
}

// isOurs reports whether a browser, if it sent the request, did so for a page of this host or of a
// trusted origin.
func (c *csrf) isOurs(scope *pagi.Scope) bool {
	origin, _ := originOf(scope) // "" is never trusted
	return !fromElsewhere(scope) || c.trusted.has(origin)
}

// serve is for the mode "token".
func (c *csrf) serve(ctx context.Context, next pagi.App, scope *pagi.Scope, receive pagi.Receive, send pagi.Send, unchecked, ours bool) error {
	s, hasSession := session.FromScope(scope)
	if !hasSession && c.Secret == "" {
		return errors.New(`csrf: the mode "token" needs a session middleware outside, or the option secret`)
	}
	t := &CSRFToken{c: c, scope: scope, session: s, ours: ours}
	if !unchecked && c.Enforce == "reject" && scope.Type != pagi.TypeWebSocket {
		if hasSession {
			if err := s.Load(); err != nil {
				return err
			}
		}
		token, r, err := c.submitted(ctx, scope, receive)
		if err != nil {
			return err
		}
		if !t.Valid(token) {
			return c.refuse(ctx, scope, send, "The token of this form is missing or has expired. Load the page again.")
		}
		if r != nil {
			scope, receive = r.Scope(), r.Receive()
		}
	}
	return next.Serve(ctx, scope.With(scopekey.CSRFToken, t), receive, editStart(send, t.begin))
}

// submitted returns the token of a request. r is not nil if the body was read.
func (c *csrf) submitted(ctx context.Context, scope *pagi.Scope, receive pagi.Receive) (token string, r *request.Request, err error) {
	if token = scope.Headers.Get(c.TokenHeader); token != "" {
		return token, nil, nil
	}
	r = request.New(ctx, scope, receive)
	switch mediaType, _ := r.ContentType(); mediaType {
	case "application/x-www-form-urlencoded", "multipart/form-data":
	default:
		return "", nil, nil
	}
	// Nothing of the form becomes a temporary file.
	r.Limits = request.Limits{Body: c.MaxForm, File: c.MaxForm, Field: c.MaxForm, Memory: int(c.MaxForm)}
	if _, err := r.Bytes(); err != nil {
		return "", r, err
	}
	form, err := r.Form()
	if err != nil {
		return "", r, err
	}
	return strings.TrimSpace(form.Get(c.TokenField)), r, nil
}
