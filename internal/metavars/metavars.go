// Package metavars makes the CGI meta-variables of RFC 3875 out of a scope, for
// the bridges that speak CGI or its descendant PSGI. What belongs to only one of
// them (PATH_TRANSLATED, psgi.*) is added by that one.
package metavars

import (
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Options select what is passed on.
type Options struct {
	// ContentLength is the body's length, -1 when it is not known. It replaces
	// whatever the client claimed.
	ContentLength int64
	// Authorization passes the Authorization header on as HTTP_AUTHORIZATION.
	// RFC 3875 section 4.1.18 leaves it to the server; PSGI applications do their
	// own authentication, CGI scripts traditionally do not see it.
	Authorization bool
}

// Each calls yield for every variable the scope gives rise to. Names are unique;
// REQUEST_METHOD and PATH_INFO come first.
//
// A header whose name holds anything but letters, digits and hyphens is dropped:
// "_" and "-" become the same variable, so passing it would let a client forge
// what a proxy in front has set. Proxy is dropped (CVE-2016-5385), and so are
// Content-Type and Content-Length, which have variables of their own. Headers of
// the same name are joined by ", " (section 4.1.18).
func Each(scope *pagi.Scope, opt Options, yield func(name, value string)) {
	yield("REQUEST_METHOD", scope.Method)
	yield("PATH_INFO", pathInfo(scope.Path))
	yield("SCRIPT_NAME", scope.RootPath)
	yield("QUERY_STRING", scope.QueryString)
	yield("REQUEST_URI", scope.RequestURI())
	yield("SERVER_PROTOCOL", protocol(scope.HTTPVersion))
	name, port := ServerNamePort(scope)
	yield("SERVER_NAME", name)
	yield("SERVER_PORT", port)
	if !scope.Client.IsZero() {
		yield("REMOTE_ADDR", scope.Client.Host)
		if scope.Client.Port != 0 {
			yield("REMOTE_PORT", strconv.Itoa(scope.Client.Port))
		}
	} else {
		yield("REMOTE_ADDR", "")
	}
	if scope.Scheme == "https" {
		yield("HTTPS", "on")
	}
	if auth, ok := scope.Auth(); ok {
		yield("AUTH_TYPE", authType(auth.Type))
		if auth.Username != "" {
			yield("REMOTE_USER", auth.Username)
		}
	}
	if ct, ok := scope.Headers.Lookup("content-type"); ok {
		yield("CONTENT_TYPE", ct)
	}
	if opt.ContentLength >= 0 {
		yield("CONTENT_LENGTH", strconv.FormatInt(opt.ContentLength, 10))
	}
	eachHeader(scope.Headers, opt, yield)
}

// authType spells a scheme as it is registered: "Basic" (section 4.1.1).
func authType(scheme string) string {
	if scheme == "" {
		return scheme
	}
	return strings.ToUpper(scheme[:1]) + scheme[1:]
}

// pathInfo returns PATH_INFO, which begins with a slash or is empty (section 4.1.5):
// the path of "OPTIONS *" does neither.
func pathInfo(path string) string {
	if path == "*" {
		return "/"
	}
	return path
}

func eachHeader(headers pagi.Headers, opt Options, yield func(name, value string)) {
	for i := range headers {
		h := &headers[i]
		variable := Variable(h.Name)
		if variable == "" || variable == "HTTP_AUTHORIZATION" && !opt.Authorization {
			continue
		}
		value, again := h.Value, false
		for j := range headers {
			if j == i || headers[j].Name != h.Name {
				continue
			}
			if j < i {
				again = true
				break
			}
			value += ", " + headers[j].Value
		}
		if !again {
			yield(variable, value)
		}
	}
}

// variables caches the names of common headers. Only names a client is likely to
// send again are worth an entry, so it is filled once and never grows.
var variables = sync.OnceValue(func() map[string]string {
	m := map[string]string{}
	for name := range strings.FieldsSeq(`accept accept-charset accept-encoding accept-language
		authorization cache-control connection cookie dnt expect forwarded from host if-match
		if-modified-since if-none-match if-range if-unmodified-since max-forwards origin pragma
		priority range referer sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest
		sec-fetch-mode sec-fetch-site sec-fetch-user te upgrade upgrade-insecure-requests
		user-agent via x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto
		x-real-ip x-request-id x-requested-with`) {
		m[name] = makeVariable(name)
	}
	return m
})

// Variable returns the meta-variable for a header name, "HTTP_USER_AGENT" for
// "user-agent", or "" for a header that is not passed on.
func Variable(header string) string {
	if v, ok := variables()[header]; ok {
		return v
	}
	return makeVariable(header)
}

func makeVariable(header string) string {
	switch strings.ToLower(header) {
	case "", "content-type", "content-length", "proxy", "transfer-encoding":
		return ""
	}
	var b strings.Builder
	b.Grow(len("HTTP_") + len(header))
	b.WriteString("HTTP_")
	for i := range len(header) {
		switch c := header[i]; {
		case 'a' <= c && c <= 'z':
			b.WriteByte(c - 'a' + 'A')
		case 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			b.WriteByte(c)
		case c == '-':
			b.WriteByte('_')
		default:
			return ""
		}
	}
	return b.String()
}

// protocol returns SERVER_PROTOCOL, whose form has two numbers (RFC 3875 section 4.1.16).
func protocol(version string) string {
	switch version {
	case "1.1":
		return "HTTP/1.1"
	case "2":
		return "HTTP/2.0"
	case "3":
		return "HTTP/3.0"
	}
	return "HTTP/" + version
}

// ServerNamePort returns SERVER_NAME and SERVER_PORT: the name the client used
// where its Host header holds a plausible one, else the address it reached; the
// port it reached, or the scheme's where that is not known.
func ServerNamePort(scope *pagi.Scope) (name, port string) {
	host := scope.Headers.Get("host")
	hostname, hostport, err := net.SplitHostPort(host)
	if err != nil {
		hostname, hostport = host, ""
	}
	if !plausibleHost(hostname) {
		hostname, hostport = scope.Server.Host, ""
		if strings.HasPrefix(hostname, "/") || hostname == "" {
			hostname = "localhost"
		}
	}
	if strings.Contains(hostname, ":") && !strings.HasPrefix(hostname, "[") {
		hostname = "[" + hostname + "]" // RFC 3875 section 4.1.14: an IPv6 literal stands in brackets
	}
	switch {
	case scope.Server.Port != 0:
		port = portText(scope.Server.Port)
	case hostport != "":
		port = hostport
	case scope.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		port = "80"
	}
	return hostname, port
}

// lastPort is a server's port as text: there are few, and most requests come by the
// same one.
var lastPort atomic.Pointer[struct {
	number int
	text   string
}]

func portText(number int) string {
	if last := lastPort.Load(); last != nil && last.number == number {
		return last.text
	}
	text := strconv.Itoa(number)
	lastPort.Store(&struct {
		number int
		text   string
	}{number, text})
	return text
}

// plausibleHost reports whether s could be a host name or an address; it keeps
// quotes, angle brackets and control characters out of SERVER_NAME.
func plausibleHost(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte(".-_:[]%~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}
