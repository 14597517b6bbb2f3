package pagi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

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
		"content-type", "cookie", "date", "dnt", "etag", "expect", "expires", "forwarded", "from", "host",
		"if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "keep-alive",
		"last-modified", "link", "location", "origin", "permissions-policy", "pragma", "priority",
		"proxy-authenticate", "proxy-authorization", "range", "referer", "referrer-policy", "retry-after",
		"sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform", "sec-fetch-dest", "sec-fetch-mode",
		"sec-fetch-site", "sec-fetch-user", "sec-gpc", "server", "server-timing", "set-cookie",
		"strict-transport-security", "te", "trailer", "transfer-encoding", "upgrade",
		"upgrade-insecure-requests", "user-agent", "vary", "via", "www-authenticate",
		"x-content-type-options", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port",
		"x-forwarded-proto", "x-frame-options", "x-real-ip", "x-request-id", "x-requested-with",
	} {
		c := http.CanonicalHeaderKey(name)
		lower[c], canonical[name] = name, c
	}
	return lower, canonical
}()

// LowerName returns the name of a header as the specification spells it.
func LowerName(name string) string {
	if lower, ok := toLower[name]; ok {
		return lower
	}
	return strings.ToLower(name)
}

// CanonicalName returns the name of a header as it is spelled on the wire.
func CanonicalName(name string) string {
	if canonical, ok := toCanonical[name]; ok {
		return canonical
	}
	return http.CanonicalHeaderKey(name)
}

func unescapePath(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 {
		return s, nil
	}
	return url.PathUnescape(s)
}

// eventHeaders lists a net/http header map as events carry it, sorted by name.
// Trailers kept in the map for later are left out.
func eventHeaders(from http.Header) Headers {
	names := make([]string, 0, len(from))
	lines := 0
	for name, values := range from {
		if !strings.HasPrefix(name, http.TrailerPrefix) {
			names = append(names, name)
			lines += len(values)
		}
	}
	slices.Sort(names)
	headers := make(Headers, 0, lines)
	for _, name := range names {
		for _, v := range from[name] {
			headers = append(headers, Header{LowerName(name), v})
		}
	}
	return headers
}
