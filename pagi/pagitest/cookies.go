package pagitest

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// maxCookie is the longest name and value, together, that a browser takes.
const maxCookie = 4096

// cookie is one that the client holds (RFC 6265 section 5.3).
type cookie struct {
	name, value string
	domain      string // in lower case
	hostOnly    bool   // not for the hosts below domain
	path        string
	secure      bool
	expires     time.Time // zero: with the client
}

// origin is where a request goes.
type origin struct {
	secure bool
	host   string // in lower case, without a port
	path   string // with the client's RootPath, decoded
}

func (c *Client) origin(path string, r *request) origin {
	host := c.host(r)
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return origin{secure: c.scheme(r) == "https", host: strings.ToLower(host), path: c.RootPath + path}
}

// Cookie returns the value of the cookie called name that the client holds, for whatever host and
// path, or "".
func (c *Client) Cookie(name string) string {
	now := time.Now()
	for _, k := range c.cookies {
		if k.name == name && !k.isOver(now) {
			return k.value
		}
	}
	return ""
}

// SetCookie gives the client a cookie for all paths of its Host.
func (c *Client) SetCookie(name, value string) {
	c.keep(cookie{name: name, value: value, domain: c.origin("", &request{}).host, hostOnly: true, path: "/"})
}

// ClearCookies makes the client forget its cookies.
func (c *Client) ClearCookies() { c.cookies = nil }

// learn stores the cookies of a response from o as a browser does. It ignores one that is
// malformed, for a foreign domain, too long, or without what its name's prefix promises.
func (c *Client) learn(o origin, headers pagi.Headers) {
	for line := range headers.Values("set-cookie") {
		parsed, err := http.ParseSetCookie(line)
		if err != nil || len(parsed.Name)+len(parsed.Value) > maxCookie || !keepsPromise(parsed) {
			continue
		}
		k := cookie{name: parsed.Name, value: parsed.Value, domain: o.host, hostOnly: true, path: parsed.Path, secure: parsed.Secure}
		if domain := strings.ToLower(strings.TrimPrefix(parsed.Domain, ".")); domain != "" {
			if k.domain, k.hostOnly = domain, false; !k.isFor(o.host) || isSuffix(domain, o.host) {
				continue
			}
		}
		if !strings.HasPrefix(k.path, "/") {
			k.path = defaultPath(o.path)
		}
		switch now := time.Now(); {
		case parsed.MaxAge < 0:
			k.expires = now
		case parsed.MaxAge > 0:
			k.expires = now.Add(time.Duration(parsed.MaxAge) * time.Second)
		default:
			k.expires = parsed.Expires
		}
		c.keep(k)
	}
}

// keepsPromise checks the prefixes of names (RFC 6265bis section 4.1.3).
func keepsPromise(k *http.Cookie) bool {
	name := strings.ToLower(k.Name)
	switch {
	case strings.HasPrefix(name, "__host-"):
		return k.Secure && k.Domain == "" && k.Path == "/"
	case strings.HasPrefix(name, "__secure-"):
		return k.Secure
	}
	return true
}

// isSuffix reports whether domain is one under which strangers have names, as far as it can be told
// without a list: it has no dot, and is not the host itself.
func isSuffix(domain, host string) bool { return domain != host && !strings.Contains(domain, ".") }

// defaultPath is the path of a cookie that names none (RFC 6265 section 5.1.4).
func defaultPath(path string) string {
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		return path[:i]
	}
	return "/"
}

// keep stores k in place of a cookie of the same name, domain and path. One that has expired is
// removed.
func (c *Client) keep(k cookie) {
	i := slices.IndexFunc(c.cookies, func(o cookie) bool {
		return o.name == k.name && o.domain == k.domain && o.path == k.path
	})
	switch over := k.isOver(time.Now()); {
	case i < 0 && !over:
		c.cookies = append(c.cookies, k)
	case i >= 0 && over:
		c.cookies = slices.Delete(c.cookies, i, i+1)
	case i >= 0:
		c.cookies[i] = k
	}
}

func (k *cookie) isOver(now time.Time) bool { return !k.expires.IsZero() && !k.expires.After(now) }

// isFor reports whether the cookie is for a host (RFC 6265 section 5.1.3).
func (k *cookie) isFor(host string) bool {
	return host == k.domain || !k.hostOnly && strings.HasSuffix(host, "."+k.domain) && net.ParseIP(host) == nil
}

// cookieHeader returns the cookie header for a request, with longer cookie paths first (RFC 6265
// section 5.4).
func (c *Client) cookieHeader(o origin) string {
	now := time.Now()
	var match []cookie
	for _, k := range c.cookies {
		below := o.path == k.path || strings.HasPrefix(o.path, strings.TrimSuffix(k.path, "/")+"/")
		if below && k.isFor(o.host) && (!k.secure || o.secure) && !k.isOver(now) {
			match = append(match, k)
		}
	}
	slices.SortStableFunc(match, func(a, b cookie) int { return len(b.path) - len(a.path) })
	var pairs []string
	for _, k := range match {
		pairs = append(pairs, k.name+"="+k.value)
	}
	return strings.Join(pairs, "; ")
}
