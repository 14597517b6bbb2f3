package middleware_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

func ExampleReverseProxy() {
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		fmt.Println(scope.Client.Host, scope.Scheme, scope.Headers.Get("host"))
		return nil
	})
	scope := &pagi.Scope{Type: pagi.TypeHTTP, Scheme: "http", Client: pagi.Addr{Host: "127.0.0.1", Port: 4711}, Headers: pagi.NewHeaders(
		"host", "backend:5000", "x-forwarded-for", "1.2.3.4, 192.0.2.7", "x-forwarded-proto", "https", "x-forwarded-host", "www.example.org")}
	_ = middleware.ReverseProxy{}.Wrap(app).Serve(context.Background(), scope, nil, nil)
	// Output: 192.0.2.7 https www.example.org
}

// proxied returns the scope that an application gets below m, and its log notes.
func proxied(t *testing.T, m pagi.Middleware, scope pagi.Scope) *pagi.Scope {
	t.Helper()
	var got *pagi.Scope
	app := pagi.AppFunc(func(_ context.Context, scope *pagi.Scope, _ pagi.Receive, _ pagi.Send) error { got = scope; return nil })
	if scope.Type == "" {
		scope.Type = pagi.TypeHTTP
	}
	if scope.Scheme == "" {
		scope.Scheme = "http"
	}
	scope.Notes = &pagi.LogNotes{}
	before := scope.Headers.Clone()
	if err := m.Wrap(app).Serve(t.Context(), &scope, nil, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, scope.Headers); diff != "" {
		t.Errorf("the caller's scope was changed: %s", diff)
	}
	return got
}

func TestReverseProxyFindsTheClient(t *testing.T) {
	far := middleware.ReverseProxy{TrustedProxies: []string{"127.0.0.1", "10.0.0.0/8"}}
	believing := func(names ...string) middleware.ReverseProxy {
		return middleware.ReverseProxy{TrustedProxies: far.TrustedProxies, Headers: names}
	}
	for name, tc := range map[string]struct {
		m       middleware.ReverseProxy
		peer    string
		headers []string
		client  string
		port    int
		kept    string // of X-Forwarded-For or Forwarded; "": gone
	}{
		"one address":                           {far, "127.0.0.1", []string{"x-forwarded-for", "192.0.2.7"}, "192.0.2.7", 0, "192.0.2.7"},
		"what a client claims is left of it":    {far, "127.0.0.1", []string{"x-forwarded-for", "1.1.1.1, 192.0.2.7"}, "192.0.2.7", 0, "192.0.2.7"},
		"also in a line of its own":             {far, "127.0.0.1", []string{"x-forwarded-for", "1.1.1.1", "x-forwarded-for", "192.0.2.7"}, "192.0.2.7", 0, "192.0.2.7"},
		"also as a proxy's own address":         {far, "127.0.0.1", []string{"x-forwarded-for", "127.0.0.1, 192.0.2.7"}, "192.0.2.7", 0, "192.0.2.7"},
		"a trusted proxy in between":            {far, "127.0.0.1", []string{"x-forwarded-for", "1.1.1.1,192.0.2.7,10.1.1.1"}, "192.0.2.7", 0, "192.0.2.7, 10.1.1.1"},
		"a client inside the trusted network":   {far, "127.0.0.1", []string{"x-forwarded-for", "10.1.1.9, 10.1.1.1"}, "10.1.1.9", 0, "10.1.1.9, 10.1.1.1"},
		"text that is no address ends the walk": {far, "127.0.0.1", []string{"x-forwarded-for", "192.0.2.7, unknown, 10.1.1.1"}, "10.1.1.1", 0, "10.1.1.1"},
		"nothing but text":                      {far, "127.0.0.1", []string{"x-forwarded-for", "unknown"}, "127.0.0.1", 4711, "unknown"},
		"a client behind text":                  {far, "127.0.0.1", []string{"x-forwarded-for", "1.1.1.1, unknown", "x-real-ip", "1.1.1.1"}, "127.0.0.1", 4711, "unknown"},
		"an empty list":                         {far, "127.0.0.1", []string{"x-forwarded-for", ""}, "127.0.0.1", 4711, ""},
		"an address with a port":                {far, "127.0.0.1", []string{"x-forwarded-for", "192.0.2.7:99"}, "192.0.2.7", 99, "192.0.2.7:99"},
		"IPv6":                                  {far, "127.0.0.1", []string{"x-forwarded-for", "2001:db8::7"}, "2001:db8::7", 0, "2001:db8::7"},
		"IPv6 in brackets":                      {far, "127.0.0.1", []string{"x-forwarded-for", "[2001:db8::7]:99"}, "2001:db8::7", 99, "[2001:db8::7]:99"},
		"IPv4 in the form of IPv6":              {far, "127.0.0.1", []string{"x-forwarded-for", "::ffff:192.0.2.7"}, "192.0.2.7", 0, "::ffff:192.0.2.7"},
		"a peer that is not trusted":            {far, "192.0.2.9", []string{"x-forwarded-for", "192.0.2.7", "x-real-ip", "192.0.2.7"}, "192.0.2.9", 4711, ""},
		"X-Real-IP":                             {far, "127.0.0.1", []string{"x-real-ip", "192.0.2.7"}, "192.0.2.7", 0, ""},
		"X-Real-IP beside a list":               {far, "127.0.0.1", []string{"x-real-ip", "1.1.1.1", "x-forwarded-for", "192.0.2.7"}, "192.0.2.7", 0, "192.0.2.7"},
		"another name of X-Real-IP":             {middleware.ReverseProxy{RealIPHeader: "CF-Connecting-IP"}, "127.0.0.1", []string{"cf-connecting-ip", "192.0.2.7", "x-real-ip", "1.1.1.1"}, "192.0.2.7", 0, ""},
		"Forwarded is not believed by default":  {far, "127.0.0.1", []string{"forwarded", "for=1.1.1.1", "x-forwarded-for", "192.0.2.7"}, "192.0.2.7", 0, "192.0.2.7"},
		"Forwarded":                             {believing("Forwarded"), "127.0.0.1", []string{"forwarded", `for=1.1.1.1, for="[2001:db8::7]:99";proto=http, for=10.1.1.1`}, "2001:db8::7", 99, `for="[2001:db8::7]:99";proto=http, for=10.1.1.1`},
		"Forwarded goes before the others":      {believing("forwarded", "x-forwarded-for"), "127.0.0.1", []string{"x-forwarded-for", "1.1.1.1", "forwarded", "for=192.0.2.7"}, "192.0.2.7", 0, "for=192.0.2.7192.0.2.7"},
		"an open quote hides no element":        {believing("forwarded"), "127.0.0.1", []string{"forwarded", `for="1.1.1.1, for=192.0.2.7`}, "192.0.2.7", 0, "for=192.0.2.7"},
		"an obfuscated name in Forwarded":       {believing("forwarded"), "127.0.0.1", []string{"forwarded", "for=192.0.2.7, for=_hidden"}, "127.0.0.1", 4711, "for=_hidden"},
		"a list that is not believed":           {believing("x-real-ip"), "127.0.0.1", []string{"x-forwarded-for", "1.1.1.1", "x-real-ip", "192.0.2.7"}, "192.0.2.7", 0, ""},
		"every peer is a proxy":                 {middleware.ReverseProxy{TrustAll: true}, "203.0.113.1", []string{"x-forwarded-for", "1.1.1.1, 192.0.2.7"}, "192.0.2.7", 0, "192.0.2.7"},
		"a peer by a Unix socket":               {middleware.ReverseProxy{}, "", []string{"x-forwarded-for", "192.0.2.7"}, "192.0.2.7", 0, "192.0.2.7"},
		"a Unix socket that is not trusted":     {far, "", []string{"x-forwarded-for", "192.0.2.7"}, "", 0, ""},
	} {
		peer := pagi.Addr{Host: tc.peer}
		if tc.peer != "" {
			peer.Port = 4711
		}
		scope := proxied(t, tc.m, pagi.Scope{Client: peer, Headers: pagi.NewHeaders(tc.headers...)})
		if want := (pagi.Addr{Host: tc.client, Port: tc.port}); scope.Client != want {
			t.Errorf("%s: %v, want %v", name, scope.Client, want)
		}
		if logged, ok := scope.Notes.Client(); ok != (scope.Client != peer) || ok && logged != scope.Client {
			t.Errorf("%s: the log has %v, %v", name, logged, ok)
		}
		if real, ok := scope.Headers.Lookup("x-real-ip"); ok && real != tc.client {
			t.Errorf("%s: the application sees the real IP %q", name, real)
		}
		if kept := scope.Headers.Get("forwarded") + scope.Headers.Joined("x-forwarded-for"); kept != tc.kept {
			t.Errorf("%s: the application sees %q", name, kept)
		}
	}
}

func TestReverseProxyDescribesTheRequest(t *testing.T) {
	type described struct {
		Scheme, Host     string
		Port             int
		Root, Path, URI  string
		OriginalIsKnown  bool
		ForwardedHeaders int
	}
	prefix := middleware.ReverseProxy{Headers: []string{"x-forwarded-prefix"}}
	ssl := middleware.ReverseProxy{Headers: []string{"x-forwarded-ssl", "x-forwarded-proto", "x-forwarded-for"}, TrustedProxies: []string{"127.0.0.1", "10.0.0.1"}}
	for name, tc := range map[string]struct {
		m         middleware.ReverseProxy
		scopeType string
		headers   []string
		want      described
	}{
		"no forwarding headers":         {headers: []string{"host", "a:5000"}, want: described{"http", "a:5000", 5000, "/m", "/p", "/m/p?q", false, 0}},
		"the scheme":                    {headers: []string{"host", "a", "x-forwarded-proto", "HTTPS"}, want: described{"https", "a", 443, "/m", "/p", "/m/p?q", true, 1}},
		"a scheme that is none":         {headers: []string{"host", "a", "x-forwarded-proto", "gopher"}, want: described{"http", "a", 80, "/m", "/p", "/m/p?q", true, 1}},
		"of a WebSocket":                {scopeType: pagi.TypeWebSocket, headers: []string{"host", "a", "x-forwarded-proto", "https"}, want: described{"wss", "a", 443, "/m", "/p", "/m/p?q", true, 1}},
		"of an event stream":            {scopeType: pagi.TypeSSE, headers: []string{"host", "a", "x-forwarded-proto", "wss"}, want: described{"https", "a", 443, "/m", "/p", "/m/p?q", true, 1}},
		"the host":                      {headers: []string{"host", "a:5000", "x-forwarded-host", "www.example.org"}, want: described{"http", "www.example.org", 80, "/m", "/p", "/m/p?q", true, 1}},
		"the host with its port":        {headers: []string{"host", "a", "x-forwarded-host", "b:81"}, want: described{"http", "b:81", 81, "/m", "/p", "/m/p?q", true, 1}},
		"a host that is none":           {headers: []string{"host", "a", "x-forwarded-host", "b/c"}, want: described{"http", "a", 80, "/m", "/p", "/m/p?q", true, 1}},
		"the port":                      {headers: []string{"host", "a", "x-forwarded-port", "8443", "x-forwarded-proto", "https"}, want: described{"https", "a:8443", 8443, "/m", "/p", "/m/p?q", true, 2}},
		"the default port":              {headers: []string{"host", "a", "x-forwarded-port", "443", "x-forwarded-proto", "https"}, want: described{"https", "a", 443, "/m", "/p", "/m/p?q", true, 2}},
		"a port that is none":           {headers: []string{"host", "a", "x-forwarded-port", "0"}, want: described{"http", "a", 80, "/m", "/p", "/m/p?q", true, 1}},
		"a prefix":                      {m: prefix, headers: []string{"host", "a", "x-forwarded-prefix", "/ä b/"}, want: described{"http", "a", 80, "/ä b/m", "/p", "/%C3%A4%20b/m/p?q", true, 1}},
		"a prefix of another host":      {m: prefix, headers: []string{"host", "a", "x-forwarded-prefix", "//evil.example"}, want: described{"http", "a", 80, "/m", "/p", "/m/p?q", true, 1}},
		"a prefix with a backslash":     {m: prefix, headers: []string{"host", "a", "x-forwarded-prefix", "/\\evil.example"}, want: described{"http", "a", 80, "/m", "/p", "/m/p?q", true, 1}},
		"a prefix with encoded slashes": {m: prefix, headers: []string{"host", "a", "x-forwarded-prefix", "/%2fevil.example"}, want: described{"http", "a", 80, "/m", "/p", "/m/p?q", true, 1}},
		"a prefix that leads upwards":   {m: prefix, headers: []string{"host", "a", "x-forwarded-prefix", "/a/../.."}, want: described{"http", "a", 80, "/m", "/p", "/m/p?q", true, 1}},
		"a prefix with a line break":    {m: prefix, headers: []string{"host", "a", "x-forwarded-prefix", "/a%0d%0ab"}, want: described{"http", "a", 80, "/m", "/p", "/m/p?q", true, 1}},
		"a prefix is not believed":      {headers: []string{"host", "a", "x-forwarded-prefix", "/b"}, want: described{"http", "a", 5000, "/m", "/p", "/m/p?q", false, 0}},
		"SSL is not believed":           {headers: []string{"host", "a", "x-forwarded-ssl", "on"}, want: described{"http", "a", 5000, "/m", "/p", "/m/p?q", false, 0}},
		"SSL":                           {m: ssl, headers: []string{"host", "a", "x-forwarded-ssl", "on"}, want: described{"https", "a", 443, "/m", "/p", "/m/p?q", true, 1}},
		"SSL beside a scheme":           {m: ssl, headers: []string{"host", "a", "x-forwarded-ssl", "on", "x-forwarded-proto", "http"}, want: described{"http", "a", 80, "/m", "/p", "/m/p?q", true, 2}},
		"the scheme at the client's place": {m: ssl, headers: []string{"host", "a", "x-forwarded-for", "1.1.1.1, 192.0.2.7, 10.0.0.1", "x-forwarded-proto", "http, https, http"},
			want: described{"https", "a", 443, "/m", "/p", "/m/p?q", true, 2}},
		"the last scheme of another list": {m: ssl, headers: []string{"host", "a", "x-forwarded-for", "192.0.2.7", "x-forwarded-proto", "http, https"},
			want: described{"https", "a", 443, "/m", "/p", "/m/p?q", true, 2}},
		"Forwarded": {m: middleware.ReverseProxy{Headers: []string{"forwarded"}}, headers: []string{"host", "a", "forwarded", `for=1.1.1.1;proto=http;host=evil, for=192.0.2.7;proto=https;host="b:81"`},
			want: described{"https", "b:81", 81, "/m", "/p", "/m/p?q", true, 1}},
	} {
		scope := proxied(t, tc.m, pagi.Scope{
			Type: tc.scopeType, Scheme: map[string]string{pagi.TypeWebSocket: "ws"}[tc.scopeType], Client: pagi.Addr{Host: "127.0.0.1", Port: 1}, Server: pagi.Addr{Host: "127.0.0.1", Port: 5000},
			RootPath: "/m", Path: "/p", RawPath: "/m/p", Target: "/m/p?q", QueryString: "q", Headers: pagi.NewHeaders(tc.headers...),
		})
		got := described{scope.Scheme, scope.Headers.Get("host"), scope.Server.Port, scope.RootPath, scope.Path, scope.RequestURI(), scope.Value(scopekey.OriginalClient) == pagi.Addr{Host: "127.0.0.1", Port: 1}, 0}
		for _, h := range scope.Headers {
			if h.Name != "host" {
				got.ForwardedHeaders++
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// Proxies hand on a header that they do not know.
func TestReverseProxyLetsNoClientMoveItsPathPastALogin(t *testing.T) {
	app := pagi.Chain(answering(pagi.HTTPResponseStart{Status: 200}, pagi.HTTPResponseBody{}),
		middleware.ReverseProxy{}, middleware.Access{Deny: []string{"0.0.0.0/0"}, Paths: []string{"/admin"}})
	res := pagitest.New(app).Get("/admin", pagitest.Header("X-Forwarded-For", "192.0.2.7"), pagitest.Header("X-Forwarded-Prefix", "/x"))
	if res.Err != nil || res.Status != 403 {
		t.Errorf("%v %d", res.Err, res.Status)
	}
}

func TestReverseProxyOptions(t *testing.T) {
	for name, m := range map[string]middleware.ReverseProxy{
		`trusted_proxies: "localhost" is neither an IP address nor a network as 10.0.0.0/8`:                                                                                      {TrustedProxies: []string{"localhost"}},
		`headers: "x-forwarded-by" is none of x-forwarded-for, x-forwarded-proto, x-forwarded-host, x-forwarded-port, x-real-ip, x-forwarded-prefix, x-forwarded-ssl, forwarded`: {Headers: []string{"x-forwarded-by"}},
		`real_ip_header: "a b" is not a header name`: {RealIPHeader: "a b"},
	} {
		if err := m.Check(); err == nil || err.Error() != name {
			t.Errorf("%v, want %s", err, name)
		}
	}
}

// The server's own records name the client.
func TestReverseProxyOverTheTestClient(t *testing.T) {
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		return answering(pagi.HTTPResponseStart{Status: 200}, pagi.HTTPResponseBody{Body: []byte(scope.Client.Host)}).Serve(ctx, scope, nil, send)
	})
	res := pagitest.New(middleware.ReverseProxy{}.Wrap(app)).Get("/", pagitest.Header("X-Forwarded-For", "192.0.2.7"))
	if res.Err != nil || res.Text() != "192.0.2.7" {
		t.Errorf("%v %q", res.Err, res.Text())
	}
}
