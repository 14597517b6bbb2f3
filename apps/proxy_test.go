package apps_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// backend starts a server and returns its URL.
func backend(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.URL
}

// inBubble runs f as a subtest in a bubble of synctest. Time passes there only while all wait.
func inBubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// rawBackend starts a server that answers with what answer writes.
func rawBackend(t testing.TB, answer func(net.Conn, *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go answerAll(l, answer)
	return "http://" + l.Addr().String()
}

// answerAll serves connections until the listener is closed, and all of them have ended.
func answerAll(l net.Listener, answer func(net.Conn, *bufio.Reader)) {
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		conns.Go(func() {
			defer conn.Close()
			answer(conn, bufio.NewReader(conn))
		})
	}
}

// head reads the head of a request.
func head(r *bufio.Reader) string {
	var all strings.Builder
	for {
		line, err := r.ReadString('\n')
		all.WriteString(line)
		if err != nil || line == "\r\n" {
			return all.String()
		}
	}
}

// says answers each request with text, and closes.
func says(text string) func(net.Conn, *bufio.Reader) {
	return func(conn net.Conn, r *bufio.Reader) {
		head(r)
		_, _ = io.WriteString(conn, text) // a proxy that has left needs no answer
	}
}

// unusedPort returns the URL of a port at which no server listens, as long as the test runs.
func unusedPort(t testing.TB) string {
	t.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(socket) }) // nothing was written to it
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint("http://127.0.0.1:", name.(*syscall.SockaddrInet4).Port)
}

// quiet is a logger for tests in which a backend fails.
var quiet = slog.New(slog.DiscardHandler)

// mounted returns a client for an application below a path.
func mounted(path string, app pagi.App) *pagitest.Client {
	return pagitest.New(&apps.URLMap{Mounts: []apps.Mount{{Path: path, App: app}}})
}

func ExampleProxy() {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.URL.Path, "for", r.Header.Get("X-Forwarded-Host"))
	}))
	defer app.Close()
	client := pagitest.New(&apps.URLMap{Mounts: []apps.Mount{
		{Path: "/shop", App: &apps.Proxy{To: []string{app.URL}}},
	}})
	fmt.Print(client.Get("/shop/cart").Text())
	// Output: /cart for testserver
}

func TestProxyPassesRequestsAndResponses(t *testing.T) {
	url := backend(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		w.Header().Set("X-Saw", fmt.Sprintf("%s %s %d %q", r.Method, r.RequestURI, r.ContentLength, body))
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprint(w, "short")
	})
	c := pagitest.New(&apps.Proxy{To: []string{url}})
	for _, tt := range []struct {
		method, target string
		options        []pagitest.Option
		saw            string
	}{
		{"GET", "/a?b=c", nil, `GET /a?b=c 0 ""`},
		{"GET", "/?", nil, `GET /? 0 ""`},
		{"HEAD", "/", nil, `HEAD / 0 ""`},
		{"POST", "/", []pagitest.Option{pagitest.Body("hello")}, `POST / 5 "hello"`},
		{"POST", "/", nil, `POST / 0 ""`},
		{"POST", "/", []pagitest.Option{pagitest.Chunks("one", "two")}, `POST / -1 "onetwo"`},
		{"DELETE", "/", nil, `DELETE / 0 ""`},
		{"PROPFIND", "/", []pagitest.Option{pagitest.Body("<x/>")}, `PROPFIND / 4 "<x/>"`},
	} {
		res := c.Do(tt.method, tt.target, tt.options...)
		body, cookies := "short", []string{}
		if tt.method == "HEAD" {
			body = ""
		}
		for value := range res.Headers.Values("set-cookie") {
			cookies = append(cookies, value)
		}
		if res.Err != nil || res.Status != http.StatusTeapot || res.Text() != body || res.Header("x-saw") != tt.saw || !cmp.Equal(cookies, []string{"a=1", "b=2"}) {
			t.Errorf("%s %s: %v %d %q %q %v, want %q", tt.method, tt.target, res.Err, res.Status, res.Text(), res.Header("x-saw"), cookies, tt.saw)
		}
	}
}

func TestProxyKeepsThePathAsTheClientHasSentIt(t *testing.T) {
	saw := make(chan string, 1)
	url := backend(t, func(_ http.ResponseWriter, r *http.Request) { saw <- r.Host + " " + r.RequestURI })
	for _, tt := range []struct{ mount, prefix, target, want string }{
		{"/", "", "/a%2Fb", "/a%2Fb"},
		{"/", "", "/a/../b", "/a/../b"},
		{"/", "", "/a/%2e%2E/b", "/a/%2e%2E/b"},
		{"/", "", "//evil.example/x", "//evil.example/x"},
		{"/", "", "/%2f%2Fevil.example", "/%2f%2Fevil.example"},
		{"/", "", "/@evil.example/", "/@evil.example/"},
		{"/", "", "/a;b=c,d/%41%20", "/a;b=c,d/%41%20"},
		{"/", "", "/caf%C3%A9?q=%zz&x=\"", "/caf%C3%A9?q=%zz&x=\""},
		{"/shop", "", "/shop/cart/", "/cart/"},
		{"/shop", "/api", "/shop/cart", "/api/cart"},
		{"/shop", "/api", "/shop", "/api"},
		{"/shop", "/shop/", "/shop/cart", "/shop/cart"},
		{"/shop", "/a%2Fb", "/shop/c%2Fd", "/a%2Fb/c%2Fd"},
		{"/shop", "/api", "/%73hop/c%2Fd", "/api/c%2Fd"},
		{"/caf\u00e9", "", "/caf%C3%A9/x%2Fy", "/x%2Fy"},
	} {
		res := mounted(tt.mount, &apps.Proxy{To: []string{url + tt.prefix}}).Get(tt.target)
		if res.Err != nil || res.Status != 200 {
			t.Errorf("%s: %d %v", tt.target, res.Status, res.Err)
			continue
		}
		if got := <-saw; got != "testserver "+tt.want {
			t.Errorf("%s below %s to %s: %s, want %s", tt.target, tt.mount, tt.prefix, got, tt.want)
		}
	}
}

func TestProxyRefusesWhatItMustNotPassOn(t *testing.T) {
	pagitest.InMemory(t, "the server refuses most of these itself")
	url := backend(t, func(http.ResponseWriter, *http.Request) { t.Error("the backend was asked") })
	c := mounted("/shop", &apps.Proxy{To: []string{url + "/public"}})
	edit := func(f func(*pagi.Scope)) []pagitest.Option { return []pagitest.Option{pagitest.Edit(f)} }
	for name, tt := range map[string]struct {
		method, target string
		options        []pagitest.Option
		status         int
	}{
		"TRACE":                                 {"TRACE", "/shop/", nil, 405},
		"CONNECT":                               {"CONNECT", "/shop/", nil, 405},
		"a path that climbs":                    {"GET", "/shop/../admin", nil, 400},
		"a path that climbs, encoded":           {"GET", "/shop/%2e%2e/admin", nil, 400},
		"a path that climbs late":               {"GET", "/shop/a/../../admin", nil, 400},
		"a path that climbs by encoded slashes": {"GET", "/shop/a%2f..%2f..%2fadmin", nil, 400},
		"a path that climbs by backslashes":     {"GET", `/shop/..%5cadmin`, nil, 400},
		"a host that is none":                   {"GET", "/shop/", []pagitest.Option{pagitest.Header("host", "a b")}, 400},
		"two lengths": {"POST", "/shop/", edit(func(s *pagi.Scope) {
			s.Headers = append(s.Headers, pagi.NewHeaders("content-length", "3", "content-length", "4")...)
		}), 400},
		"a length that is none":        {"POST", "/shop/", edit(func(s *pagi.Scope) { s.Headers = append(s.Headers, pagi.NewHeaders("content-length", "+3")...) }), 400},
		"a header with a line break":   {"GET", "/shop/", edit(func(s *pagi.Scope) { s.Headers = append(s.Headers, pagi.NewHeaders("x", "a\r\nb: c")...) }), 400},
		"a method that is none":        {"GET", "/shop/", edit(func(s *pagi.Scope) { s.Method = "GET /x" }), 400},
		"OPTIONS that goes no further": {"OPTIONS", "/shop/", []pagitest.Option{pagitest.Header("max-forwards", "0")}, 200},
	} {
		if res := c.Do(tt.method, tt.target, tt.options...); res.Status != tt.status {
			t.Errorf("%s: %d %v, want %d", name, res.Status, res.Err, tt.status)
		}
	}
}

func TestProxyTheMountItselfHasASlash(t *testing.T) {
	url := backend(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Method, r.RequestURI) })
	c := mounted("/shop", &apps.Proxy{To: []string{url}})
	if res := c.Get("/shop?x"); res.Status != 301 || res.Header("location") != "shop/?x" {
		t.Errorf("%d %s", res.Status, res.Header("location"))
	}
	c.Post("/shop").Expect(t, 200, "POST/")
}

func TestProxyHeadersOfRequests(t *testing.T) {
	saw := make(chan http.Header, 1)
	url := backend(t, func(_ http.ResponseWriter, r *http.Request) {
		h := r.Header.Clone()
		h.Set("Host", r.Host)
		saw <- h
	})
	behind := func(client, peer string) pagitest.Option {
		return pagitest.Edit(func(s *pagi.Scope) {
			*s = *s.With(scopekey.OriginalClient, pagi.Addr{Host: peer})
			s.Client = pagi.Addr{Host: client}
		})
	}
	from := func(host string) pagitest.Option {
		return pagitest.Edit(func(s *pagi.Scope) { s.Client = pagi.Addr{Host: host} })
	}
	h := pagitest.Header
	for _, tt := range []struct {
		name    string
		proxy   *apps.Proxy
		options []pagitest.Option
		want    map[string]string // "": it must not be there
	}{
		{"the backend is told of the client", &apps.Proxy{}, []pagitest.Option{from("192.0.2.1")}, map[string]string{
			"Host": "testserver", "X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "testserver",
			"X-Forwarded-Prefix": "/shop", "User-Agent": "", "Accept-Encoding": "", "Via": "",
		}},
		{"a client cannot forge that", &apps.Proxy{}, []pagitest.Option{
			from("192.0.2.1"), h("x-forwarded-for", "10.0.0.1"), h("x-forwarded-proto", "https"), h("x-forwarded-host", "evil"), h("x-forwarded-prefix", "/evil"),
			h("x-forwarded-port", "1"), h("x-forwarded-ssl", "on"), h("x-real-ip", "10.0.0.1"), h("forwarded", "for=10.0.0.1"), h("x_forwarded_for", "10.0.0.1"), h("x-forwarded_for", "10.0.0.1"),
			h("x-forwarded-user", "root"),
		}, map[string]string{
			"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "testserver", "X-Forwarded-Prefix": "/shop", "X-Forwarded-Port": "",
			"X-Forwarded-Ssl": "", "X-Real-Ip": "", "Forwarded": "", "X_forwarded_for": "", "X-Forwarded_for": "", "X-Forwarded-User": "",
		}},
		{"a client cannot remove that", &apps.Proxy{}, []pagitest.Option{from("192.0.2.1"), h("connection", "x-forwarded-for, x-mine, close"), h("x-mine", "1")}, map[string]string{
			"X-Forwarded-For": "192.0.2.1", "X-Mine": "", "Connection": "",
		}},
		{"what a trusted proxy has left is continued", &apps.Proxy{}, []pagitest.Option{
			behind("192.0.2.1", "10.1.1.1"), h("x-forwarded-for", "192.0.2.1, 10.2.2.2"), h("x-forwarded-port", "8443"), h("x-forwarded-proto", "gopher"), h("forwarded", "for=x"),
		}, map[string]string{
			"X-Forwarded-For": "192.0.2.1, 10.2.2.2, 10.1.1.1", "X-Forwarded-Port": "8443", "X-Forwarded-Proto": "http", "Forwarded": "",
		}},
		{"a trusted proxy that has named the client otherwise", &apps.Proxy{}, []pagitest.Option{behind("192.0.2.1", "10.1.1.1")}, map[string]string{"X-Forwarded-For": "192.0.2.1, 10.1.1.1"}},
		{"a client on a Unix socket has no address", &apps.Proxy{}, []pagitest.Option{from("/run/x.sock")}, map[string]string{"X-Forwarded-For": ""}},
		{"headers of the connection stay here", &apps.Proxy{}, []pagitest.Option{
			h("connection", "keep-alive, upgrade, http2-settings"), h("keep-alive", "timeout=5"), h("upgrade", "h2c"), h("http2-settings", "x"), h("te", "gzip, trailers;q=1"),
			h("proxy-authorization", "Basic x"), h("proxy-connection", "close"),
		}, map[string]string{"Connection": "", "Keep-Alive": "", "Upgrade": "", "Http2-Settings": "", "Te": "trailers", "Proxy-Authorization": "", "Proxy-Connection": ""}},
		{"other headers pass", &apps.Proxy{}, []pagitest.Option{h("authorization", "Basic x"), h("cookie", "a=b"), h("user-agent", "me"), h("accept-encoding", "br"), h("x-twice", "1"), h("x-twice", "2")}, map[string]string{
			"Authorization": "Basic x", "Cookie": "a=b", "User-Agent": "me", "Accept-Encoding": "br", "X-Twice": "1, 2",
		}},
		{"rules", &apps.Proxy{ProxyHeaders: apps.ProxyHeaders{RequestHeaders: apps.ProxyHeaderRules{
			Unset: []string{"cookie"}, Set: map[string]string{"x-token": "secret", "host": "inner.example"}, Add: map[string]string{"x-twice": "2"},
		}}}, []pagitest.Option{h("cookie", "a=b"), h("x-token", "mine"), h("x-twice", "1")}, map[string]string{
			"Cookie": "", "X-Token": "secret", "X-Twice": "1, 2", "Host": "inner.example", "X-Forwarded-Host": "testserver",
		}},
		{"rules with wildcards and placeholders", &apps.Proxy{ProxyHeaders: apps.ProxyHeaders{RequestHeaders: apps.ProxyHeaderRules{
			Unset: []string{"X-Internal-*"},
			Set:   map[string]string{"x-real-ip": "{client}", "x-line": "{method} {scheme}://{host}{path}?{query}", "x-json": `{"a": {}}`},
			Add:   map[string]string{"x-agent": "<{header:User-Agent}>", "x-none": "<{header:x-none-such}>"},
		}}}, []pagitest.Option{from("192.0.2.1"), h("x-internal-user", "root"), h("x-internal-", "1"), h("x-internal", "stays"), h("user-agent", "me")}, map[string]string{
			"X-Internal-User": "", "X-Internal-": "", "X-Internal": "stays", "X-Real-Ip": "192.0.2.1", "X-Line": "GET http://testserver/shop/?", "X-Json": `{"a": {}}`,
			"X-Agent": "<me>", "X-None": "<>",
		}},
		{"bytes of a header that are not UTF-8", &apps.Proxy{ProxyHeaders: apps.ProxyHeaders{RequestHeaders: apps.ProxyHeaderRules{Set: map[string]string{"x-copy": "<{header:x-name}>"}}}},
			[]pagitest.Option{h("x-name", "Zo\xeb")}, map[string]string{"X-Name": "Zo\xeb", "X-Copy": "<Zo\xeb>"}},
		{"the host of the backend", &apps.Proxy{ProxyHeaders: apps.ProxyHeaders{SendHost: "backend"}}, nil, map[string]string{"Host": strings.TrimPrefix(url, "http://"), "X-Forwarded-Host": "testserver"}},
		{"another host", &apps.Proxy{ProxyHeaders: apps.ProxyHeaders{SendHost: "app.example:8080"}}, nil, map[string]string{"Host": "app.example:8080"}},
		{"via", &apps.Proxy{ProxyHeaders: apps.ProxyHeaders{Via: "edge"}}, []pagitest.Option{h("via", "1.0 first")}, map[string]string{"Via": "1.0 first, 1.1 edge"}},
	} {
		tt.proxy.To = []string{url}
		res := mounted("/shop", tt.proxy).Get("/shop/", tt.options...)
		if res.Err != nil || res.Status != 200 {
			t.Errorf("%s: %d %v", tt.name, res.Status, res.Err)
			continue
		}
		got := <-saw
		for name, want := range tt.want {
			if values := strings.Join(got.Values(name), ", "); values != want {
				t.Errorf("%s: %s is %q, want %q", tt.name, name, values, want)
			}
		}
	}
}

func TestProxyHeadersOfResponses(t *testing.T) {
	var answer http.Header
	url := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		for name, values := range answer {
			w.Header()[name] = values
		}
	})
	for _, tt := range []struct {
		name       string
		headers    apps.ProxyHeaders
		prefix     string
		name1      string
		sent, want string
	}{
		{"a header of the application", apps.ProxyHeaders{}, "", "X-Mine", "1", "1"},
		{"the server's name", apps.ProxyHeaders{}, "", "Server", "gunicorn", "gunicorn"},
		{"the date", apps.ProxyHeaders{}, "", "Date", "Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"},
		{"keep-alive", apps.ProxyHeaders{}, "", "Keep-Alive", "timeout=5", ""},
		{"upgrade", apps.ProxyHeaders{}, "", "Upgrade", "h2c", ""},
		{"a rule that sets", apps.ProxyHeaders{ResponseHeaders: apps.ProxyHeaderRules{Set: map[string]string{"X-Mine": "2"}}}, "", "X-Mine", "1", "2"},
		{"a rule that adds", apps.ProxyHeaders{ResponseHeaders: apps.ProxyHeaderRules{Add: map[string]string{"X-Mine": "2"}}}, "", "X-Mine", "1", "1, 2"},
		{"a rule that removes", apps.ProxyHeaders{ResponseHeaders: apps.ProxyHeaderRules{Unset: []string{"x-mine"}}}, "", "X-Mine", "1", ""},
		{"a rule that removes all of a kind", apps.ProxyHeaders{ResponseHeaders: apps.ProxyHeaderRules{Unset: []string{"X-*"}}}, "", "X-Mine", "1", ""},
		{"a rule with a placeholder", apps.ProxyHeaders{ResponseHeaders: apps.ProxyHeaderRules{Set: map[string]string{"X-Mine": "{host}{path}"}}}, "", "X-Mine", "1", "testserver/shop/"},
		{"via", apps.ProxyHeaders{Via: "edge"}, "", "Via", "1.1 inner", "1.1 inner, 1.1 edge"},

		{"a location on the backend", apps.ProxyHeaders{}, "", "Location", url + "/a?b#c", "/shop/a?b#c"},
		{"a location on the backend without a path", apps.ProxyHeaders{}, "", "Location", url, "/shop/"},
		{"a location on the backend below its prefix", apps.ProxyHeaders{}, "/api", "Location", url + "/api/a", "/shop/a"},
		{"a location on the backend outside its prefix", apps.ProxyHeaders{}, "/api", "Location", url + "/other", "/other"},
		{"a location on the backend with two slashes", apps.ProxyHeaders{}, "/shop", "Location", url + "//evil.example", "/evil.example"},
		{"a path", apps.ProxyHeaders{}, "", "Location", "/a", "/shop/a"},
		{"a path below the mount", apps.ProxyHeaders{}, "", "Location", "/shop/a", "/shop/a"},
		{"a path of another mount", apps.ProxyHeaders{}, "/shop", "Location", "/login", "/login"},
		{"a relative location", apps.ProxyHeaders{}, "", "Location", "a", "a"},
		{"a location on the client's host", apps.ProxyHeaders{}, "", "Location", "http://testserver/a?b", "http://testserver/shop/a?b"},
		{"a location on the client's host by https", apps.ProxyHeaders{}, "", "Location", "https://testserver/a", "https://testserver/a"},
		{"a location elsewhere", apps.ProxyHeaders{}, "", "Location", "https://example.com/a", "https://example.com/a"},
		{"a location that is left alone", apps.ProxyHeaders{KeepLocation: true}, "", "Location", url + "/a", url + "/a"},

		{"a cookie", apps.ProxyHeaders{}, "", "Set-Cookie", "a=b; Path=/x; Domain=127.0.0.1", "a=b; Path=/x; Domain=127.0.0.1"},
		{"a cookie that is moved", apps.ProxyHeaders{RewriteCookies: true}, "", "Set-Cookie", "a=b; Path=/x; HttpOnly; domain=127.0.0.1", "a=b; Path=/shop/x; HttpOnly"},
		{"a cookie of the mount", apps.ProxyHeaders{RewriteCookies: true}, "/api", "Set-Cookie", "a=b; path=/api; Secure", "a=b; Path=/shop; Secure"},
		{"a cookie of another host", apps.ProxyHeaders{RewriteCookies: true}, "", "Set-Cookie", "a=b; Domain=example.com", "a=b; Domain=example.com"},
	} {
		answer = http.Header{tt.name1: {tt.sent}}
		res := mounted("/shop", &apps.Proxy{To: []string{url + tt.prefix}, ProxyHeaders: tt.headers}).Get("/shop/")
		if got := res.Headers.Joined(tt.name1); res.Err != nil || res.Status != 200 || got != tt.want && !(tt.name1 == "Date" && got == "") {
			t.Errorf("%s: %d %v %q, want %q", tt.name, res.Status, res.Err, got, tt.want)
		}
	}
}

func TestProxyEventStreams(t *testing.T) {
	next := make(chan string)
	url := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		fmt.Fprintf(w, ": hello\n\nid: %s\ndata: 0\n\n", r.Header.Get("Last-Event-ID"))
		w.(http.Flusher).Flush()
		for data := range next {
			fmt.Fprintf(w, "event: tick\nretry: 1000\ndata: %s\n\n", data)
			w.(http.Flusher).Flush()
		}
	})
	events := pagitest.New(&apps.Proxy{To: []string{url}, ProxyLimits: apps.ProxyLimits{IdleTimeout: time.Nanosecond}}).Events("/", pagitest.Header("last-event-id", "7"))
	if e, ok := events.Next(); !ok || e.Data != "0" || e.ID != "7" {
		t.Errorf("%+v %v", e, ok)
	}
	next <- "1"
	if e, ok := events.Next(); !ok || e.Event != "tick" || e.Data != "1" || e.Retry != time.Second {
		t.Errorf("%+v %v", e, ok)
	}
	close(next)
	if res := events.Finish(); res.Err != nil || res.Status != 200 || res.Header("content-type") != "text/event-stream; charset=utf-8" {
		t.Errorf("%d %v %v", res.Status, res.Err, res.Headers)
	}
}

func TestProxyStreamsBothWaysAtOnce(t *testing.T) {
	url := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		w.(http.Flusher).Flush()
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(buf[:n])
			w.(http.Flusher).Flush()
			if err != nil {
				return
			}
		}
	})
	x := pagitest.New(&apps.Proxy{To: []string{url}}).Begin("POST", "/", pagitest.Stream())
	if ev, ok := x.Next(); !ok || ev.(pagi.HTTPResponseStart).Status != 200 {
		t.Fatalf("%v", ev)
	}
	for _, word := range []string{"one", "two", "three"} {
		if err := x.Write(word); err != nil {
			t.Fatal(err)
		}
		got := ""
		for got != word {
			ev, ok := x.Next()
			if !ok {
				t.Fatalf("the response ends after %q", got)
			}
			got += string(ev.(pagi.HTTPResponseBody).Body)
		}
	}
	if err := x.CloseBody(); err != nil {
		t.Error(err)
	}
	if res := x.Finish(); res.Err != nil || res.Text() != "onetwothree" {
		t.Errorf("%q %v", res.Text(), res.Err)
	}
}

func TestProxyTrailers(t *testing.T) {
	url := backend(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "X-Sum")
		fmt.Fprint(w, "body")
		w.(http.Flusher).Flush()
		w.Header().Set("X-Sum", "got "+r.Trailer.Get("X-Check"))
		w.Header().Set(http.TrailerPrefix+"X-Late", "1")
	})
	c := pagitest.New(&apps.Proxy{To: []string{url}})
	res := c.Post("/", pagitest.Chunks("a", "b"), pagitest.Trailer("x-check", "ok"), pagitest.Header("te", "trailers"), pagitest.Header("trailer", "x-check"))
	if res.Err != nil || res.Text() != "body" || res.Trailers.Get("x-sum") != "got ok" {
		t.Errorf("%q %v %v", res.Text(), res.Trailers, res.Err)
	}
}

func TestProxyInterimResponses(t *testing.T) {
	url := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		fmt.Fprint(w, "body")
	})
	res := pagitest.New(&apps.Proxy{To: []string{url}}).Get("/")
	if res.Err != nil || len(res.Informational) != 1 || res.Informational[0].Status != 103 || res.Informational[0].Headers.Get("link") == "" || res.Header("link") != "" || res.Text() != "body" {
		t.Errorf("%v %v %v", res.Informational, res.Headers, res.Err)
	}
}

func TestProxyByOtherProtocols(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintln(w, r.Proto, r.Host, r.RequestURI, string(body), err)
	})
	secure := httptest.NewUnstartedServer(handler)
	secure.EnableHTTP2 = true
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // the handshakes that fail are wanted
	secure.StartTLS()
	t.Cleanup(secure.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	pair := testkit.Certificate(t)
	own := httptest.NewUnstartedServer(handler)
	own.Config.ErrorLog = secure.Config.ErrorLog
	if err := os.WriteFile(ca, []byte(pair.PEM), 0o600); err != nil {
		t.Fatal(err)
	}
	own.EnableHTTP2 = true
	own.TLS = tlsOf(t, pair)
	own.StartTLS()
	t.Cleanup(own.Close)
	plain := httptest.NewUnstartedServer(handler)
	plain.Config.Protocols = new(http.Protocols)
	plain.Config.Protocols.SetUnencryptedHTTP2(true)
	plain.Start()
	t.Cleanup(plain.Close)
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	local := &httptest.Server{Listener: l, Config: &http.Server{Handler: handler}}
	local.Start()
	t.Cleanup(local.Close)
	for _, tt := range []struct {
		name   string
		proxy  *apps.Proxy
		status int
		want   string
	}{
		{"HTTP/2 over TLS", &apps.Proxy{To: []string{own.URL}, ProxyTLS: apps.ProxyTLS{CA: ca}}, 200, "HTTP/2.0 testserver /x hello <nil>"},
		{"TLS with a certificate that no authority has signed", &apps.Proxy{To: []string{secure.URL}, Logger: quiet}, 502, "Bad Gateway"},
		{"TLS with a certificate for another host", &apps.Proxy{To: []string{own.URL}, ProxyTLS: apps.ProxyTLS{CA: ca, ServerName: "other"}, Logger: quiet}, 502, "Bad Gateway"},
		{"h2c", &apps.Proxy{To: []string{"h2c" + strings.TrimPrefix(plain.URL, "http")}}, 200, "HTTP/2.0 testserver /x hello <nil>"},
		{"a Unix socket", &apps.Proxy{To: []string{"unix:" + socket}}, 200, "HTTP/1.1 testserver /x hello <nil>"},
		{"a Unix socket with a prefix", &apps.Proxy{To: []string{"unix:" + socket + ":/p"}, ProxyHeaders: apps.ProxyHeaders{SendHost: "backend"}}, 200, "HTTP/1.1 localhost /p/x hello <nil>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pagitest.New(tt.proxy).Post("/x", pagitest.Chunks("he", "llo")).Expect(t, tt.status, tt.want)
		})
	}
}

func TestProxyCheck(t *testing.T) {
	for want, p := range map[string]*apps.Proxy{
		"to: is missing":                                   {},
		"must begin with http://":                          {To: []string{"ftp://x"}},
		"does not name a host":                             {To: []string{"http:///x"}},
		"must not have a query":                            {To: []string{"http://x/?a"}},
		"must not contain a password":                      {To: []string{"http://me:secret@x/"}},
		"must begin with a slash":                          {To: []string{"unix:run/x.sock"}},
		"not by \"weight=0\"":                              {To: []string{"http://x weight=0"}},
		"is given twice":                                   {To: []string{"http://x", "http://x weight=2"}},
		"has another path":                                 {To: []string{"http://x/a", "http://y/b"}},
		"balance: must be":                                 {To: []string{"http://x"}, ProxyBalance: apps.ProxyBalance{Balance: "random"}},
		"hash_by: must be client":                          {To: []string{"http://x"}, ProxyBalance: apps.ProxyBalance{Balance: "hash", HashBy: "path"}},
		"hash_by: has no effect":                           {To: []string{"http://x"}, ProxyBalance: apps.ProxyBalance{HashBy: "cookie:a"}},
		"tries: must not be negative":                      {To: []string{"http://x"}, ProxyBalance: apps.ProxyBalance{Tries: -1}},
		"health_path: \"x\" must begin":                    {To: []string{"http://x"}, ProxyHealth: apps.ProxyHealth{HealthPath: "x"}},
		"health_status: must hold":                         {To: []string{"http://x"}, ProxyHealth: apps.ProxyHealth{HealthStatus: []int{100}}},
		"health_interval: must not be negative":            {To: []string{"http://x"}, ProxyHealth: apps.ProxyHealth{HealthInterval: -1}},
		"send_host: must be":                               {To: []string{"http://x"}, ProxyHeaders: apps.ProxyHeaders{SendHost: "a b"}},
		"via: \"a b\" must be":                             {To: []string{"http://x"}, ProxyHeaders: apps.ProxyHeaders{Via: "a b"}},
		"request_headers: \"a b\" is not":                  {To: []string{"http://x"}, ProxyHeaders: apps.ProxyHeaders{RequestHeaders: apps.ProxyHeaderRules{Unset: []string{"a b"}}}},
		"response_headers: Connection must not":            {To: []string{"http://x"}, ProxyHeaders: apps.ProxyHeaders{ResponseHeaders: apps.ProxyHeaderRules{Set: map[string]string{"Connection": "x"}}}},
		"request_headers: Content-Length must not":         {To: []string{"http://x"}, ProxyHeaders: apps.ProxyHeaders{RequestHeaders: apps.ProxyHeaderRules{Add: map[string]string{"Content-Length": "1"}}}},
		"request_headers: \"a\\r\\nb\" must not":           {To: []string{"http://x"}, ProxyHeaders: apps.ProxyHeaders{RequestHeaders: apps.ProxyHeaderRules{Set: map[string]string{"x": "a\r\nb"}}}},
		"must have a port":                                 {To: []string{"fastcgi://x"}},
		"and no path":                                      {To: []string{"fastcgi://x:9000/a"}},
		"a path cannot follow":                             {To: []string{"fastcgi+unix:/run/s:/a"}},
		"either all backends speak FastCGI":                {To: []string{"fastcgi://x:9000", "http://y:9000"}},
		"health_path: is for":                              {To: []string{"fastcgi://x:9000"}, ProxyHealth: apps.ProxyHealth{HealthPath: "/"}},
		"to: must be fastcgi://":                           {To: []string{"http://x"}, ProxyFastCGI: apps.ProxyFastCGI{Root: "/srv"}},
		"root: must be set":                                {To: []string{"fastcgi://x:9000"}, ProxyFastCGI: apps.ProxyFastCGI{SplitPath: ".php"}},
		"root: \"srv\" must begin":                         {To: []string{"fastcgi://x:9000"}, ProxyFastCGI: apps.ProxyFastCGI{Root: "srv"}},
		"index: \"a/b\" must be":                           {To: []string{"fastcgi://x:9000"}, ProxyFastCGI: apps.ProxyFastCGI{Root: "/srv", Index: "a/b"}},
		"params: \"A=B\" is not":                           {To: []string{"fastcgi://x:9000"}, ProxyFastCGI: apps.ProxyFastCGI{Params: map[string]string{"A=B": "c"}}},
		"X-*: a * may stand":                               {To: []string{"http://x"}, ProxyHeaders: apps.ProxyHeaders{RequestHeaders: apps.ProxyHeaderRules{Set: map[string]string{"X-*": "1"}}}},
		"*: a * may stand":                                 {To: []string{"http://x"}, ProxyHeaders: apps.ProxyHeaders{RequestHeaders: apps.ProxyHeaderRules{Unset: []string{"*"}}}},
		"there is no placeholder {user}":                   {To: []string{"http://x"}, ProxyHeaders: apps.ProxyHeaders{RequestHeaders: apps.ProxyHeaderRules{Set: map[string]string{"x": "{user}"}}}},
		"params: MODE: there is no placeholder {secret}":   {To: []string{"fastcgi://x:9000"}, ProxyFastCGI: apps.ProxyFastCGI{Params: map[string]string{"MODE": "{secret}"}}},
		"there is no placeholder {header:}":                {To: []string{"http://x"}, ProxyHeaders: apps.ProxyHeaders{RequestHeaders: apps.ProxyHeaderRules{Set: map[string]string{"x": "{header:}"}}}},
		"ping_interval: must not be negative":              {To: []string{"http://x"}, ProxyLimits: apps.ProxyLimits{PingInterval: -1}},
		"connect_timeout: must not be negative":            {To: []string{"http://x"}, ProxyLimits: apps.ProxyLimits{ConnectTimeout: -1}},
		"max_idle_conns: must not be negative":             {To: []string{"http://x"}, ProxyLimits: apps.ProxyLimits{MaxIdleConns: -1}},
		"max_message_size: must not be negative":           {To: []string{"http://x"}, ProxyLimits: apps.ProxyLimits{MaxMessageSize: -1}},
		"ca: open /nowhere: no such file":                  {To: []string{"https://x"}, ProxyTLS: apps.ProxyTLS{CA: "/nowhere"}},
		"ca: proxy_test.go: there is no certificate in it": {To: []string{"https://x"}, ProxyTLS: apps.ProxyTLS{CA: "proxy_test.go"}},
	} {
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if res := pagitest.New(p).Get("/"); res.Status != 500 {
			t.Errorf("%s: %d", want, res.Status)
		}
	}
	ok := apps.Proxy{To: []string{"http://a:1/x/", "https://b/x weight=3", "h2c://[::1]:80/x", "unix:/run/s:/x"}}
	if err := ok.Check(); err != nil {
		t.Error(err)
	}
	fast := apps.Proxy{To: []string{"fastcgi://a:9000", "fastcgi+unix:/run/s weight=2"}, ProxyFastCGI: apps.ProxyFastCGI{Root: "/srv", SplitPath: ".php", Index: "index.php"}}
	if err := fast.Check(); err != nil {
		t.Error(err)
	}
	if err := ok.Serve(t.Context(), &pagi.Scope{Type: pagi.TypeSSE}, nil, nil); !errors.Is(err, pagi.ErrUnsupported) {
		t.Errorf("an sse scope: %v", err)
	}
}

func tlsOf(t testing.TB, pair *testkit.Pair) *tls.Config {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}
