package middleware

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/forwarded"
	"github.com/pagi-go/pagi-bridge/internal/hostname"
	"github.com/pagi-go/pagi-bridge/internal/network"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// ReverseProxy shows the application, and everything inside this middleware, the request that the
// client has sent to a trusted proxy in front. It sets the scope's Client, Scheme, Server port and
// RootPath and the Host header from the headers that the proxy has added. The access log names the
// client, too. The address of the proxy is the scope value scopekey.OriginalClient.
//
// The client's address is found by walking the addresses from the right, where the nearest proxy has
// added its own peer, to the first one that is not trusted. What a client writes itself stands
// further left, and is cut off. An entry that is no address ends the walk at the one before.
//
// If X-Forwarded-Proto or -Host is a list as long as X-Forwarded-For, the entry of the same place
// counts, and otherwise the last one. Values that cannot be right are ignored.
//
// Forwarding headers that are not believed do not reach the application: those of a peer that is not
// trusted, and those that Headers does not list.
type ReverseProxy struct {
	// TrustedProxies are the addresses and networks of the proxies. "unix" stands for peers that come
	// by a Unix socket. None means 127.0.0.1, ::1 and unix.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// TrustAll believes the headers of every peer. Only use it if nothing but a proxy can connect.
	// Addresses further left count only if TrustedProxies has the ones behind them.
	TrustAll bool `yaml:"trust_all"`
	// Headers are the headers to believe. List only those that the proxy sets, or removes from the
	// requests of its clients. None means X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host,
	// X-Forwarded-Port and X-Real-IP. There are also X-Forwarded-Prefix, X-Forwarded-Ssl ("on" means
	// https) and Forwarded (RFC 7239). A request with Forwarded gets address, scheme and host from it
	// alone. Few proxies set or remove X-Forwarded-Prefix, and it changes the path that the options of
	// other middleware are compared with. A client that can send it gets around a login for "/admin".
	Headers []string `yaml:"headers"`
	// RealIPHeader is the name of the header that holds the client's address alone: CF-Connecting-IP,
	// for example. It counts if no list of addresses is there. "" means X-Real-IP.
	RealIPHeader string `yaml:"real_ip_header"`
}

func init() { parts.Middleware[ReverseProxy]("reverse_proxy") }

const (
	xForwardedFor    = "x-forwarded-for"
	xForwardedProto  = "x-forwarded-proto"
	xForwardedHost   = "x-forwarded-host"
	xForwardedPort   = "x-forwarded-port"
	xForwardedPrefix = "x-forwarded-prefix"
	xForwardedSSL    = "x-forwarded-ssl"
	xRealIP          = "x-real-ip"
	forwardedHeader  = "forwarded"
)

// forwardingHeaders are all headers that Headers may list. The first ones are its default.
var forwardingHeaders = []string{
	xForwardedFor, xForwardedProto, xForwardedHost, xForwardedPort, xRealIP, xForwardedPrefix, xForwardedSSL, forwardedHeader,
}

const defaultForwardingHeaders = 5

// Check reports entries of TrustedProxies that are no addresses, and unknown Headers.
func (m ReverseProxy) Check() error {
	var errs []error
	if _, err := network.ParseSet(m.TrustedProxies); err != nil {
		errs = append(errs, pagi.BadOption("trusted_proxies", "%w", err))
	}
	for _, name := range m.Headers {
		if !slices.Contains(forwardingHeaders, strings.ToLower(name)) {
			errs = append(errs, pagi.BadOption("headers", "%q is none of %s", name, strings.Join(forwardingHeaders, ", ")))
		}
	}
	if m.RealIPHeader != "" {
		errs = append(errs, checkName("real_ip_header", m.RealIPHeader))
	}
	return errors.Join(errs...)
}

// Wrap puts m around next.
func (m ReverseProxy) Wrap(next pagi.App) pagi.App {
	proxy, on := m.prepare(), onward(next)
	return wrapPassage(m, next, func(ctx context.Context, p passage) error {
		if scope := proxy.seenByClient(p.scope); scope != p.scope {
			p.scope, p.scopeIsOwn, p.headersAreOwn = scope, true, true
		}
		return on(ctx, p)
	})
}

// Trusted returns TrustedProxies or its default.
func (m ReverseProxy) Trusted() []string {
	if len(m.TrustedProxies) == 0 {
		return []string{"127.0.0.1", "::1", network.Unix}
	}
	return m.TrustedProxies
}

func (m ReverseProxy) prepare() *reverseProxy {
	trusted := m.Trusted()
	p := &reverseProxy{trustAll: m.TrustAll, believed: map[string]bool{}, realIP: strings.ToLower(or(m.RealIPHeader, xRealIP))}
	p.trusted, _ = network.ParseSet(trusted) // Check has reported the error
	headers := m.Headers
	if len(headers) == 0 {
		headers = forwardingHeaders[:defaultForwardingHeaders]
	}
	for _, name := range forwardingHeaders {
		p.believed[name] = false
	}
	for _, name := range headers {
		p.believed[strings.ToLower(name)] = true
	}
	realIP := p.believed[xRealIP]
	p.believed[xRealIP] = false
	p.believed[p.realIP] = realIP
	return p
}

// reverseProxy is a ReverseProxy whose options are read.
type reverseProxy struct {
	trusted  network.Set
	trustAll bool
	believed map[string]bool // false: known, but not believed
	realIP   string
}

// told is what a trusted proxy says about the request of the client.
type told struct {
	client pagi.Addr // zero: nothing
	// place is the client's place in the list of addresses, or the last one if nothing is known of the
	// client. length is the list's length. Both are 0 if there is no list.
	place, length int
	// list is the name of the header with the list.
	list string
	// others are the headers with addresses that have not been used.
	others []string
	// kept are the entries of the list from the client's on.
	kept                       []string
	scheme, host, port, prefix string // "": nothing
}

// seenByClient returns the scope as the client would describe it.
func (p *reverseProxy) seenByClient(scope *pagi.Scope) *pagi.Scope {
	anyBelieved, anyKnown := false, false
	for i := range scope.Headers {
		believed, known := p.isBelieved(scope.Headers[i].Name)
		anyBelieved, anyKnown = anyBelieved || believed, anyKnown || known
	}
	if !anyKnown {
		return scope
	}
	trusted := p.trustAll || p.trusted.HasHost(scope.Client.Host)
	speaks := anyBelieved && trusted
	peer, before := scope.Client, scope.Headers
	if speaks {
		scope = scope.With(scopekey.OriginalClient, peer)
	} else {
		scope = scope.Clone()
	}
	headers := make(pagi.Headers, 0, len(before)+1)
	for _, h := range before {
		if believed, known := p.isBelieved(h.Name); !known || believed && trusted {
			headers = append(headers, h)
		}
	}
	scope.Headers = headers
	if speaks {
		p.read(headers).apply(scope)
	}
	return scope
}

// isBelieved looks a header up in believed.
func (p *reverseProxy) isBelieved(name string) (believed, known bool) {
	if name == "" || name[0] != 'x' && name[0] != 'f' && name[0] != p.realIP[0] {
		return false, false // most headers of most requests
	}
	believed, known = p.believed[name]
	return believed, known
}

// read reads the headers, all of which are believed.
func (p *reverseProxy) read(h pagi.Headers) (t told) {
	if h.Has(forwardedHeader) {
		p.readForwarded(h, &t)
	} else {
		p.readLists(h, &t)
	}
	t.port = t.pick(h.Joined(xForwardedPort))
	t.prefix = t.pick(h.Joined(xForwardedPrefix))
	return t
}

func (p *reverseProxy) readForwarded(h pagi.Headers, t *told) {
	elements := forwarded.Parse(h.Joined(forwardedHeader))
	nodes, texts := make([]string, len(elements)), make([]string, len(elements))
	for i, e := range elements {
		nodes[i], texts[i] = e.For, e.Text
	}
	p.walk(nodes, t)
	t.list, t.kept, t.others = forwardedHeader, texts[t.place:], []string{xForwardedFor, p.realIP}
	t.scheme, t.host = elements[t.place].Proto, elements[t.place].Host
}

func (p *reverseProxy) readLists(h pagi.Headers, t *told) {
	if h.Has(xForwardedFor) {
		nodes := strings.Split(h.Joined(xForwardedFor), ",")
		for i := range nodes {
			nodes[i] = strings.Trim(nodes[i], " \t")
		}
		p.walk(nodes, t)
		t.list, t.kept, t.others = xForwardedFor, nodes[t.place:], []string{p.realIP}
	} else if addr, port, ok := forwarded.ParseNode(h.Get(p.realIP)); ok {
		t.client = pagi.Addr{Host: addr.String(), Port: port}
	}
	t.scheme = t.pick(h.Joined(xForwardedProto))
	if t.scheme == "" && pagi.EqualFold(t.pick(h.Joined(xForwardedSSL)), "on") {
		t.scheme = "https"
	}
	t.host = t.pick(h.Joined(xForwardedHost))
}

// walk finds the client among nodes, the nearest of which is the last.
func (p *reverseProxy) walk(nodes []string, t *told) {
	t.length, t.place = len(nodes), len(nodes)-1
	for i, node := range slices.Backward(nodes) {
		addr, port, ok := forwarded.ParseNode(node)
		if !ok {
			return
		}
		t.client, t.place = pagi.Addr{Host: addr.String(), Port: port}, i
		if !p.trusted.Has(addr) {
			return
		}
	}
}

// pick returns the entry of a list that belongs to the client.
func (t *told) pick(list string) string {
	if strings.IndexByte(list, ',') < 0 {
		return strings.Trim(list, " \t")
	}
	all := strings.Split(list, ",")
	place := len(all) - 1
	if len(all) == t.length {
		place = t.place
	}
	return strings.Trim(all[place], " \t")
}

// apply changes the scope, which is a copy with headers of its own.
func (t told) apply(scope *pagi.Scope) {
	if !t.client.IsZero() {
		scope.Client = t.client
		scope.Notes.SetClient(t.client)
	}
	// The application may read the headers itself, and must not see what clients claim.
	if t.place > 0 {
		scope.Headers.Set(t.list, strings.Join(t.kept, ", "))
	}
	for _, name := range t.others {
		switch {
		case t.client.IsZero():
			scope.Headers.Del(name)
		case scope.Headers.Has(name):
			scope.Headers.Set(name, t.client.Host)
		}
	}
	scope.Scheme = schemeOf(scope, t.scheme)
	if hostname.Valid(t.host) {
		scope.Headers.Set("host", t.host)
	}
	scope.Server.Port = portOf(scope, t.port)
	if prefix, ok := prefixOf(t.prefix); ok {
		raw := (&url.URL{Path: prefix}).EscapedPath()
		target := scope.RequestURI()
		scope.RootPath = prefix + scope.RootPath
		if scope.RawPath != "" {
			scope.RawPath = raw + scope.RawPath
		}
		if strings.HasPrefix(target, "/") {
			scope.Target = raw + target
		}
	}
}

// schemeOf returns the scheme that the proxy names, in the form of the scope's type.
func schemeOf(scope *pagi.Scope, named string) string {
	secure := false
	switch strings.ToLower(named) {
	case "https", "wss":
		secure = true
	case "http", "ws":
	default:
		return scope.Scheme
	}
	switch {
	case scope.Type == pagi.TypeWebSocket && secure:
		return "wss"
	case scope.Type == pagi.TypeWebSocket:
		return "ws"
	case secure:
		return "https"
	}
	return "http"
}

// portOf returns the port that the client has connected to: the one that the proxy names, that of
// the Host header, or that of the scheme.
func portOf(scope *pagi.Scope, named string) int {
	host := scope.Headers.Get("host")
	_, inHost := hostname.Split(host)
	for _, text := range []string{named, inHost} {
		if port, err := strconv.ParseUint(text, 10, 16); err == nil && port != 0 {
			if inHost == "" && int(port) != hostname.DefaultPort(scope.Scheme) && hostname.Valid(host) {
				scope.Headers.Set("host", host+":"+text)
			}
			return int(port)
		}
	}
	return hostname.DefaultPort(scope.Scheme)
}

// prefixOf reads X-Forwarded-Prefix. It refuses what browsers would take for another host, and
// segments that lead upwards.
func prefixOf(text string) (prefix string, ok bool) {
	decoded, err := url.PathUnescape(strings.TrimRight(text, "/"))
	if err != nil || !strings.HasPrefix(decoded, "/") || strings.Contains(decoded, "//") || strings.ContainsAny(decoded, "\\?#") ||
		strings.ContainsFunc(decoded, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", false
	}
	for segment := range strings.SplitSeq(decoded, "/") {
		if segment == "." || segment == ".." {
			return "", false
		}
	}
	return decoded, true
}
