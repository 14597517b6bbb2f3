package apps

import (
	"net/url"
	"strings"

	"github.com/pagi-go/pagi-bridge/apps/internal/upstream"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// rawBelow splits the path that the client has sent, still percent-encoded, into the mount's part
// and the rest. If a middleware has changed the path, the rest is the changed one, encoded.
func rawBelow(scope *pagi.Scope) (root, rest string) {
	decoded := 0
	i := 0
	for raw := scope.RawPath; i < len(raw) && decoded < len(scope.RootPath); decoded++ {
		if raw[i] == '%' {
			i += 2
		}
		i++
	}
	if i <= len(scope.RawPath) {
		root, rest = scope.RawPath[:i], scope.RawPath[i:]
		if path, err := url.PathUnescape(rest); err == nil && path == scope.Path && (rest == "" || rest[0] == '/') {
			if path, err := url.PathUnescape(root); err == nil && path == scope.RootPath {
				return root, rest
			}
		}
	}
	return (&url.URL{Path: scope.RootPath}).EscapedPath(), (&url.URL{Path: scope.Path}).EscapedPath()
}

func rawRoot(scope *pagi.Scope) string {
	root, _ := rawBelow(scope)
	return root
}

// climbs reports whether a decoded path leads above its beginning by "..". Servers take a backslash
// for a slash, some of them.
func climbs(path string) bool {
	depth := 0
	for segment := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '\\' }) {
		switch segment {
		case ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}

// target returns the URL that a backend is asked for. Scheme and host are always those of the
// backend.
func target(scope *pagi.Scope, b *upstream.Backend) *url.URL {
	_, rest := rawBelow(scope)
	rest = encodeRest(rest)
	raw := b.URL.EscapedPath() + rest
	if raw == "" {
		raw = "/"
	}
	u := &url.URL{Scheme: b.URL.Scheme, Host: b.URL.Host, Path: raw, RawQuery: encodeQuery(scope.QueryString)}
	u.ForceQuery = scope.QueryString == "" && strings.HasSuffix(scope.Target, "?")
	if path, err := url.PathUnescape(raw); err == nil {
		u.Path, u.RawPath = path, raw
	}
	return u
}

// requestTarget returns path and query of target as they stand in a request line.
func requestTarget(scope *pagi.Scope, b *upstream.Backend) string {
	prefix := b.URL.EscapedPath()
	_, rest := rawBelow(scope)
	raw := prefix + encodeRest(rest)
	if raw == "" {
		raw = "/"
	}
	if strings.IndexByte(raw, '%') >= 0 { // which may have to be encoded itself
		return target(scope, b).RequestURI()
	}
	if scope.QueryString != "" || strings.HasSuffix(scope.Target, "?") {
		raw += "?" + encodeQuery(scope.QueryString)
	}
	return raw
}

const hexDigits = "0123456789ABCDEF"

// encodeRest encodes the bytes that cannot stand in the path of a URL, and keeps all others as they
// are. Without that, package url would encode all of the path anew.
func encodeRest(s string) string { return encode(s, "!$&'()*+,;=:@[]/-._~%") }

// encodeQuery does so for a query, in which more may stand.
func encodeQuery(s string) string { return encode(s, "!$&'()*+,;=:@[]/-._~%?\"<>\\^`{|}") }

func encode(s, allowed string) string {
	ok := func(c byte) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(allowed, c) >= 0
	}
	for i := range len(s) {
		if !ok(s[i]) {
			var b strings.Builder
			for j := range len(s) {
				if c := s[j]; ok(c) {
					b.WriteByte(c)
				} else {
					b.Write([]byte{'%', hexDigits[c>>4], hexDigits[c&15]})
				}
			}
			return b.String()
		}
	}
	return s
}

// isBelow reports whether an encoded path is prefix or below it.
func isBelow(path, prefix string) bool {
	return prefix == "" || pathMatches(prefix, path)
}

// asClientSees turns a path that the backend sees into one that the client sees. A path that is not
// the backend's, or is below the mount already, stays as it is.
func asClientSees(scope *pagi.Scope, b *upstream.Backend, path string) string {
	outer, inner := rawRoot(scope), b.URL.EscapedPath()
	if outer == inner || !isBelow(path, inner) || outer != "" && isBelow(path, outer) {
		return path
	}
	// Two slashes, or a backslash, in front would be the beginning of a host to browsers.
	rest := path[len(inner):]
	if outer == "" {
		rest = "/" + strings.TrimLeft(rest, `/\`)
	}
	return outer + rest
}

// location returns a Location header as the client gets it.
func (p *proxy) location(scope *pagi.Scope, b *upstream.Backend, value string) string {
	u, err := url.Parse(value)
	if err != nil || u.Opaque != "" || u.User != nil {
		return value
	}
	path := u.EscapedPath()
	end := len(value)
	if i := strings.IndexAny(value, "?#"); i >= 0 {
		end = i
	}
	switch {
	case u.Host == "" && strings.HasPrefix(path, "//"): // what browsers take for a host
		return value
	case u.Host == "" && u.Scheme == "" && strings.HasPrefix(path, "/"):
		return asClientSees(scope, b, path) + value[end:]
	case u.Host == "" || u.Scheme == "":
		return value
	case !b.IsLocal() && isOrigin(u, b.URL):
		path = asClientSees(scope, b, or(path, "/"))
		return "/" + strings.TrimLeft(path, `/\`) + value[end:] // on the client's host, whatever its name
	case u.Scheme == webScheme(scope.Scheme) && strings.EqualFold(u.Host, scope.Headers.Get("host")):
		return u.Scheme + "://" + u.Host + asClientSees(scope, b, path) + value[end:]
	}
	return value
}

// isOrigin reports whether two URLs have the same scheme, host and port.
func isOrigin(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		if u.Port() == "" {
			return map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		return u.Port()
	}
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// cookie returns a Set-Cookie header whose path and domain suit the client.
func cookie(scope *pagi.Scope, b *upstream.Backend, value string) string {
	attributes := strings.Split(value, ";")
	kept := attributes[:1]
	for _, attribute := range attributes[1:] {
		name, is, _ := strings.Cut(attribute, "=")
		switch name, is = strings.TrimSpace(name), strings.TrimSpace(is); {
		case strings.EqualFold(name, "path") && strings.HasPrefix(is, "/"):
			kept = append(kept, " Path="+asClientSees(scope, b, is))
		case strings.EqualFold(name, "domain") && strings.EqualFold(strings.TrimPrefix(is, "."), b.URL.Hostname()):
		default:
			kept = append(kept, attribute)
		}
	}
	return strings.Join(kept, ";")
}
