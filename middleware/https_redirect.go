package middleware

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/hostname"
	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// HTTPSRedirect sends plain HTTP requests to https. It trusts Scope.Scheme. When a proxy in front
// ends TLS, put HTTPSRedirect inside a middleware that sets the scheme.
type HTTPSRedirect struct {
	// RedirectCode is 301, 302, 303, 307 or 308; 0 means 301.
	RedirectCode int `yaml:"redirect_code"`
	// Exclude are paths served over plain HTTP too, a health check for example. One
	// that ends in a slash stands for everything below it.
	Exclude []string `yaml:"exclude"`
	// Host is where to redirect to, with a port where it is not 443; "" means the
	// host of the request, without its port.
	Host string `yaml:"host"`
	// HSTS adds Strict-Transport-Security to responses over https (RFC 6797).
	HSTS bool `yaml:"hsts"`
	// HSTSMaxAge is its max-age, in whole seconds. -1 makes browsers forget the header.
	HSTSMaxAge time.Duration `yaml:"hsts_max_age" default:"8760h" zero:"none"`
	// HSTSHostOnly leaves includeSubDomains out of the header, for a site that may not decide for
	// all names below its own.
	HSTSHostOnly bool `yaml:"hsts_host_only"`
}

func init() { parts.Middleware[HTTPSRedirect]("https_redirect") }

// Check reports a code that is not a redirect, a path without a slash in front and a negative age.
func (m HTTPSRedirect) Check() error {
	if err := checkRedirectCode("redirect_code", m.RedirectCode); err != nil {
		return err
	}
	if err := checkPaths("exclude", m.Exclude); err != nil {
		return err
	}
	if m.HSTSMaxAge < 0 && m.HSTSMaxAge != -1 {
		return pagi.BadOption("hsts_max_age", "must not be negative, is %v", m.HSTSMaxAge)
	}
	if m.Host != "" && !hostname.Valid(m.Host) {
		return pagi.BadOption("host", "%q is not a host name", m.Host)
	}
	return nil
}

// Wrap puts m around next.
func (m HTTPSRedirect) Wrap(next pagi.App) pagi.App {
	option.SetDefaults(&m)
	code := m.RedirectCode
	if code == 0 {
		code = http.StatusMovedPermanently
	}
	hsts := "max-age=" + strconv.FormatInt(int64(max(m.HSTSMaxAge, 0)/time.Second), 10)
	if !m.HSTSHostOnly {
		hsts += "; includeSubDomains"
	}
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		switch {
		case scope.Scheme == "https" || scope.Scheme == "wss":
			if m.HSTS {
				send = editStart(send, func(h *pagi.Headers) { h.Set("strict-transport-security", hsts) })
			}
			return next.Serve(ctx, scope, receive, send)
		case exempts(m.Exclude, scope):
			return next.Serve(ctx, scope, receive, send)
		}
		host := m.Host
		if host == "" {
			host, _ = hostname.Split(scope.Headers.Get("host")) // its port belongs to plain HTTP
		}
		if !hostname.Valid(host) {
			return reply.Text(ctx, scope, send, http.StatusBadRequest, "This request needs https and names no host to redirect to.")
		}
		target := scope.RequestURI()
		if !strings.HasPrefix(target, "/") { // "OPTIONS *"
			target = "/"
		}
		return reply.Status(ctx, scope, send, code, "location", "https://"+host+target)
	})
}
