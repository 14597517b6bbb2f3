package request_test

import (
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

func TestHost(t *testing.T) {
	for header, want := range map[string]string{
		"example.com": "example.com", "Example.COM:8080": "example.com:8080", "[::1]:80": "[::1]:80", "192.0.2.7": "192.0.2.7",
		"a_b.example": "a_b.example", "example.com:": "example.com:", // what RFC 3986 allows

		"": "[2001:db8::1]:8443", "evil.com/@x": "[2001:db8::1]:8443", "a b": "[2001:db8::1]:8443", "a:b": "[2001:db8::1]:8443",
		"a:99999": "[2001:db8::1]:8443", "[::1": "[2001:db8::1]:8443", "[x]": "[2001:db8::1]:8443", "user@host": "[2001:db8::1]:8443", "a:+1": "[2001:db8::1]:8443",
	} {
		scope := &pagi.Scope{Type: pagi.TypeHTTP, Scheme: "https", Headers: pagi.NewHeaders("host", header), Server: pagi.Addr{Host: "2001:db8::1", Port: 8443}}
		if got := request.New(t.Context(), scope, nil).Host(); got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
	for want, scope := range map[string]*pagi.Scope{
		"localhost":    {Scheme: "http", Server: pagi.Addr{Host: "/run/app.sock"}},
		"192.0.2.1":    {Scheme: "ws", Server: pagi.Addr{Host: "192.0.2.1", Port: 80}},
		"192.0.2.2":    {Scheme: "wss", Server: pagi.Addr{Host: "192.0.2.2", Port: 443}},
		"192.0.2.3:80": {Scheme: "https", Server: pagi.Addr{Host: "192.0.2.3", Port: 80}},
	} {
		if got := request.New(t.Context(), scope, nil).Host(); got != want {
			t.Errorf("%+v: %q, want %q", scope.Server, got, want)
		}
	}
}

func TestURLIsWhatTheClientAskedFor(t *testing.T) {
	for want, scope := range map[string]*pagi.Scope{
		"http://h/app/a%2Fb?x=1": {Scheme: "http", RootPath: "/app", Path: "/a/b", RawPath: "/app/a%2Fb", Target: "/app/a%2Fb?x=1", QueryString: "x=1"},
		"http://h/menu?":         {Scheme: "http", Path: "/menu", RawPath: "/menu", Target: "/menu?"},
		"https://h/app/%C3%A9":   {Scheme: "https", RootPath: "/app", Path: "/é"},
		"wss://h/chat?room=1":    {Scheme: "wss", Path: "/chat", QueryString: "room=1"},
		"http://h/a%25b":         {Scheme: "http", Path: "/a%b", RawPath: "/a%b", Target: "/a%b"}, // malformed: encoded anew
	} {
		scope.Headers = pagi.NewHeaders("host", "h")
		if got := request.New(t.Context(), scope, nil).URL().String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestURLFor(t *testing.T) {
	r := request.New(t.Context(), &pagi.Scope{Scheme: "https", RootPath: "/my app", Headers: pagi.NewHeaders("host", "h:8443")}, nil)
	if got, want := r.URLFor("/a b/é", "q", "x&y", "q", "=", "", "").String(), "https://h:8443/my%20app/a%20b/%C3%A9?q=x%26y&q=%3D&="; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := r.URLFor("//evil.com/").String(); got != "https://h:8443/my%20app//evil.com/" {
		t.Errorf("%q", got)
	}
}
