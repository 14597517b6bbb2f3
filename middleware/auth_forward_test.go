package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func ExampleAuthForward() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cookie") != "session=1" {
			http.Redirect(w, r, "https://login.example/?to="+r.Header.Get("X-Forwarded-Uri"), http.StatusFound)
			return
		}
		w.Header().Set("Remote-User", "ann")
	}))
	defer server.Close()
	app := middleware.AuthForward{URL: server.URL}.Wrap(whoami)
	c := pagitest.New(app)
	res := c.Get("/menu", pagitest.Header("remote-user", "root"))
	fmt.Println(res.Status, res.Header("location"))
	fmt.Println(c.Get("/menu", pagitest.Header("remote-user", "root"), pagitest.Header("cookie", "session=1")).Text())
	// Output:
	// 302 https://login.example/?to=/menu
	// forward ann
}

// authServer answers as a function says, and counts.
func authServer(t testing.TB, answer http.HandlerFunc) (url string, asked *atomic.Int32) {
	t.Helper()
	asked = new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

var silent = slog.New(slog.DiscardHandler)

func TestAuthForwardDecides(t *testing.T) {
	var answer atomic.Pointer[http.HandlerFunc]
	url, asked := authServer(t, func(w http.ResponseWriter, r *http.Request) { (*answer.Load())(w, r) })
	status := func(code int, pairs ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(pairs); i += 2 {
				w.Header().Add(pairs[i], pairs[i+1])
			}
			w.WriteHeader(code)
			if code != 204 && code != 304 {
				fmt.Fprint(w, "the server says no")
			}
		}
	}
	forged := []pagitest.Option{pagitest.Header("remote-user", "root"), pagitest.Header("Remote-User", "root")}
	const late = " takes too long" // the names of the cases in which the limit must pass
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"200 with a user":     {status(200, "Remote-User", "ann"), "forward ann"},
		"204 with a user":     {status(204, "Remote-User", "zoë"), "forward zoë"},
		"202 without a user":  {status(202), "nobody"},
		"an empty user":       {status(200, "Remote-User", ""), "nobody"},
		"two users":           {status(200, "Remote-User", "ann", "Remote-User", "root"), "502"},
		"401":                 {status(401, "WWW-Authenticate", "Basic"), "401"},
		"403":                 {status(403), "403"},
		"a redirect":          {status(302, "Location", url+"/other"), "302"},
		"another redirect":    {status(307, "Location", "https://login"), "307"},
		"404 decides nothing": {status(404, "Remote-User", "ann"), "502"},
		"400 decides nothing": {status(400), "502"},
		"500":                 {status(500), "502"},
		"300":                 {status(300), "502"},
		"304":                 {status(304), "502"},
		"a user with a 403":   {status(403, "Remote-User", "ann"), "403"},
		"a body that is too large": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(403)
			_, _ = w.Write(make([]byte, 1<<20+1))
		}, "502"},
		"a large body that is not needed": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Remote-User", "ann")
			_, _ = w.Write(make([]byte, 5<<20))
		}, "forward ann"},
		"a connection that is cut":     {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "503"},
		"a head that is far too large": {status(200, "X", strings.Repeat("x", 70<<10)), "503"},
		"a server that" + late:         {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "503"},
		"a body that" + late: {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(403)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "502"},
		"an answer that is no HTTP":       {hijacked("SSH-2.0-OpenSSH_9\r\n"), "503"},
		"a user with a forged second one": {hijacked("HTTP/1.1 200 OK\r\nRemote-User: ann\r\nremote-user: root\r\nContent-Length: 0\r\n\r\n"), "502"},
	} {
		answer.Store(&tc.answer)
		limit := time.Minute
		if strings.HasSuffix(name, late) {
			limit = 300 * time.Millisecond
		}
		app := middleware.AuthForward{URL: url + "/auth", Timeout: limit, Logger: silent}.Wrap(whoami)
		if diff := cmp.Diff(everywhere(tc.want), askAll(t, app, "/", forged...)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	handler := status(200)
	answer.Store(&handler)
	before := asked.Load()
	open := middleware.AuthForward{URL: url, Paths: []string{"/admin"}, Logger: silent}.Wrap(whoami)
	if diff := cmp.Diff(everywhere("nobody"), askAll(t, open, "/", forged...)); diff != "" || asked.Load() != before {
		t.Errorf("a path that is not protected: asked %d times, %s", asked.Load()-before, diff)
	}
	askAll(t, open, "//admin", forged...)
	if asked.Load() != before+3 {
		t.Error("the server was not asked about //admin")
	}
	cached := answering(pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("cache-control", "public")}, pagi.HTTPResponseBody{})
	for want, app := range map[string]pagi.App{"private": whoami, "public": cached} {
		m := middleware.AuthForward{URL: url, Paths: []string{"/admin"}}
		c := pagitest.New(m.Wrap(app))
		if got := c.Get("/admin").Header("cache-control"); got != want {
			t.Errorf("cache-control is %q, want %q", got, want)
		}
		if got := c.Get("/").Header("cache-control"); got == "private" {
			t.Errorf("of a path that is not protected cache-control is %q", got)
		}
	}
	// An identity of a middleware further out stays if the server names no user, and is replaced otherwise.
	if got := pagitest.New(outer(open)).Get("/admin").Text(); got != "outer olga olga" {
		t.Error(got)
	}
	named := status(200, "Remote-User", "ann")
	answer.Store(&named)
	if got := pagitest.New(outer(open)).Get("/admin").Text(); got != "forward ann" {
		t.Error(got)
	}
}

func hijacked(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, answer) // the test sees what came of it
		conn.Close()
	}
}

func TestAuthForwardHandsOnARefusal(t *testing.T) {
	url, _ := authServer(t, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["Www-Authenticate"] = []string{`Basic realm="x"`, "Bearer"}
		h["Set-Cookie"] = []string{"a=1; HttpOnly", "b=2"}
		h.Set("Connection", "x-private")
		h.Set("X-Private", "1")
		h.Set("Server", "secret/1.0")
		h.Set("Content-Type", "text/html")
		w.WriteHeader(401)
		fmt.Fprint(w, "<h1>Log in</h1>")
	})
	res := pagitest.New(middleware.AuthForward{URL: url}.Wrap(whoami)).Get("/")
	want := pagi.NewHeaders("content-type", "text/html", "set-cookie", "a=1; HttpOnly", "set-cookie", "b=2", "www-authenticate", `Basic realm="x"`, "www-authenticate", "Bearer")
	got := res.Headers.Clone()
	got.Del("content-length")
	if diff := cmp.Diff(want, got); diff != "" || res.Text() != "<h1>Log in</h1>" || res.Err != nil {
		t.Errorf("%q %v %s", res.Text(), res.Err, diff)
	}
}

func TestWhatAuthForwardPassesOn(t *testing.T) {
	var seen http.Header
	var method, uri string
	url, _ := authServer(t, func(w http.ResponseWriter, r *http.Request) {
		seen, method, uri = r.Header, r.Method, r.RequestURI
		w.Header().Set("X-User", "ann")
		w.Header()["X-Groups"] = []string{"a", "b"}
		w.Header().Set("X-Other", "not asked for")
		w.Header().Set("Authorization", "Bearer inner")
	})
	var scope *pagi.Scope
	app := middleware.AuthForward{
		URL: url + "/check?site=1", UserHeader: "X-User", ResponseHeaders: []string{"X-Groups", "Authorization", "X-Email"}, RequestHeaders: []string{"Authorization", "X-Token"},
	}.Wrap(pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
		scope = s
		return hello.Serve(ctx, s, r, w)
	}))
	c := pagitest.New(app)
	c.Post("/a%2Fb/../c?q=1", pagitest.Header("authorization", "Basic outer"), pagitest.Header("cookie", "not=asked"), pagitest.Header("x-token", "1"), pagitest.Header("x-token", "2"),
		pagitest.Header("x-user", "root"), pagitest.Header("x_user", "root"), pagitest.Header("x-groups", "wheel"), pagitest.Header("x-email", "root@example"),
		pagitest.Header("x-forwarded-for", "6.6.6.6"), pagitest.Header("x-forwarded-uri", "/public"), pagitest.Header("x-forwarded-method", "GET"),
		pagitest.Header("x-forwarded-host", "evil"), pagitest.Header("x-forwarded-proto", "https"), pagitest.Body("a body"),
		pagitest.Edit(func(s *pagi.Scope) { s.Client = pagi.Addr{Host: "192.0.2.1", Port: 1} })).Expect(t, 200)
	want := http.Header{
		"Authorization": {"Basic outer"}, "X-Token": {"1", "2"}, "X-Forwarded-Method": {"POST"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"testserver"},
		"X-Forwarded-Uri": {"/a%2Fb/../c?q=1"}, "X-Forwarded-For": {"192.0.2.1"},
	}
	if diff := cmp.Diff(want, seen); diff != "" || method != "GET" || uri != "/check?site=1" {
		t.Errorf("the server got %s %s: %s", method, uri, diff)
	}
	got := map[string]string{}
	for _, name := range []string{"authorization", "x-groups", "x-user", "x_user", "x-email", "x-other", "cookie"} {
		got[name] = scope.Headers.Joined(name)
	}
	if diff := cmp.Diff(map[string]string{"authorization": "Bearer inner", "x-groups": "a, b", "x-user": "", "x_user": "", "x-email": "", "x-other": "", "cookie": "not=asked"}, got); diff != "" {
		t.Errorf("the application got %s", diff)
	}
	if auth, ok := scope.Auth(); !ok || auth != (pagi.Auth{Type: "forward", Username: "ann"}) {
		t.Errorf("%v", auth)
	}
	ws := c.WebSocket("/", pagitest.Edit(func(s *pagi.Scope) { s.Client, s.Scheme = pagi.Addr{Host: "/run/site.sock"}, "wss" }))
	if err := ws.Finish(); seen.Get("X-Forwarded-Method") != "GET" || seen.Get("X-Forwarded-Proto") != "https" || seen.Get("X-Forwarded-For") != "" {
		t.Errorf("of a WebSocket: %v %v", seen, err)
	}
}

func TestAuthForwardOverAUnixSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Remote-User", r.Host+r.URL.Path)
	})}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(listener) }) // ends by Close
	defer served.Wait()
	defer server.Close()
	c := pagitest.Start(t, middleware.AuthForward{URL: "http://auth/check", Socket: socket}.Wrap(whoami))
	c.Get("/").Expect(t, 200, "forward auth/check")
	c.Get("/").Expect(t, 200, "forward auth/check")
}

func TestAuthForwardShowsNoPasswordOfItsURL(t *testing.T) {
	var log strings.Builder
	m := middleware.AuthForward{URL: "http://gate:hush@127.0.0.1:1/check", Logger: slog.New(slog.NewTextHandler(&log, nil))}
	if res := pagitest.New(m.Wrap(hello)).Get("/"); res.Status != 503 {
		t.Errorf("%d %v", res.Status, res.Err)
	}
	if !strings.Contains(log.String(), "127.0.0.1:1/check") || strings.Contains(log.String(), "hush") {
		t.Error(log.String())
	}
	for _, wrong := range []string{"ftp://gate:hush@x", "http://gate:hush@x:port/"} {
		for _, err := range []error{middleware.AuthForward{URL: wrong}.Check(), middleware.BearerAuth{JWKSURL: wrong, Algorithms: []string{"RS256"}}.Check()} {
			if err == nil || strings.Contains(err.Error(), "hush") {
				t.Errorf("%s: %v", wrong, err)
			}
		}
	}
}

func TestAuthForwardRefusesOptions(t *testing.T) {
	const url = "http://auth.example/"
	for want, m := range map[string]middleware.AuthForward{
		`url: "" is no http or https URL`:                 {},
		`url: "ftp://x" is no http`:                       {URL: "ftp://x"},
		`url: "/auth" is no http`:                         {URL: "/auth"},
		`paths: "x" must begin`:                           {URL: url, Paths: []string{"x"}},
		`user_header: "a b" is not a header name`:         {URL: url, UserHeader: "a b"},
		`user_header: Host cannot be passed on`:           {URL: url, UserHeader: "Host"},
		`request_headers: X-Forwarded-For cannot`:         {URL: url, RequestHeaders: []string{"X-Forwarded-For"}},
		`response_headers: X_Forwarded_For cannot`:        {URL: url, ResponseHeaders: []string{"X_Forwarded_For"}},
		`response_headers: content-length cannot`:         {URL: url, ResponseHeaders: []string{"content-length"}},
		`request_headers: Remote-User of the client is`:   {URL: url, RequestHeaders: []string{"Remote-User"}},
		`timeout: must not be negative, is -1s`:           {URL: url, Timeout: -time.Second},
		`response_headers: "\n" is not a header name`:     {URL: url, ResponseHeaders: []string{"\n"}},
		`url: "http://x/#y" is no http or https URL`:      {URL: "http://x/#y"},
		`request_headers: Transfer-Encoding cannot be pa`: {URL: url, RequestHeaders: []string{"Transfer-Encoding"}},
	} {
		err := m.Check()
		if bad := new(*pagi.OptionError); !errors.As(err, bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
			continue
		}
		if c := pagitest.New(m.Wrap(hello)); c.Startup(t.Context()) == nil || c.Get("/").Status != 500 {
			t.Errorf("%s: it starts, or serves", want)
		}
	}
}
