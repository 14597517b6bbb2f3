package apps

import (
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/apps/internal/upstream"
	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// The values of SendHost that are not a host.
const (
	sendClient  = "client"
	sendBackend = "backend"
)

// isHop reports whether a header belongs to one connection (RFC 9110 section 7.6.1), or to the
// handshake of a WebSocket, of which each side has its own.
func isHop(name string) bool {
	switch name {
	case "connection", "proxy-connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings",
		"proxy-authorization", "proxy-authenticate":
		return true
	}
	return strings.HasPrefix(name, "sec-websocket-")
}

// isForwarding reports whether a header tells of the client in front of a proxy. Some programs take
// "_" for "-".
func isForwarding(name string) bool {
	if strings.Contains(name, "_") {
		name = strings.ReplaceAll(name, "_", "-")
	}
	return name == "forwarded" || name == "x-real-ip" || strings.HasPrefix(name, "x-forwarded-")
}

// connectionNames returns the names of headers that the Connection headers declare to be for one
// connection.
func connectionNames(headers pagi.Headers) (names []string) {
	for i := range headers {
		if headers[i].Name != "connection" {
			continue
		}
		for name := range strings.SplitSeq(headers[i].Value, ",") {
			if name = strings.TrimSpace(name); name != "" && !pagi.EqualFold(name, "close") && !pagi.EqualFold(name, "keep-alive") {
				names = append(names, headername.Lower(name))
			}
		}
	}
	return names
}

// requestHeaders returns the headers for a backend without Host, and the Host that a rule sets.
func (p *proxy) requestHeaders(scope *pagi.Scope) (h pagi.Headers, host string) {
	h = make(pagi.Headers, 0, len(scope.Headers)+6)
	named := connectionNames(scope.Headers)
	_, trusted := scope.Value(scopekey.OriginalClient).(pagi.Addr)
	for i := range scope.Headers {
		name, value := scope.Headers[i].Name, scope.Headers[i].Value
		switch {
		case isHop(name), name == "host", name == "content-length", name == "expect", slices.Contains(named, name):
		case isForwarding(name) && !(trusted && name == "x-forwarded-port"):
		default:
			h = append(h, pagi.Header{Name: headername.Lower(name), Value: value})
		}
	}
	if scope.Headers.HasToken("te", "trailers") {
		h.Add("te", "trailers")
	}
	p.tellOfClient(&h, scope)
	p.RequestHeaders.apply(&h, scope)
	if host = h.Get("host"); host != "" {
		h.Del("host")
	}
	return h, host
}

// asHTTP returns headers for package net/http.
func asHTTP(headers pagi.Headers) http.Header {
	h := make(http.Header, len(headers)+1)
	h["User-Agent"] = nil // not Go's
	for i := range headers {
		key := headername.Canonical(headers[i].Name)
		h[key] = append(h[key], headers[i].Value)
	}
	return h
}

// tellOfClient sets the forwarding headers.
func (p *proxy) tellOfClient(h *pagi.Headers, scope *pagi.Scope) {
	client := scope.Client.Host
	if _, err := netip.ParseAddr(client); err != nil {
		client = "" // a Unix socket
	}
	if peer, behindProxy := scope.Value(scopekey.OriginalClient).(pagi.Addr); behindProxy {
		// ReverseProxy has cut off what the client itself has written.
		list := scope.Headers.Joined("x-forwarded-for")
		client = or(list, client)
		if _, err := netip.ParseAddr(peer.Host); err == nil {
			client += ", " + peer.Host
		}
	}
	if client != "" {
		h.Add("x-forwarded-for", strings.TrimPrefix(client, ", "))
	}
	h.Add("x-forwarded-proto", webScheme(scope.Scheme))
	if host := scope.Headers.Get("host"); host != "" {
		h.Add("x-forwarded-host", host)
	}
	// A path that the backend sees becomes one that the client sees with this in front.
	if prefix, below := strings.CutSuffix(rawRoot(scope), p.prefix); below && prefix != "" {
		h.Add("x-forwarded-prefix", prefix)
	}
	if p.Via != "" {
		via := viaOf(scope.HTTPVersion, p.Via)
		if before := h.Joined("via"); before != "" {
			via = before + ", " + via
		}
		h.Set("via", via)
	}
}

func viaOf(version, name string) string {
	if version == "2" || version == "3" {
		version += ".0"
	}
	return or(version, "1.1") + " " + name
}

// webScheme returns the scheme of the page that a request belongs to: "https" for "wss".
func webScheme(scheme string) string {
	switch scheme {
	case "https", "wss":
		return "https"
	}
	return "http"
}

// hostFor returns the Host header for a backend.
func (p *proxy) hostFor(scope *pagi.Scope, b *upstream.Backend) string {
	switch p.SendHost {
	case "", sendClient:
		return or(scope.Headers.Get("host"), b.URL.Host)
	case sendBackend:
		return b.URL.Host
	}
	return p.SendHost
}

// responseHeaders returns the headers of a backend's response as the client gets them, in the same
// memory. The error says why they cannot be passed on.
func (p *proxy) responseHeaders(scope *pagi.Scope, b *upstream.Backend, from pagi.Headers) (pagi.Headers, error) {
	named := connectionNames(from)
	headers := from[:0]
	for _, h := range from {
		switch {
		case isHop(h.Name), h.Name == "content-length", slices.Contains(named, h.Name):
			continue
		case h.Name == "location" && !p.KeepLocation && !b.IsFastCGI(): // a FastCGI application knows its mount
			h.Value = p.location(scope, b, h.Value)
		case h.Name == "set-cookie" && p.RewriteCookies && !b.IsFastCGI():
			h.Value = cookie(scope, b, h.Value)
		}
		headers = append(headers, h)
	}
	if err := headers.Validate("the response"); err != nil {
		return nil, err
	}
	if p.Via != "" {
		via := viaOf("1.1", p.Via)
		if before := headers.Joined("via"); before != "" {
			via = before + ", " + via
		}
		headers.Set("via", via)
	}
	p.ResponseHeaders.apply(&headers, scope)
	return headers, nil
}

// asPAGI returns the headers of package net/http with names in lower case, sorted.
func asPAGI(from http.Header) pagi.Headers {
	headers := make(pagi.Headers, 0, len(from)+2)
	for _, key := range slices.Sorted(maps.Keys(from)) {
		name := headername.Lower(key)
		for _, value := range from[key] {
			headers = append(headers, pagi.Header{Name: name, Value: value})
		}
	}
	return headers
}

// endToEnd returns headers without those for one connection, in the same memory.
func endToEnd(headers pagi.Headers) pagi.Headers {
	return slices.DeleteFunc(headers, func(h pagi.Header) bool { return isHop(h.Name) || h.Name == "content-length" })
}

// lengthOf returns the Content-Length of a request; -1 if it has none, and ok false if it is no
// number.
func lengthOf(headers pagi.Headers) (length int64, ok bool) {
	length = -1
	for value := range headers.Values("content-length") {
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil || length >= 0 && int64(n) != length {
			return 0, false
		}
		length = int64(n)
	}
	return length, true
}
