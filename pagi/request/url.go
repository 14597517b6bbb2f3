package request

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/hostname"
)

// Host returns the host that the client asked for, with the port if the client named one: the Host
// header if it is a host name or an IP address with an optional port, in lower case. Otherwise it
// returns the server's own address, or "localhost" if that is not known.
//
// The client chooses the Host header. A link built of it is safe for that client. For a link in a
// message to somebody else, check the host first; the TrustedHosts middleware does that.
func (r *Request) Host() string {
	if host := r.scope.Headers.Get("host"); hostname.Valid(host) {
		return strings.ToLower(host)
	}
	server := r.scope.Server
	ip, err := netip.ParseAddr(server.Host)
	if err != nil {
		return "localhost"
	}
	host := ip.WithZone("").String()
	if ip.Is6() {
		host = "[" + host + "]"
	}
	if server.Port == 0 || server.Port == hostname.DefaultPort(r.scope.Scheme) {
		return host
	}
	return host + ":" + strconv.Itoa(server.Port)
}

// URL returns the URL that the client asked for: the scope's scheme, Host, and the path and query as
// sent. Behind a trusted proxy the ReverseProxy middleware has set scheme and host to what the client
// used. In a websocket scope the scheme is "ws" or "wss".
func (r *Request) URL() *url.URL {
	u := &url.URL{Scheme: r.scope.Scheme, Host: r.Host()}
	path, query, hasQuery := strings.Cut(r.scope.RequestURI(), "?")
	if decoded, err := url.PathUnescape(path); err == nil && strings.HasPrefix(path, "/") {
		u.Path, u.RawPath = decoded, path
	} else {
		u.Path = r.scope.RootPath + r.scope.Path
	}
	u.RawQuery, u.ForceQuery = query, hasQuery && query == ""
	return u
}

// URLFor returns the absolute URL of a path in this application: the request's scheme and host, the
// path under which the application is mounted, then path, which is not yet percent-encoded and begins
// with a slash. pairs are names and values of the query, in order. It panics on an odd number of
// them, which is a bug in the calling code.
func (r *Request) URLFor(path string, pairs ...string) *url.URL {
	if len(pairs)%2 != 0 {
		panic("request.URLFor: odd number of arguments")
	}
	u := &url.URL{Scheme: r.scope.Scheme, Host: r.Host(), Path: r.scope.RootPath + path}
	var query strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		if i > 0 {
			query.WriteByte('&')
		}
		query.WriteString(url.QueryEscape(pairs[i]))
		query.WriteByte('=')
		query.WriteString(url.QueryEscape(pairs[i+1]))
	}
	u.RawQuery = query.String()
	return u
}
