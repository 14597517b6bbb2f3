//go:build unix

package cgi

import (
	"crypto/tls"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// environment parses what env.cgi wrote.
func environment(t testing.TB, res *result) map[string]string {
	t.Helper()
	if res.err != nil || res.status != 200 {
		t.Fatalf("env.cgi: %d, %v", res.status, res.err)
	}
	env := map[string]string{}
	for pair := range strings.SplitSeq(strings.TrimSuffix(res.body, "\x00"), "\x00") {
		name, value, _ := strings.Cut(pair, "=")
		if _, twice := env[name]; twice {
			t.Errorf("%s is there twice", name)
		}
		env[name] = value
	}
	return env
}

// clearEnv empties this process's environment for the test, but for PATH.
func clearEnv(t *testing.T) {
	t.Helper()
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		if name != "PATH" {
			t.Setenv(name, value) // restores it
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestTheEnvironmentIsExactlyThis(t *testing.T) {
	clearEnv(t)
	t.Setenv("PATH", "/usr/bin:/bin")
	t.Setenv("TZ", "UTC")
	t.Setenv("LANG", "C.UTF-8")
	t.Setenv("SECRET_TOKEN", "do not leak")
	t.Setenv("PERL5LIB", "/opt/perl")
	root, err := filepath.Abs(scripts)
	if err != nil {
		t.Fatal(err)
	}
	base := map[string]string{
		"GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_METHOD": "GET", "QUERY_STRING": "", "REQUEST_URI": "/cgi-bin/env.cgi",
		"SCRIPT_NAME": "/cgi-bin/env.cgi", "SCRIPT_FILENAME": root + "/env.cgi",
		"SERVER_NAME": "example.org", "SERVER_PORT": "8080", "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_SOFTWARE": "pagi-bridge",
		"SERVER_ADDR": "192.0.2.1", "REMOTE_ADDR": "192.0.2.7", "REMOTE_HOST": "192.0.2.7", "REMOTE_PORT": "40001",
		"HTTP_HOST": "example.org", "PATH": "/usr/bin:/bin", "TZ": "UTC",
	}
	with := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for k, v := range base {
			m[k] = v
		}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	docs := t.TempDir()
	for name, c := range map[string]struct {
		options CGI
		req     ask
		want    map[string]string
	}{
		"a plain GET": {CGI{}, ask{target: "/cgi-bin/env.cgi"}, base},
		"a query and a path": {CGI{},
			ask{target: "/cgi-bin/env.cgi/a%20b/c?x=%20&y"},
			with("PATH_INFO", "/a b/c", "QUERY_STRING", "x=%20&y", "REQUEST_URI", "/cgi-bin/env.cgi/a%20b/c?x=%20&y")},
		"an empty query": {CGI{}, ask{target: "/cgi-bin/env.cgi?"}, with("REQUEST_URI", "/cgi-bin/env.cgi?")},
		"a document root": {CGI{DocumentRoot: docs},
			ask{target: "/cgi-bin/env.cgi/a%20b"},
			with("PATH_INFO", "/a b", "REQUEST_URI", "/cgi-bin/env.cgi/a%20b", "DOCUMENT_ROOT", docs, "PATH_TRANSLATED", docs+"/a b")},
		"a document root, no path": {CGI{DocumentRoot: docs}, ask{target: "/cgi-bin/env.cgi"}, with("DOCUMENT_ROOT", docs)},
		"a body": {CGI{},
			ask{method: "POST", target: "/cgi-bin/env.cgi", body: "a=b", headers: pagi.NewHeaders("content-type", "application/x-www-form-urlencoded")},
			with("REQUEST_METHOD", "POST", "CONTENT_LENGTH", "3", "CONTENT_TYPE", "application/x-www-form-urlencoded")},
		"an announced empty body": {CGI{},
			ask{method: "POST", target: "/cgi-bin/env.cgi", headers: pagi.NewHeaders("content-length", "0")},
			with("REQUEST_METHOD", "POST", "CONTENT_LENGTH", "0")},
		"a chunked body":                      {CGI{}, ask{method: "POST", target: "/cgi-bin/env.cgi", body: "abcd", chunked: true}, with("REQUEST_METHOD", "POST", "CONTENT_LENGTH", "4")},
		"a chunked body that is not taken in": {CGI{BodyBuffer: -1}, ask{method: "POST", target: "/cgi-bin/env.cgi", body: "abcd", chunked: true}, with("REQUEST_METHOD", "POST")},
		"headers": {CGI{},
			ask{target: "/cgi-bin/env.cgi", headers: pagi.NewHeaders("cookie", "a=b; c=d", "accept", "text/html", "accept", "*/*", "x-thing", "é")},
			with("HTTP_COOKIE", "a=b; c=d", "HTTP_ACCEPT", "text/html, */*", "HTTP_X_THING", "é")},
		"headers that are never passed": {CGI{},
			ask{target: "/cgi-bin/env.cgi", headers: pagi.NewHeaders("proxy", "http://evil", "x_forwarded_for", "1.2.3.4",
				"authorization", "Basic c2VjcmV0", "a=b", "x", "transfer-encoding", "chunked")}, base},
		"credentials when asked for": {CGI{Authorization: true},
			ask{target: "/cgi-bin/env.cgi", headers: pagi.NewHeaders("authorization", "Basic x")}, with("HTTP_AUTHORIZATION", "Basic x")},
		"the keeper's address": {CGI{ServerAdmin: "web@example.org"}, ask{target: "/cgi-bin/env.cgi"}, with("SERVER_ADMIN", "web@example.org")},
		"own variables win": {CGI{Env: map[string]string{"SERVER_NAME": "mine", "EXTRA": "1"}, PassEnv: []string{"PERL5LIB", "NOT_SET"}, ServerSoftware: "x/1"},
			ask{target: "/cgi-bin/env.cgi"},
			with("SERVER_NAME", "mine", "EXTRA", "1", "PERL5LIB", "/opt/perl", "SERVER_SOFTWARE", "x/1")},
	} {
		t.Run(name, func(t *testing.T) {
			c.req.root = "/cgi-bin"
			got := environment(t, do(t, build(t, c.options), c.req))
			if len(got["UNIQUE_ID"]) != 24 {
				t.Errorf("UNIQUE_ID is %q", got["UNIQUE_ID"])
			}
			delete(got, "UNIQUE_ID")
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPathHasASafeDefault(t *testing.T) {
	t.Setenv("PATH", "")
	if got := environment(t, do(t, build(t, CGI{}), ask{target: "/env.cgi"}))["PATH"]; got != defaultPath {
		t.Errorf("PATH is %q", got)
	}
}

func TestUnknownAddressesAndHTTPS(t *testing.T) {
	scope := ask{target: "/env.cgi"}.scope()
	scope.Scheme, scope.Client, scope.Server = "https", pagi.Addr{}, pagi.Addr{Host: "/run/site.sock"}
	res := &result{}
	res.err = build(t, CGI{}).Serve(t.Context(), scope, ask{}.receive(), res.take(pagi.TypeHTTP))
	env := environment(t, res)
	if env["HTTPS"] != "on" || env["SERVER_PORT"] != "443" {
		t.Errorf("HTTPS %q, SERVER_PORT %q", env["HTTPS"], env["SERVER_PORT"])
	}
	for _, name := range []string{"SERVER_ADDR", "REMOTE_PORT", "REMOTE_HOST"} {
		if value, there := env[name]; there {
			t.Errorf("%s is %q", name, value)
		}
	}
}

func TestPathTranslatedStaysBelowTheDocumentRoot(t *testing.T) {
	a := &app{CGI: CGI{DocumentRoot: "/srv/www"}}
	for info, want := range map[string]string{"/a/../../../etc/passwd": "/srv/www/etc/passwd", "/": "/srv/www", "//x": "/srv/www/x"} {
		env := a.environ(ask{}.scope(), script{info: info}, -1)
		if got := "PATH_TRANSLATED=" + want; !slices.Contains(env, got) {
			t.Errorf("%s: no %q in %q", info, got, env)
		}
	}
}

func TestADirectoryDescriptorsAndArgumentsOfAScript(t *testing.T) {
	root, err := filepath.Abs(scripts)
	if err != nil {
		t.Fatal(err)
	}
	application := build(t, CGI{})
	// A query without "=" could be command line arguments by RFC 3875 section 4.4.
	if res := do(t, application, ask{target: "/where.cgi?-s+x"}); res.body != root+"\n"+root+"/where.cgi\n\n" {
		t.Errorf("working directory, name and arguments: %q", res.body)
	}
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("needs /proc")
	}
	inherited, err := os.Open(scripts) // close-on-exec undone: as if inherited
	if err != nil {
		t.Fatal(err)
	}
	defer inherited.Close()
	keepOnExec(t, inherited)
	application = build(t, CGI{})
	for _, req := range []ask{{target: "/fds.cgi"}, {method: "POST", target: "/fds.cgi", body: "x"}} {
		if res := do(t, application, req); res.body != "0 1 2\n" {
			t.Errorf("%s: descriptors %q", req.method, res.body)
		}
	}
}

// serveScope serves a scope that request cannot describe.
func serveScope(t *testing.T, scope *pagi.Scope) *result {
	t.Helper()
	res := &result{}
	res.err = build(t, CGI{}).Serve(t.Context(), scope, ask{}.receive(), res.take(pagi.TypeHTTP))
	return res
}

func TestIDsAreUniqueAndTheMiddlewaresGoFirst(t *testing.T) {
	scope := ask{target: "/env.cgi"}.scope()
	first := environment(t, serveScope(t, scope))["UNIQUE_ID"]
	if second := environment(t, serveScope(t, scope))["UNIQUE_ID"]; first == second || first == "" {
		t.Errorf("%q and then %q", first, second)
	}
	if id := environment(t, serveScope(t, scope.With("request_id", "from-the-middleware")))["UNIQUE_ID"]; id != "from-the-middleware" {
		t.Errorf("UNIQUE_ID is %q", id)
	}
}

func TestWhoIsAuthenticated(t *testing.T) {
	for name, c := range map[string]struct {
		auth       any
		kind, user string
	}{
		"nobody":             {nil, "", ""},
		"basic":              {pagi.Auth{Type: "basic", Username: "zoë"}, "Basic", "zoë"},
		"a token, no name":   {pagi.Auth{Type: "bearer"}, "Bearer", ""},
		"something else":     {"zoë", "", ""},
		"a name with NUL":    {pagi.Auth{Type: "basic", Username: "a\x00b"}, "Basic", ""},
		"a name with equals": {pagi.Auth{Type: "basic", Username: "a=b\nc"}, "Basic", "a=b\nc"},
	} {
		scope := ask{target: "/env.cgi", headers: pagi.NewHeaders("remote-user", "forged", "auth-type", "forged", "remote_user", "forged")}.scope()
		if c.auth != nil {
			scope = scope.With(pagi.AuthKey, c.auth)
		}
		env := environment(t, serveScope(t, scope))
		if env["AUTH_TYPE"] != c.kind || env["REMOTE_USER"] != c.user {
			t.Errorf("%s: %q %q", name, env["AUTH_TYPE"], env["REMOTE_USER"])
		}
	}
}

// A client that sends the headers of an authenticated user by itself has no identity. The middleware
// says who it is, and only for the paths that it protects.
func TestAuthenticationOfTheMiddleware(t *testing.T) {
	forged := []string{"remote-user", "root", "x-remote-user", "root", "auth-type", "Basic", "remote_user", "root", "auth_type", "Basic"}
	users, tokens := map[string]string{"zoë": "{PLAIN}a:b"}, map[string]string{"ci": "0123456789abcdef"}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("zoë:a:b"))
	for name, c := range map[string]struct {
		m             pagi.Middleware
		authorization string
		status        int
		kind, user    string
	}{
		"nobody":                   {middleware.BasicAuth{Users: users}, "", 401, "", ""},
		"a user":                   {middleware.BasicAuth{Users: users}, basic, 200, "Basic", "zoë"},
		"a wrong password":         {middleware.BasicAuth{Users: users}, basic + "YQ==", 401, "", ""},
		"a path that is open":      {middleware.BasicAuth{Users: users, Paths: []string{"/other"}}, basic, 200, "", ""},
		"a token":                  {middleware.BearerAuth{Tokens: tokens}, "Bearer 0123456789abcdef", 200, "Bearer", "ci"},
		"an open path and a token": {middleware.BearerAuth{Tokens: tokens, Paths: []string{"/other"}}, "Bearer 0123456789abcdef", 200, "", ""},
	} {
		headers := pagi.NewHeaders(forged...)
		if c.authorization != "" {
			headers.Add("authorization", c.authorization)
		}
		res := do(t, c.m.Wrap(build(t, CGI{})), ask{target: "/env.cgi", headers: headers})
		if res.status != c.status {
			t.Errorf("%s: %d %v", name, res.status, res.err)
		}
		if res.status != 200 {
			continue
		}
		env := environment(t, res)
		if env["AUTH_TYPE"] != c.kind || env["REMOTE_USER"] != c.user || env["HTTP_AUTHORIZATION"] != "" || env["HTTP_REMOTE_USER"] != "root" {
			t.Errorf("%s: %q %q %q %q", name, env["AUTH_TYPE"], env["REMOTE_USER"], env["HTTP_AUTHORIZATION"], env["HTTP_REMOTE_USER"])
		}
	}
}

func TestVariablesOfTLS(t *testing.T) {
	scope := func(state *pagi.TLS) *pagi.Scope {
		s := ask{target: "/env.cgi"}.scope()
		s.Scheme, s.Extensions = "https", map[string]any{pagi.ExtTLS: state}
		return s
	}
	certificate := testkit.Certificate(t).PEM
	for name, c := range map[string]struct {
		state *pagi.TLS
		want  map[string]string
	}{
		"TLS 1.3": {&pagi.TLS{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256},
			map[string]string{"SSL_PROTOCOL": "TLSv1.3", "SSL_CIPHER": "TLS_AES_128_GCM_SHA256", "SSL_CIPHER_USEKEYSIZE": "128", "SSL_CLIENT_VERIFY": "NONE", "SSL_CLIENT_S_DN": ""}},
		"TLS 1.2": {&pagi.TLS{Version: tls.VersionTLS12, CipherSuite: tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384},
			map[string]string{"SSL_PROTOCOL": "TLSv1.2", "SSL_CIPHER": "ECDHE-RSA-AES256-GCM-SHA384", "SSL_CIPHER_USEKEYSIZE": "256"}},
		"TLS 1.0": {&pagi.TLS{Version: tls.VersionTLS10, CipherSuite: tls.TLS_RSA_WITH_AES_128_CBC_SHA},
			map[string]string{"SSL_PROTOCOL": "TLSv1", "SSL_CIPHER": "AES128-SHA"}},
		"a client's certificate": {&pagi.TLS{Version: tls.VersionTLS13, CipherSuite: tls.TLS_CHACHA20_POLY1305_SHA256, ClientCertChain: []string{certificate}, ClientCertName: "CN=Zoë"},
			map[string]string{"SSL_CLIENT_VERIFY": "SUCCESS", "SSL_CLIENT_S_DN": "CN=Zoë", "SSL_CLIENT_M_SERIAL": "1", "SSL_CIPHER_ALGKEYSIZE": "256"}},
		"one that was not verified": {&pagi.TLS{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, ClientCertChain: []string{"nonsense"}, ClientCertName: "CN=x", ClientCertError: "expired"},
			map[string]string{"SSL_CLIENT_VERIFY": "FAILED:expired", "SSL_CLIENT_S_DN": "CN=x", "SSL_CLIENT_M_SERIAL": ""}},
	} {
		env := environment(t, serveScope(t, scope(c.state)))
		for variable, want := range c.want {
			if env[variable] != want {
				t.Errorf("%s: %s is %q, want %q", name, variable, env[variable], want)
			}
		}
	}
}
