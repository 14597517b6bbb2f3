package engine_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
)

func TestScopeOfRequest(t *testing.T) {
	type want struct {
		method, version, path, raw, query string
		headers                           pagi.Headers
	}
	host := pagi.Header{Name: "host", Value: "example.org"}
	tests := []struct {
		name, request string
		want          want
	}{
		{"plain request", "GET /a/b?x=1&y=%20 HTTP/1.1\r\nHost: example.org\r\n\r\n",
			want{"GET", "1.1", "/a/b", "/a/b", "x=1&y=%20", pagi.Headers{host}}},
		{"escaped path is decoded, raw path is not", "GET /caf%C3%A9/a%2Fb HTTP/1.1\r\nHost: example.org\r\n\r\n",
			want{"GET", "1.1", "/café/a/b", "/caf%C3%A9/a%2Fb", "", pagi.Headers{host}}},
		{"path that is not UTF-8 stands as its bytes", "GET /%ff%fe HTTP/1.1\r\nHost: example.org\r\n\r\n",
			want{"GET", "1.1", "/\xff\xfe", "/%ff%fe", "", pagi.Headers{host}}},
		{"absolute form", "GET http://example.org/x?q HTTP/1.1\r\nHost: other\r\n\r\n",
			want{"GET", "1.1", "/x", "/x", "q", pagi.Headers{host}}},
		{"an empty query", "GET /menu? HTTP/1.1\r\nHost: example.org\r\n\r\n",
			want{"GET", "1.1", "/menu", "/menu", "", pagi.Headers{host}}},
		{"an address in the query", "GET /x?http://example.org HTTP/1.1\r\nHost: example.org\r\n\r\n",
			want{"GET", "1.1", "/x", "/x", "http://example.org", pagi.Headers{host}}},
		{"absolute form without a path", "GET http://example.org HTTP/1.1\r\nHost: other\r\n\r\n",
			want{"GET", "1.1", "/", "", "", pagi.Headers{host}}},
		{"absolute form with a query alone", "GET http://example.org?q HTTP/1.1\r\nHost: other\r\n\r\n",
			want{"GET", "1.1", "/", "/", "q", pagi.Headers{host}}},
		{"asterisk form", "OPTIONS * HTTP/1.1\r\nHost: example.org\r\n\r\n",
			want{"OPTIONS", "1.1", "*", "*", "", pagi.Headers{host}}},
		{"two slashes in front", "GET //a//b HTTP/1.1\r\nHost: example.org\r\n\r\n",
			want{"GET", "1.1", "//a//b", "//a//b", "", pagi.Headers{host}}},
		{"HTTP/1.0 without a host", "GET / HTTP/1.0\r\n\r\n",
			want{"GET", "1.0", "/", "/", "", pagi.Headers{}}},
		{"headers: lower case, by name, duplicates in order",
			"GET / HTTP/1.1\r\nX-B: 1\r\nHost: example.org\r\nX-A: z\r\nX-B: 2\r\nAccept: */*\r\n\r\n",
			want{"GET", "1.1", "/", "/", "", pagi.Headers{host, {Name: "accept", Value: "*/*"}, {Name: "x-a", Value: "z"}, {Name: "x-b", Value: "1"}, {Name: "x-b", Value: "2"}}}},
		{"cookies become one", "GET / HTTP/1.1\r\nHost: example.org\r\nCookie: a=1\r\nCookie: b=2; c=3\r\n\r\n",
			want{"GET", "1.1", "/", "/", "", pagi.Headers{host, {Name: "cookie", Value: "a=1; b=2; c=3"}}}},
		{"content-length stays", "POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 2\r\n\r\nab",
			want{"POST", "1.1", "/", "/", "", pagi.Headers{host, {Name: "content-length", Value: "2"}}}},
		{"transfer-encoding goes", "POST / HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			want{"POST", "1.1", "/", "/", "", pagi.Headers{host}}},
	}
	if OtherEngine != nil { // which keeps the client's order
		for i := range tests {
			if strings.HasPrefix(tests[i].name, "headers:") {
				tests[i].want.headers = pagi.Headers{{Name: "x-b", Value: "1"}, host, {Name: "x-a", Value: "z"}, {Name: "x-b", Value: "2"}, {Name: "accept", Value: "*/*"}}
			}
		}
	}
	scopes := make(chan *pagi.Scope, 1)
	x := serve(t, engine.Handler{}, func(c *call) error {
		scopes <- c.scope
		return c.reply("")
	})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := x.dial()
			c.Say(tt.request)
			s := testkit.Await(t, scopes)
			got := want{s.Method, s.HTTPVersion, s.Path, s.RawPath, s.QueryString, s.Headers}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Error(diff)
			}
			_, sent, _ := strings.Cut(tt.request, " ")
			sent, _, _ = strings.Cut(sent, " ")
			want := strings.TrimPrefix(sent, "http://example.org")
			if want == "" || want[0] == '?' {
				want = "/" + want
			}
			if s.RequestURI() != want {
				t.Errorf("the target is %q, want %q", s.RequestURI(), want)
			}
			client := c.LocalAddr().(*net.TCPAddr)
			server := c.RemoteAddr().(*net.TCPAddr)
			if s.Client != (pagi.Addr{Host: "127.0.0.1", Port: client.Port}) || s.Server != (pagi.Addr{Host: "127.0.0.1", Port: server.Port}) {
				t.Errorf("client %v, server %v", s.Client, s.Server)
			}
			if s.Type != pagi.TypeHTTP || s.Scheme != "http" || s.PAGI.Version != "0.3" || s.RootPath != "" || s.State != nil ||
				s.TLS() != nil || !s.HasExtension(pagi.ExtFullFlush) || !s.HasExtension(pagi.ExtInformational) || s.Connection == nil {
				t.Errorf("scope %+v", s)
			}
		})
	}
}

func TestScopeBelowStripPrefix(t *testing.T) {
	for _, tt := range []struct{ target, path, root string }{
		{"/app/x/y", "/x/y", "/app"},
		{"/app/", "/", "/app"},
		{"/app", "", "/app"},
		{"/app?", "", "/app"},
		{"/app/caf%C3%A9", "/café", "/app"},
	} {
		t.Run(tt.target, func(t *testing.T) {
			var got *pagi.Scope
			app := pagi.AppFunc(func(_ ctx, s *pagi.Scope, _ pagi.Receive, _ pagi.Send) error { got = s; return nil })
			r, err := http.NewRequest("GET", tt.target, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.RequestURI = tt.target
			http.StripPrefix("/app", &nethttp.Adapter{Engine: &engine.Handler{App: app, Logger: discard}}).ServeHTTP(&nullWriter{http.Header{}}, r)
			raw, _, _ := strings.Cut(tt.target, "?")
			if got.Path != tt.path || got.RootPath != tt.root || got.RawPath != raw || got.RequestURI() != tt.target {
				t.Errorf("path %q, root path %q, raw path %q", got.Path, got.RootPath, got.RawPath)
			}
		})
	}
}

func TestStateIsCopiedPerRequest(t *testing.T) {
	shared := map[string]any{"db": "pool"}
	x := serve(t, engine.Handler{State: func() map[string]any { return shared }}, func(c *call) error {
		old := fmt.Sprint(c.scope.State["db"], c.scope.State["mine"])
		c.scope.State["mine"] = "set"
		return c.reply(old)
	})
	for range 2 {
		c := x.dial()
		c.Say("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, body := c.Response("GET"); body != "pool<nil>" {
			t.Errorf("state %q", body)
		}
	}
}

func TestRequestsTurnedDown(t *testing.T) {
	x := serve(t, engine.Handler{Limits: engine.Limits{MaxHeaderCount: 4, MaxBodySize: 10}}, func(c *call) error {
		t.Error("the application was called")
		return nil
	})
	for _, tt := range []struct {
		name, request string
		status        int
		log           []string
	}{
		{"too many headers", "GET /h HTTP/1.1\r\nHost: x\r\nA: 1\r\nA: 2\r\nB: 3\r\nC: 4\r\n\r\n", 431, []string{"--max-header-count", "path=/h"}},
		{"announced body is too large", "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n", 413, []string{"--max-body-size", "path=/b"}},
		{"tunnel", "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n", 501, nil},
		{"opaque target", "GET a:b HTTP/1.1\r\nHost: x\r\n\r\n", 400, nil},
		{"asterisk without OPTIONS", "GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := x.dial()
			c.Say(tt.request)
			res, _ := c.Response("GET")
			if res.StatusCode != tt.status || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
				t.Errorf("response %v", res)
			}
			c.Closed()
			if rec := x.record(); rec.Status != tt.status {
				t.Errorf("record %+v", rec)
			}
			if tt.log != nil {
				x.log.WaitFor(t, tt.log...)
			}
		})
	}
}
