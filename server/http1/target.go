package http1

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// parseTarget makes a URL from a request target (RFC 9112 section 3.2). Most targets are a path in
// which every character stands for itself, with or without a query. Package url parses the others.
func (x *stream) parseTarget(target string) *Refusal {
	path, query, _ := strings.Cut(target, "?")
	if strings.HasPrefix(path, "/") && all(path, classPath) && all(query, classQuery) {
		x.url.Path, x.url.RawQuery = path, query
		x.url.ForceQuery = query == "" && len(path) < len(target)
		return nil
	}
	if x.req.Method == http.MethodConnect && !strings.HasPrefix(target, "/") { // authority form
		if !isAuthority(target) {
			return bad("the request target's host is malformed")
		}
		target = "http://" + target
	}
	u, err := url.ParseRequestURI(target)
	switch {
	case target == "*" && x.req.Method != http.MethodOptions: // section 3.2.4
		return bad("the request target is an asterisk without OPTIONS")
	case err != nil, strings.Contains(target, "#"):
		return bad("the request target is malformed")
	case u.Scheme == "": // origin or asterisk form
	case u.Scheme != "http" && u.Scheme != "https":
		return bad("the request target's scheme is neither http nor https")
	case u.User != nil: // RFC 9110 section 4.2.4
		return bad("the request target has userinfo")
	case !isAuthority(u.Host):
		return bad("the request target's host is malformed")
	}
	x.url = *u
	return nil
}

// isAuthority reports whether s is a host, with or without a port: the value of a Host header,
// apart from an empty one (RFC 3986 sections 3.2.2, 3.2.3). An IP literal must be an IPv6 address
// without a zone.
func isAuthority(s string) bool {
	if strings.HasPrefix(s, "[") {
		literal, rest, ok := strings.Cut(s[1:], "]")
		ip, err := netip.ParseAddr(literal)
		return ok && err == nil && ip.Is6() && ip.Zone() == "" && (rest == "" || rest[0] == ':' && all(rest[1:], classDigit))
	}
	host, port, _ := strings.Cut(s, ":")
	return host != "" && all(port, classDigit) && (all(host, classHost) || isEncodedHost(host))
}

// isEncodedHost reports whether s is a host with percent-encoding in it.
func isEncodedHost(s string) bool {
	decoded, err := url.PathUnescape(s)
	return err == nil && len(decoded) < len(s) && all(strings.ReplaceAll(s, "%", ""), classHost)
}
