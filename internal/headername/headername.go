// Package headername knows the names of header fields: what a name is, and the two ways in which names
// are spelled, in lower case, as events have them, and as HTTP/1 has them on the wire.
package headername

import "net/http"

// Names of headers that nearly every message has, in both spellings, so that
// translating them allocates nothing.
var toLower, toCanonical = func() (lower, canonical map[string]string) {
	lower, canonical = map[string]string{}, map[string]string{}
	for _, name := range []string{
		"accept", "accept-charset", "accept-encoding", "accept-language", "accept-ranges",
		"access-control-allow-credentials", "access-control-allow-headers", "access-control-allow-methods",
		"access-control-allow-origin", "access-control-expose-headers", "access-control-max-age",
		"access-control-request-headers", "access-control-request-method", "age", "allow", "alt-svc",
		"authorization", "cache-control", "connection", "content-disposition", "content-encoding",
		"content-language", "content-length", "content-location", "content-range", "content-security-policy",
		"content-type", "cookie",
		"cross-origin-embedder-policy", "cross-origin-opener-policy", "cross-origin-resource-policy", "date", "dnt", "etag", "expect", "expires", "forwarded", "from", "host",
		"if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "keep-alive",
		"last-modified", "link", "location", "origin", "permissions-policy", "pragma", "priority",
		"proxy-authenticate", "proxy-authorization", "range", "referer", "referrer-policy", "retry-after",
		"sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform", "sec-fetch-dest", "sec-fetch-mode",
		"sec-fetch-site", "sec-fetch-user", "sec-gpc", "server", "server-timing", "set-cookie",
		"strict-transport-security", "te", "trailer", "transfer-encoding", "upgrade",
		"upgrade-insecure-requests", "user-agent", "vary", "via", "www-authenticate",
		"x-content-type-options", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port",
		"x-forwarded-proto", "x-frame-options", "x-real-ip", "x-request-id", "x-requested-with", "x-xss-protection",
	} {
		c := http.CanonicalHeaderKey(name)
		lower[c], canonical[name] = name, c
	}
	return lower, canonical
}()

// Lower returns the name of a header as the specification spells it: with its ASCII
// letters in lower case. strings.ToLower would turn the Kelvin sign into a k, and a name
// that is not a token into one that is.
func Lower(name string) string {
	for i := range len(name) {
		if 'A' <= name[i] && name[i] <= 'Z' {
			if lower, ok := toLower[name]; ok {
				return lower
			}
			return lowered(name, i)
		}
	}
	return name
}

// lowered is Lower where the first upper-case letter stands at i.
func lowered(name string, i int) string {
	b := []byte(name)
	for ; i < len(b); i++ {
		if 'A' <= b[i] && b[i] <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}

// Canonical returns the name of a header as it is spelled on the wire.
func Canonical(name string) string {
	if canonical, ok := toCanonical[name]; ok {
		return canonical
	}
	return http.CanonicalHeaderKey(name)
}

// AppendCanonical appends the name of a header as it is spelled on the wire. It allocates nothing, whatever the name is.
func AppendCanonical(b []byte, name string) []byte {
	if canonical, ok := toCanonical[name]; ok {
		return append(b, canonical...)
	}
	begin, upper := len(b), true
	for i := range len(name) {
		c := name[i]
		switch {
		case !tokenChars[c]:
			return append(b[:begin], name...) // as http.CanonicalHeaderKey does
		case upper && 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		case !upper && 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		b = append(b, c)
		upper = c == '-'
	}
	return b
}
