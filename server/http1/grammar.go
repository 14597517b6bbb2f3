package http1

import "strings"

// What a request of any version may say is the same; those of HTTP/2 and HTTP/3 say it in
// pseudo-headers (RFC 9113 section 8.3.1, RFC 9114 section 4.3.1).

// IsMethod reports whether s may be a method (RFC 9110 section 9.1).
func IsMethod(s string) bool { return isToken(s) }

// IsAuthority reports whether s may be what a Host header holds, unless it is empty.
func IsAuthority(s string) bool { return isAuthority(s) }

// IsTarget reports whether s may be the target of a request in origin or asterisk form
// (RFC 9112 sections 3.2.1, 3.2.4), as far as its percent-encoding and control characters
// do not matter.
func IsTarget(method, s string) bool {
	return strings.HasPrefix(s, "/") && !strings.ContainsAny(s, " #") || s == "*" && method == "OPTIONS"
}
