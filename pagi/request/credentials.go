package request

import (
	"encoding/base64"
	"net/netip"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// BasicAuth returns the credentials of an Authorization header with the Basic scheme (RFC 7617). The
// user name ends at the first colon; the password may contain colons. ok is false without such a
// header, or if it is malformed. BasicAuth checks nothing else: compare with
// crypto/subtle.ConstantTimeCompare.
func (r *Request) BasicAuth() (user, password string, ok bool) {
	text, ok := r.authorization("basic")
	if !ok {
		return "", "", false
	}
	decoded, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return "", "", false
	}
	user, password, ok = strings.Cut(string(decoded), ":")
	if !ok {
		return "", "", false
	}
	return user, password, true
}

// Bearer returns the token of an Authorization header with the Bearer scheme (RFC 6750 section 2.1).
// ok is false without such a header, or if the token has characters that no token has.
func (r *Request) Bearer() (token string, ok bool) {
	token, ok = r.authorization("bearer")
	if !ok || !isToken68(token) {
		return "", false
	}
	return token, true
}

// authorization returns what follows the scheme in the Authorization header. Several such headers
// are refused: nobody knows which one another program would take.
func (r *Request) authorization(scheme string) (rest string, ok bool) {
	values := 0
	for value := range r.scope.Headers.Values("authorization") {
		values++
		var name string
		if name, rest, ok = strings.Cut(value, " "); !ok || !pagi.EqualFold(name, scheme) {
			return "", false
		}
	}
	return strings.Trim(rest, " "), values == 1
}

// isToken68 reports whether s is a token68 (RFC 9110 section 11.2).
func isToken68(s string) bool {
	body := strings.TrimRight(s, "=")
	for i := range len(body) {
		c := body[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~+/", c) >= 0) {
			return false
		}
	}
	return body != ""
}

// ClientIP returns the address of the client, without a zone; the zero Addr if it has none, as the
// client of a Unix socket. Behind a trusted proxy it is what the ReverseProxy middleware has found.
func (r *Request) ClientIP() netip.Addr {
	ip, err := netip.ParseAddr(r.scope.Client.Host)
	if err != nil {
		return netip.Addr{}
	}
	return ip.Unmap().WithZone("")
}
