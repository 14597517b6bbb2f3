package response

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Redirect returns a response of 302 that sends the client to another URL, absolute or relative to
// the request's. Status changes the status: 301, 303, 307 and 308 are the others. Characters that
// cannot stand in a URL are percent-encoded.
//
// A URL that comes from the client must not be passed on without a check, or others use the site to
// lead people astray. See LocalRedirect.
func Redirect(to string) *Response {
	r := New(http.StatusFound)
	if _, err := url.Parse(to); err != nil || to == "" {
		return r.fail(fmt.Errorf("response: %q is no URL to redirect to", to))
	}
	return r.Header("location", escapeLocation(to))
}

// LocalRedirect is Redirect to a place on the same host, which may come from the client: a path
// that begins with one slash, with a query and a fragment if there are any. For anything else, the
// client goes to fallback, which the application has chosen and is not checked: "/" for example.
// What browsers would read as another host is refused, such as "//host", "/\host", or a path with a
// tab or newline in front of the second slash.
func LocalRedirect(to, fallback string) *Response {
	if !isLocal(to) {
		to = fallback
	}
	return Redirect(to)
}

// isLocal reports whether a browser stays on its host when it is sent to a URL. Browsers drop tabs
// and newlines, cut control characters and spaces off the ends, and take a backslash for a slash
// (the URL standard, section 4.4).
func isLocal(to string) bool {
	if len(to) == 0 || to[0] != '/' {
		return false
	}
	for i := range len(to) {
		if c := to[i]; c < ' ' || c == 0x7f || c == '\\' {
			return false
		}
	}
	if len(to) > 1 && to[1] == '/' {
		return false
	}
	u, err := url.Parse(to)
	return err == nil && u.Scheme == "" && u.Host == "" && u.User == nil
}

// escapeLocation percent-encodes the bytes that a URL cannot have (RFC 3986 section 2).
func escapeLocation(to string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(to) {
		if c := to[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
