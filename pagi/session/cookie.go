package session

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

const (
	// DefaultCookie is the name of the cookie unless CookieState.Name is set.
	DefaultCookie = "pagi_session"
	// MaxCookie is the largest cookie in bytes, with name and attributes, that every browser takes
	// (RFC 6265 section 6.1).
	MaxCookie = 4096

	hostPrefix = "__Host-"
)

// CookieState carries the token in a cookie. The cookie is always HttpOnly. It lives as long as
// Manager.Expire allows; the idle time is enforced by the server alone, so that a request which
// only reads needs no new cookie.
type CookieState struct {
	// Name is the cookie's name; "" means DefaultCookie.
	Name string `yaml:"name"`
	// HostPrefix puts "__Host-" in front of the name: browsers then take the cookie only over https,
	// for this host and for all paths. It implies Secure "always" and Path "/".
	HostPrefix bool `yaml:"host_prefix"`
	// Domain makes the browser send the cookie to all hosts of a domain; "" means this host only.
	Domain string `yaml:"domain"`
	// Path is the path below which the browser sends the cookie. "" means the root path of the scope,
	// so that two mounts do not overwrite each other's session; at the top it is "/". It is also "/"
	// for a root path that has other characters than letters, digits and "-._~/".
	Path string `yaml:"path"`
	// Secure is "always", "never", or "auto", which is the default: if the scheme is https or wss.
	Secure string `yaml:"secure"`
	// SameSite is "Lax", which is the default, "Strict" or "None", which implies Secure "always".
	SameSite string `yaml:"same_site"`
}

var _ State = CookieState{}

// Check reports options that cannot be an attribute of a cookie, or that contradict each other.
func (c CookieState) Check() error {
	var errs []error
	if (pagi.Headers{{Name: c.name()}}).Validate("") != nil {
		errs = append(errs, pagi.BadOption("name", "%q is not the name of a cookie", c.Name))
	}
	for _, prefix := range []string{"__host-", "__secure-"} {
		if len(c.Name) >= len(prefix) && pagi.EqualFold(c.Name[:len(prefix)], prefix) {
			errs = append(errs, pagi.BadOption("name", "%q has a prefix with a meaning to browsers: leave it out, and set host_prefix", c.Name))
		}
	}
	for _, attribute := range []struct{ option, value string }{{"domain", c.Domain}, {"path", c.Path}} {
		if strings.ContainsFunc(attribute.value, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ';' }) {
			errs = append(errs, pagi.BadOption(attribute.option, "%q has characters that a cookie cannot have", attribute.value))
		}
	}
	if c.Path != "" && c.Path[0] != '/' {
		errs = append(errs, pagi.BadOption("path", "%q does not begin with a slash", c.Path))
	}
	if c.HostPrefix && (c.Domain != "" || c.Path != "" && c.Path != "/" || c.Secure == "never") {
		errs = append(errs, pagi.BadOption("host_prefix", "it allows neither a domain, nor another path than \"/\", nor a cookie that is not secure"))
	}
	switch c.Secure {
	case "", "auto", "always", "never":
	default:
		errs = append(errs, pagi.BadOption("secure", "%q is not auto, always or never", c.Secure))
	}
	switch c.SameSite {
	case "", "Lax", "Strict":
	case "None":
		if c.Secure == "never" {
			errs = append(errs, pagi.BadOption("same_site", "browsers take None only with a secure cookie"))
		}
	default:
		errs = append(errs, pagi.BadOption("same_site", "%q is not Lax, Strict or None", c.SameSite))
	}
	return errors.Join(errs...)
}

// Extract implements State. Of several cookies with the name it returns the first one, which
// browsers send for the longest path (RFC 6265 section 5.4).
func (c CookieState) Extract(scope *pagi.Scope) string {
	name := c.name()
	for line := range scope.Headers.Values("cookie") {
		for pair := range strings.SplitSeq(line, ";") {
			key, value, ok := strings.Cut(pair, "=")
			if ok && strings.Trim(key, " \t") == name {
				return strings.Trim(value, " \t")
			}
		}
	}
	return ""
}

// Inject implements State. It fails with a *SizeError for a cookie larger than MaxCookie.
func (c CookieState) Inject(scope *pagi.Scope, headers *pagi.Headers, token string, maxAge time.Duration) error {
	attributes := ""
	if maxAge > 0 {
		seconds := int64((maxAge + time.Second - 1) / time.Second)
		attributes = "; Max-Age=" + strconv.FormatInt(seconds, 10)
	}
	line := c.line(scope, token, attributes)
	if len(line) > MaxCookie {
		return &SizeError{What: "cookie", Size: len(line), Limit: MaxCookie}
	}
	headers.Add("set-cookie", line)
	return nil
}

// Clear implements State: it sends a cookie that has expired.
func (c CookieState) Clear(scope *pagi.Scope, headers *pagi.Headers) {
	headers.Add("set-cookie", c.line(scope, "", "; Max-Age=0"))
}

func (c CookieState) line(scope *pagi.Scope, value, lifetime string) string {
	var b strings.Builder
	b.WriteString(c.name() + "=" + value + "; Path=" + c.path(scope))
	if c.Domain != "" {
		b.WriteString("; Domain=" + c.Domain)
	}
	b.WriteString(lifetime + "; HttpOnly")
	if c.secure(scope) {
		b.WriteString("; Secure")
	}
	sameSite := c.SameSite
	if sameSite == "" {
		sameSite = "Lax"
	}
	b.WriteString("; SameSite=" + sameSite)
	return b.String()
}

func (c CookieState) name() string {
	name := c.Name
	if name == "" {
		name = DefaultCookie
	}
	if c.HostPrefix {
		name = hostPrefix + name
	}
	return name
}

func (c CookieState) path(scope *pagi.Scope) string {
	switch {
	case c.Path != "":
		return c.Path
	case c.HostPrefix || scope.RootPath == "" || strings.ContainsFunc(scope.RootPath, notPlain):
		return "/"
	}
	return scope.RootPath
}

func notPlain(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._~/", r))
}

func (c CookieState) secure(scope *pagi.Scope) bool {
	switch {
	case c.HostPrefix || c.SameSite == "None" || c.Secure == "always":
		return true
	case c.Secure == "never":
		return false
	}
	return scope.Scheme == "https" || scope.Scheme == "wss"
}
