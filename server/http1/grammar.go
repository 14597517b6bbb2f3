package http1

import "strings"

// The same grammar holds for requests of all versions. HTTP/2 and HTTP/3 have these parts in
// pseudo-headers (RFC 9113 section 8.3.1, RFC 9114 section 4.3.1).

// IsMethod reports whether s may be a method (RFC 9110 section 9.1).
func IsMethod(s string) bool { return isToken(s) }

// IsAuthority reports whether s may be the value of a Host header, apart from an empty one.
func IsAuthority(s string) bool { return isAuthority(s) }

// IsTarget reports whether s has the form of a request target in origin or asterisk form (RFC 9112
// sections 3.2.1, 3.2.4). It does not check percent-encoding and control characters.
func IsTarget(method, s string) bool {
	return strings.HasPrefix(s, "/") && !strings.ContainsAny(s, " #") || s == "*" && method == "OPTIONS"
}
