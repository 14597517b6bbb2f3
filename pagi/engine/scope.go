package engine

import (
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Extensions of a connection without TLS. All scopes share the map: writing to it is forbidden.
var plainExtensions = map[string]any{
	pagi.ExtFullFlush:     struct{}{},
	pagi.ExtInformational: struct{}{},
}

// makeScope fills the exchange's scope from its request.
func (x *exchange) makeScope() {
	r, s := x.r, &x.scope
	s.Type = pagi.TypeHTTP
	s.PAGI.Version = pagi.SpecVersion
	s.HTTPVersion = httpVersion(r)
	s.Method = r.Method
	s.Scheme = "http"
	s.Target = originForm(r.RequestURI)
	s.Path, s.RawPath, s.RootPath = requestPath(r, s.Target)
	s.QueryString = r.URL.RawQuery
	s.Headers = x.stream.RequestHeaders()
	s.Client, s.Server = x.stream.Addrs()
	s.State = x.h.cloneState()
	s.Notes, s.Stash = &x.notes, &x.stash
	s.Connection = x.end.control.Connection()
	x.end.control.LookWith(x)
	s.Extensions = plainExtensions
	s.Transport = (*appTransport)(x)
	if r.TLS != nil {
		s.Scheme = "https"
		s.Extensions = map[string]any{
			pagi.ExtFullFlush:     struct{}{},
			pagi.ExtInformational: struct{}{},
			pagi.ExtTLS:           x.tlsInfo(),
		}
	}
}

func httpVersion(r *http.Request) string {
	switch {
	case r.ProtoMajor == 1 && r.ProtoMinor == 0:
		return "1.0"
	case r.ProtoMajor == 1:
		return "1.1"
	}
	return strconv.Itoa(r.ProtoMajor)
}

// requestPath returns the decoded path, the path as sent, and the decoded prefix
// that something like http.StripPrefix has taken from the front of URL.Path.
func requestPath(r *http.Request, target string) (path, raw, root string) {
	path = r.URL.Path
	raw, _, _ = strings.Cut(target, "?")
	if path == "" && (raw == "" || raw == "/" || raw[0] != '/') {
		path = "/" // an absolute target without a path means the root
	}
	if raw == "" || raw == path {
		return path, raw, ""
	}
	// They differ by percent-encoding, or by a prefix, or by both.
	if full, err := unescapePath(raw); err == nil && len(full) > len(path) && strings.HasSuffix(full, path) {
		root = strings.TrimSuffix(full[:len(full)-len(path)], "/")
	}
	return path, raw, root
}

// originForm cuts path and query out of a request target in origin, absolute or
// asterisk form (RFC 9112 section 3.2).
func originForm(target string) string {
	if strings.HasPrefix(target, "/") {
		return target
	}
	scheme, rest, absolute := strings.Cut(target, "://")
	if !absolute || strings.ContainsAny(scheme, "/?") {
		return target
	}
	switch i := strings.IndexAny(rest, "/?"); {
	case i < 0:
		return ""
	case rest[i] == '?': // an empty path means the root (RFC 9110 section 4.2.3)
		return "/" + rest[i:]
	default:
		return rest[i:]
	}
}

// ParseAddr splits a Request.RemoteAddr. A Unix socket's client has none.
func ParseAddr(s string) pagi.Addr {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return pagi.Addr{}
	}
	port, err := strconv.Atoi(s[i+1:])
	if err != nil {
		return pagi.Addr{}
	}
	host := s[:i]
	if len(host) > 1 && host[0] == '[' {
		host = host[1 : len(host)-1]
	}
	return pagi.Addr{Host: host, Port: port}
}

// AddrOf returns a network address as a scope has it.
func AddrOf(a net.Addr) pagi.Addr {
	switch a := a.(type) {
	case *net.TCPAddr:
		return pagi.Addr{Host: hostOf(a), Port: a.Port}
	case *net.UnixAddr:
		return pagi.Addr{Host: a.Name}
	}
	return ParseAddr(a.String())
}

func hostOf(a *net.TCPAddr) string {
	host := a.IP.String()
	if a.Zone != "" {
		host += "%" + a.Zone
	}
	return host
}

func unescapePath(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 {
		return s, nil
	}
	return url.PathUnescape(s)
}
