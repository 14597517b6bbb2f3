package pagitest_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// setting answers with a Set-Cookie header for each line of the header x-set, and the cookies it
// got as the body.
func setting(ctx context.Context, s *pagi.Scope, r pagi.Receive, send pagi.Send) error {
	ev := start()
	for line := range s.Headers.Values("x-set") {
		ev.Headers.Add("set-cookie", line)
	}
	return sending(ev, body(s.Headers.Get("cookie")))(ctx, s, r, send)
}

func TestCookiesAsABrowserHasThem(t *testing.T) {
	for name, tt := range map[string]struct {
		set    []string
		from   string // the URL that sets them
		to     string // the URL that gets them
		cookie string
	}{
		"a plain one":                    {[]string{"a=1"}, "http://x.org/", "http://x.org/", "a=1"},
		"the default path":               {[]string{"a=1"}, "http://x.org/p/q", "http://x.org/p/r", "a=1"},
		"above the default path":         {[]string{"a=1"}, "http://x.org/p/q", "http://x.org/", ""},
		"a path that is none":            {[]string{"a=1; Path=q"}, "http://x.org/p/q", "http://x.org/p/", "a=1"},
		"a host only one, below":         {[]string{"a=1"}, "http://x.org/", "http://www.x.org/", ""},
		"a domain, below":                {[]string{"a=1; Domain=x.org"}, "http://x.org/", "http://www.x.org/", "a=1"},
		"a domain with a dot":            {[]string{"a=1; Domain=.X.org"}, "http://www.x.org/", "http://x.org/", "a=1"},
		"a foreign domain":               {[]string{"a=1; Domain=y.org"}, "http://x.org/", "http://y.org/", ""},
		"a domain that ends alike":       {[]string{"a=1; Domain=x.org"}, "http://x.org/", "http://notx.org/", ""},
		"a domain below the host":        {[]string{"a=1; Domain=www.x.org"}, "http://x.org/", "http://www.x.org/", ""},
		"a domain of all":                {[]string{"a=1; Domain=org"}, "http://x.org/", "http://x.org/", ""},
		"the domain of a host by number": {[]string{"a=1; Domain=0.0.1"}, "http://127.0.0.1/", "http://127.0.0.1/", ""},
		"a port is no part of the host":  {[]string{"a=1"}, "http://x.org:81/", "http://x.org:82/", "a=1"},
		"a secure one over https":        {[]string{"a=1; Secure"}, "https://x.org/", "https://x.org/", "a=1"},
		"a secure one over http":         {[]string{"a=1; Secure"}, "https://x.org/", "http://x.org/", ""},
		"deleted by Max-Age":             {[]string{"a=1", "a=; Max-Age=0"}, "http://x.org/", "http://x.org/", ""},
		"deleted by Expires":             {[]string{"a=1", "a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"}, "http://x.org/", "http://x.org/", ""},
		"Max-Age before Expires":         {[]string{"a=1; Max-Age=9; Expires=Thu, 01 Jan 1970 00:00:00 GMT"}, "http://x.org/", "http://x.org/", "a=1"},
		"not deleted on another path":    {[]string{"a=1", "a=; Path=/p; Max-Age=0"}, "http://x.org/", "http://x.org/p", "a=1"},
		"replaced, in its place":         {[]string{"a=1", "b=2", "a=3"}, "http://x.org/", "http://x.org/", "a=3; b=2"},
		"longer paths first":             {[]string{"a=1", "b=2; Path=/p"}, "http://x.org/", "http://x.org/p/q", "b=2; a=1"},
		"__Host- as it must be":          {[]string{"__Host-a=1; Secure; Path=/"}, "https://x.org/", "https://x.org/", "__Host-a=1"},
		"__Host- with a domain":          {[]string{"__Host-a=1; Secure; Path=/; Domain=x.org"}, "https://x.org/", "https://x.org/", ""},
		"__Host- without a path":         {[]string{"__Host-a=1; Secure"}, "https://x.org/", "https://x.org/", ""},
		"__Secure- that is not":          {[]string{"__Secure-a=1"}, "https://x.org/", "https://x.org/", ""},
		"one that is too long":           {[]string{"a=" + strings.Repeat("x", 4096)}, "http://x.org/", "http://x.org/", ""},
		"malformed ones":                 {[]string{"", "=1", "a b=1", "c", "b=2"}, "http://x.org/", "http://x.org/", "b=2"},
	} {
		t.Run(name, func(t *testing.T) {
			c := client(setting)
			get := func(url string, opts ...pagitest.Option) *pagitest.Response {
				scheme, rest, _ := strings.Cut(url, "://")
				host, path, _ := strings.Cut(rest, "/")
				c.Scheme, c.Host = scheme, host
				return c.Get("/"+path, opts...)
			}
			var opts []pagitest.Option
			for _, line := range tt.set {
				opts = append(opts, pagitest.Header("x-set", line))
			}
			get(tt.from, opts...)
			if res := get(tt.to); res.Err != nil || res.Text() != tt.cookie {
				t.Errorf("got %q, want %q, %v", res.Text(), tt.cookie, res.Err)
			}
		})
	}
}

func TestCookiesExpire(t *testing.T) {
	pagitest.InMemory(t, "the time is the test's")
	synctest.Test(t, func(t *testing.T) {
		c := client(setting)
		c.Get("/", pagitest.Header("x-set", "a=1; Max-Age=10"), pagitest.Header("x-set", "b=2"))
		time.Sleep(9 * time.Second)
		if res := c.Get("/"); res.Text() != "a=1; b=2" || c.Cookie("a") != "1" {
			t.Error(res.Text())
		}
		time.Sleep(time.Second)
		if res := c.Get("/"); res.Text() != "b=2" || c.Cookie("a") != "" {
			t.Error(res.Text())
		}
	})
}

func TestCookiesOfAWebSocket(t *testing.T) {
	c := client(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		return send(ctx, pagi.WebSocketAccept{Headers: pagi.NewHeaders("set-cookie", "seen="+s.Headers.Get("cookie"))})
	})
	c.SetCookie("a", "1")
	if err := c.WebSocket("/").Finish(); err != nil || c.Cookie("seen") != "a=1" {
		t.Errorf("%v, %q", err, c.Cookie("seen"))
	}
}
