package pagi

import (
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Extensions of a connection without TLS; shared, since nobody may write to it.
var plainExtensions = map[string]any{
	ExtFullFlush:     struct{}{},
	ExtInformational: struct{}{},
}

// makeScope fills the exchange's scope from its request.
func (x *exchange) makeScope() {
	r, s := x.r, &x.scope
	s.Type = TypeHTTP
	s.PAGI.Version = SpecVersion
	s.HTTPVersion = httpVersion(r)
	s.Method = r.Method
	s.Scheme = "http"
	s.Path, s.RawPath, s.RootPath = requestPath(r)
	s.QueryString = r.URL.RawQuery
	if x.stream != nil {
		s.Headers = x.stream.RequestHeaders()
		s.Client, s.Server = x.stream.Addrs()
	} else {
		s.Headers = requestHeaders(r)
		s.Client = clientAddr(r.RemoteAddr)
		if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
			s.Server = AddrOf(local)
		}
	}
	s.State = x.h.cloneState()
	s.Connection = &x.conn
	x.conn.look = x
	s.Extensions = plainExtensions
	s.Transport = (*appTransport)(x)
	if r.TLS != nil {
		s.Scheme = "https"
		s.Extensions = map[string]any{
			ExtFullFlush:     struct{}{},
			ExtInformational: struct{}{},
			ExtTLS:           x.tlsInfo(),
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
func requestPath(r *http.Request) (path, raw, root string) {
	path, raw = r.URL.Path, rawPath(r.RequestURI)
	if path == "" {
		path = "/"
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

// rawPath cuts the path out of a request target in origin, absolute or asterisk
// form (RFC 9112 section 3.2).
func rawPath(target string) string {
	target, _, _ = strings.Cut(target, "?")
	if strings.HasPrefix(target, "/") {
		return target
	}
	if _, rest, ok := strings.Cut(target, "://"); ok {
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			return rest[i:]
		}
		return ""
	}
	return target
}

// clientAddr splits a Request.RemoteAddr. A Unix socket's client has none.
func clientAddr(s string) Addr {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return Addr{}
	}
	port, err := strconv.Atoi(s[i+1:])
	if err != nil {
		return Addr{}
	}
	host := s[:i]
	if len(host) > 1 && host[0] == '[' {
		host = host[1 : len(host)-1]
	}
	return Addr{host, port}
}

// AddrOf returns a network address as a scope has it.
func AddrOf(a net.Addr) Addr {
	switch a := a.(type) {
	case *net.TCPAddr:
		return Addr{hostOf(a), a.Port}
	case *net.UnixAddr:
		return Addr{Host: a.Name}
	}
	return clientAddr(a.String())
}

func hostOf(a *net.TCPAddr) string {
	host := a.IP.String()
	if a.Zone != "" {
		host += "%" + a.Zone
	}
	return host
}

// requestHeaders lists the request's headers: host first, then by name, those of
// one name in the order they came. net/http keeps no order across names, and has
// removed transfer-encoding.
func requestHeaders(r *http.Request) Headers {
	type field struct {
		name   string
		values []string
	}
	var scratch [24]field
	fields := scratch[:0]
	lines := 2 // host, content-length
	for name, values := range r.Header {
		lines += len(values)
		fields = append(fields, field{name, values})
	}
	slices.SortFunc(fields, func(a, b field) int { return strings.Compare(a.name, b.name) })

	headers := make(Headers, 0, lines)
	if r.Host != "" {
		headers = append(headers, Header{"host", r.Host})
	}
	haveLength := false
	for _, f := range fields {
		values := f.values
		lower := LowerName(f.name)
		switch lower {
		case "host", "transfer-encoding", ":protocol":
			continue
		case "content-length":
			haveLength = true
		case "cookie":
			if len(values) > 1 {
				headers = append(headers, Header{lower, strings.Join(values, "; ")})
				continue
			}
		}
		for _, v := range values {
			headers = append(headers, Header{lower, v})
		}
	}
	if len(r.Trailer) > 0 { // net/http has taken it out
		headers = append(headers, Header{"trailer", announced(r.Trailer)})
	}
	if !haveLength && r.ContentLength > 0 {
		headers = append(headers, Header{"content-length", strconv.FormatInt(r.ContentLength, 10)})
	}
	return headers
}
