// Package hostname tells what can stand in a Host header.
package hostname

import (
	"net/netip"
	"strconv"
	"strings"
)

// Valid reports whether s is a host with an optional port (RFC 9110 section 7.2). Of the characters
// that RFC 3986 allows in a registered name it takes only those that names have in practice. A name
// outside ASCII must be in its form with "xn--".
func Valid(s string) bool {
	name, port := Split(s)
	if rest := s[len(name):]; rest != "" {
		number, err := strconv.ParseUint(port, 10, 16)
		if port != "" && (err != nil || number == 0 && port != "0") {
			return false
		}
	}
	if inner, is := strings.CutPrefix(name, "["); is {
		inner, is = strings.CutSuffix(inner, "]")
		ip, err := netip.ParseAddr(inner)
		return is && err == nil && ip.Is6() && ip.Zone() == ""
	}
	for i := range len(name) {
		c := name[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_') {
			return false
		}
	}
	return name != ""
}

// Split returns the host, with brackets if it has them, and the port of s; "" if there is none.
func Split(s string) (host, port string) {
	if i := strings.LastIndexByte(s, ':'); i >= 0 && i > strings.LastIndexByte(s, ']') {
		return s[:i], s[i+1:]
	}
	return s, ""
}

// DefaultPort returns the port of a scheme: 443 for https and wss, otherwise 80.
func DefaultPort(scheme string) int {
	if scheme == "https" || scheme == "wss" {
		return 443
	}
	return 80
}
