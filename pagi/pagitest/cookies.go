package pagitest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Cookie returns the value of the cookie called name that the client holds, or "".
func (c *Client) Cookie(name string) string {
	for _, k := range c.cookies {
		if k.Name == name {
			return k.Value
		}
	}
	return ""
}

// SetCookie gives the client a cookie for all paths.
func (c *Client) SetCookie(name, value string) { c.keep(&http.Cookie{Name: name, Value: value}) }

// ClearCookies makes the client forget its cookies.
func (c *Client) ClearCookies() { c.cookies = nil }

// learn stores the cookies of a response's Set-Cookie headers.
func (c *Client) learn(res *Response) {
	for line := range res.Headers.Values("set-cookie") {
		if k, err := http.ParseSetCookie(line); err == nil {
			c.keep(k)
		}
	}
}

// keep stores k in place of a cookie of the same name and path; one that has
// expired is removed.
func (c *Client) keep(k *http.Cookie) {
	if k.Path == "" || k.Path[0] != '/' {
		k.Path = "/"
	}
	same := func(o *http.Cookie) bool { return o.Name == k.Name && o.Path == k.Path }
	c.cookies = slices.DeleteFunc(c.cookies, same)
	if k.MaxAge < 0 || !k.Expires.IsZero() && k.Expires.Before(time.Now()) && k.MaxAge == 0 {
		return
	}
	c.cookies = append(c.cookies, k)
}

// cookieHeader returns the cookie header for path, with longer cookie paths first (RFC 6265 section
// 5.4).
func (c *Client) cookieHeader(path string) string {
	path = c.RootPath + path
	var match []*http.Cookie
	for _, k := range c.cookies {
		below := path == k.Path || strings.HasPrefix(path, strings.TrimSuffix(k.Path, "/")+"/")
		if below && (!k.Secure || c.Scheme == "https") {
			match = append(match, k)
		}
	}
	slices.SortStableFunc(match, func(a, b *http.Cookie) int { return len(b.Path) - len(a.Path) })
	var pairs []string
	for _, k := range match {
		pairs = append(pairs, k.Name+"="+k.Value)
	}
	return strings.Join(pairs, "; ")
}
