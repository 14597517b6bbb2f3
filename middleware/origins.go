package middleware

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/internal/hostname"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// origins is a set of origins (RFC 6454): "https://example.org", or "https://*.example.org" for all
// names below example.org.
type origins struct {
	all   bool
	exact map[string]bool
	below []below
}

// below stands for the origins that begin with scheme, and end in suffix.
type below struct{ scheme, suffix string }

// parseOrigins reads a list. "*" stands for all origins, and "null" for that of sandboxed pages and
// of local files.
func parseOrigins(option string, list []string) (set origins, err error) {
	set.exact = map[string]bool{}
	for _, text := range list {
		text = strings.ToLower(text)
		switch text {
		case "*":
			set.all = true
			continue
		case "null":
			set.exact[text] = true
			continue
		}
		pattern, wild := text, false
		if scheme, host, ok := strings.Cut(text, "://*."); ok {
			pattern, wild = scheme+"://"+host, true
		}
		u, err := url.Parse(pattern)
		if err != nil || u.Scheme == "" || !hostname.Valid(u.Host) || pattern != u.Scheme+"://"+u.Host || strings.HasPrefix(u.Host, ".") {
			return set, pagi.BadOption(option, "%q is not an origin as https://example.org or https://*.example.org", text)
		}
		if port := u.Port(); u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
			return set, pagi.BadOption(option, "%q: leave out the port, as browsers do", text)
		}
		if !wild {
			set.exact[text] = true
			continue
		}
		if _, err := netip.ParseAddr(u.Hostname()); err == nil {
			return set, pagi.BadOption(option, "%q: an address has no names below it", text)
		}
		set.below = append(set.below, below{u.Scheme + "://", "." + u.Host})
	}
	return set, nil
}

// has reports whether an Origin header names an origin of the set. Browsers send it in lower case.
func (o origins) has(origin string) bool {
	if o.all || o.exact[origin] {
		return true
	}
	for _, b := range o.below {
		if name, ok := strings.CutPrefix(origin, b.scheme); ok {
			if name, ok = strings.CutSuffix(name, b.suffix); ok && isName(name) {
				return true
			}
		}
	}
	return false
}

// isName reports whether s is the beginning of a host name. It has no character that ends one.
func isName(s string) bool {
	return s != "" && s[0] != '.' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == ""
}

// originOf returns the Origin header of a request. Several lines of it make no origin.
func originOf(scope *pagi.Scope) (origin string, ok bool) {
	for i := range scope.Headers {
		if pagi.EqualFold(scope.Headers[i].Name, "origin") {
			if ok {
				return "", true
			}
			origin, ok = scope.Headers[i].Value, true
		}
	}
	return origin, ok
}

// isOwnOrigin reports whether an Origin header names the host that the request is for. The scheme is
// not compared, because a proxy in front may have ended TLS.
func isOwnOrigin(scope *pagi.Scope, origin string) bool {
	_, host, ok := strings.Cut(origin, "://")
	return ok && host != "" && pagi.EqualFold(host, scope.Headers.Get("host"))
}

// fromElsewhere reports whether a page of another origin has made a request, as far as a browser says
// so: by Sec-Fetch-Site, or else by an Origin that names another host. Programs that are no browsers
// send neither.
func fromElsewhere(scope *pagi.Scope) bool {
	switch scope.Headers.Get("sec-fetch-site") {
	case "same-origin", "none":
		return false
	case "":
		origin, ok := originOf(scope)
		return ok && !isOwnOrigin(scope, origin)
	}
	return true
}

// isTokenList reports whether s is a list of header names with commas between them.
func isTokenList(s string) bool {
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.Trim(item, " \t"); item != "" && !headername.IsToken(item) {
			return false
		}
	}
	return true
}
