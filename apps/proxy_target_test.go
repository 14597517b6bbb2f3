package apps

import (
	"bufio"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/apps/internal/upstream"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Whatever a client asks for, the request goes to the backend, and the path is the one asked for.
func FuzzProxyTarget(f *testing.F) {
	for _, seed := range []string{"/", "", "/a%2Fb", "//evil.example/x", "/@evil", "/%2f%2fevil", "/a b", "/\xff", "/a?b", "/%zz", "/%", "/shop/%2e%2e", "/caf\u00e9", "/\"<>{}|^`"} {
		f.Add("", "", seed, "q=1")
		f.Add("/shop", "/api/%2F", seed, "//x?\x7f#")
	}
	f.Fuzz(func(t *testing.T, root, prefix, raw, query string) {
		b, err := upstream.Parse("http://backend.example:81" + prefix)
		if err != nil || root != "" && root[0] != '/' {
			return
		}
		path, err := url.PathUnescape(raw)
		if err != nil || path != "" && path[0] != '/' {
			return
		}
		scope := &pagi.Scope{Path: path, RootPath: root, RawPath: (&url.URL{Path: root}).EscapedPath() + raw, QueryString: query}
		req := &http.Request{Method: "GET", URL: target(scope, b), Host: "client.example"}
		var wire strings.Builder
		if err := req.Write(&wire); err != nil {
			t.Fatalf("%v", err)
		}
		got, err := http.ReadRequest(bufio.NewReader(strings.NewReader(wire.String())))
		if err != nil {
			t.Fatalf("%q: %v", wire.String(), err)
		}
		want := b.URL.Path + path
		if want == "" {
			want = "/"
		}
		if req.URL.Host != "backend.example:81" || got.Host != "client.example" || !strings.HasPrefix(got.RequestURI, "/") || len(got.Header) > 1 {
			t.Errorf("%q", wire.String())
		}
		if sent, _, _ := strings.Cut(got.RequestURI, "?"); decoded(t, sent) != want {
			t.Errorf("%q is asked for as %q, want %q", raw, sent, want)
		}
	})
}

func decoded(t *testing.T, raw string) string {
	t.Helper()
	path, err := url.PathUnescape(raw)
	if err != nil {
		t.Error(err)
	}
	return path
}

// A location that the proxy has changed stays on the client's host.
func FuzzProxyLocation(f *testing.F) {
	for _, seed := range []string{"/", "//evil", "http://backend.example:81//evil", "http://backend.example:81/\\evil", "http://client.example//evil", "/api//evil", "a", "", "http:///", "/\t/evil", "\\\\evil", "///0 "} {
		f.Add("", "/api", seed)
		f.Add("/shop", "", seed)
	}
	p := &proxy{}
	f.Fuzz(func(t *testing.T, root, prefix, value string) {
		b, err := upstream.Parse("http://backend.example:81" + prefix)
		if err != nil || root != "" && (root[0] != '/' || strings.HasPrefix(root, "//")) || strings.ContainsFunc(root, func(r rune) bool { return r < ' ' || r == '\\' }) {
			return
		}
		scope := &pagi.Scope{Scheme: "http", Path: "/", RootPath: strings.TrimRight(root, "/"), Headers: pagi.NewHeaders("host", "client.example")}
		got := p.location(scope, b, value)
		if got == value {
			return
		}
		base := &url.URL{Scheme: "http", Host: "client.example", Path: "/x"}
		u, err := base.Parse(got)
		if err != nil || u.Host != "client.example" && !strings.EqualFold(u.Host, "client.example") || strings.HasPrefix(got, "//") || strings.HasPrefix(got, `/\`) {
			t.Errorf("%q becomes %q: %v", value, got, err)
		}
		_ = cookie(scope, b, value) // must not panic
	})
}

func TestClimbs(t *testing.T) {
	for path, want := range map[string]bool{
		"": false, "/": false, "/a/..": false, "/a/../..": true, "/..": true, "/../a": true, "/./..": true, "/.../x": false, `/a\..\..`: true, "//..": true, "/a//../b": false, "/..a": false,
	} {
		if climbs(path) != want {
			t.Errorf("%q", path)
		}
	}
}
