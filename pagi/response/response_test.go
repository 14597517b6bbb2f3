package response_test

import (
	"bytes"
	"context"
	"errors"
	"html/template"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/response"
)

// answering makes an application that answers every scope with a response.
func answering(f func() *response.Response) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		return f().Send(ctx, scope, send)
	})
}

func get(f func() *response.Response, opts ...pagitest.Option) *pagitest.Response {
	return pagitest.New(answering(f)).Get("/", opts...)
}

func TestShortBodies(t *testing.T) {
	for name, c := range map[string]struct {
		build               func() *response.Response
		status              int
		contentType, length string
		body                string
	}{
		"text":                  {func() *response.Response { return response.Text("héllo") }, 200, "text/plain; charset=utf-8", "6", "héllo"},
		"text that is no UTF-8": {func() *response.Response { return response.Text("h\xe9llo") }, 200, "text/plain", "5", "h\xe9llo"},
		"HTML":                  {func() *response.Response { return response.HTML("<p>") }, 200, "text/html; charset=utf-8", "3", "<p>"},
		"JSON":                  {func() *response.Response { return response.JSON(map[string]int{"n": 1}) }, 200, "application/json", "7", `{"n":1}`},
		"bytes":                 {func() *response.Response { return response.Bytes("image/png", []byte{1, 2}) }, 200, "image/png", "2", "\x01\x02"},
		"no body":               {response.Empty, 204, "", "", ""},
		"an empty body":         {func() *response.Response { return response.New(404) }, 404, "", "0", ""},
		"another status":        {func() *response.Response { return response.Text("made").Status(201) }, 201, "text/plain; charset=utf-8", "4", "made"},
		"another type":          {func() *response.Response { return response.Text("a,b").Header("Content-Type", "text/csv") }, 200, "text/csv", "3", "a,b"},
	} {
		res := get(c.build)
		if res.Err != nil || res.Status != c.status || res.Header("content-type") != c.contentType || res.Header("content-length") != c.length || res.Text() != c.body {
			t.Errorf("%s: %d %v %q, %v", name, res.Status, res.Headers, res.Text(), res.Err)
		}
		head := pagitest.New(answering(c.build)).Head("/")
		if head.Err != nil || head.Status != c.status || head.Header("content-length") != c.length || head.Text() != "" {
			t.Errorf("%s, HEAD: %d %v %q, %v", name, head.Status, head.Headers, head.Text(), head.Err)
		}
	}
}

func TestRender(t *testing.T) {
	page := template.Must(template.New("").Parse("<p>{{.Name}}"))
	res := response.Render(page, struct{ Name string }{"<Ann>"})
	body, ok := res.Body()
	if string(body) != "<p>&lt;Ann&gt;" || !ok || res.Err() != nil || res.Headers().Get("content-type") != "text/html; charset=utf-8" {
		t.Errorf("%q %v %v", body, res.Err(), res.Headers())
	}
	res = response.Render(page, struct{ Title string }{"Dr."})
	if body, _ := res.Body(); res.Err() == nil || len(body) > 0 {
		t.Errorf("a template that fails: %q %v", body, res.Err())
	}
}

func TestMistakesAreKept(t *testing.T) {
	for name, c := range map[string]struct {
		r    *response.Response
		want string
	}{
		"a status":                  {response.Text("x").Status(99).Header("a", "b"), "200 to 999"},
		"an interim status":         {response.New(101), "200 to 999"},
		"a header's name":           {response.Text("x").Header("a b", "c"), "not a token"},
		"a header's value":          {response.Text("x").AddHeader("a", "b\r\nset-cookie: x"), "control character"},
		"a content type":            {response.Bytes("text/html\n", nil), "control character"},
		"a value that is no JSON":   {response.JSON(make(chan int)), "unsupported type"},
		"a redirect to nowhere":     {response.Redirect(""), "no URL"},
		"a malformed redirect":      {response.Redirect("http://[::1"), "no URL"},
		"credentials for everybody": {response.Text("x").CORS(response.CORS{Origin: "*", Credentials: true}), "credentials"},
		"the first of two":          {response.New(1).Header("a b", ""), "200 to 999"},
	} {
		if err := c.r.Err(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		sent := 0
		err := c.r.Send(t.Context(), &pagi.Scope{Type: pagi.TypeHTTP}, func(context.Context, pagi.Event) error { sent++; return nil })
		if err == nil || err != c.r.Err() || sent > 0 {
			t.Errorf("%s: %v, %d events", name, err, sent)
		}
	}
}

func TestAResponseIsSentOnce(t *testing.T) {
	var second, other, late error
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
			return err
		}
		r := response.Text("x")
		other = r.Send(ctx, scope, send) // beside plain events
		if err := send(ctx, pagi.HTTPResponseBody{}); err != nil {
			return err
		}
		late = response.Text("y").Send(ctx, scope, send)
		return nil
	})
	if res := pagitest.New(app).Get("/"); res.Err != nil {
		t.Error(res.Err)
	}
	r := response.Text("x")
	app = pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		err := r.Send(ctx, scope, send)
		copied := scope.Clone()
		copied.Connection = nil
		second = r.Send(ctx, copied, send)
		return err
	})
	if res := pagitest.New(app).Get("/"); res.Err != nil || res.Text() != "x" {
		t.Errorf("%q, %v", res.Text(), res.Err)
	}
	if !errors.Is(second, response.ErrSent) || !errors.Is(other, response.ErrStarted) || !errors.Is(late, response.ErrStarted) {
		t.Errorf("%v; %v; %v", second, other, late)
	}
}

func TestAResponseInEveryScope(t *testing.T) {
	build := func() *response.Response { return response.Text("go away").Status(403).Header("x-why", "1") }
	if res := pagitest.New(answering(build)).Events("/").Finish(); res.Err != nil || res.Status != 403 || res.Text() != "go away" || res.Header("x-why") != "1" {
		t.Errorf("sse: %d %q, %v", res.Status, res.Text(), res.Err)
	}
	long := strings.Repeat("x", 40_000)
	stream := func() *response.Response {
		return response.Stream("text/plain", func(w *response.Writer) error { _, err := w.WriteString(long); return err }).Status(403)
	}
	for name, c := range map[string]struct {
		build func() *response.Response
		body  string
	}{"text": {build, "go away"}, "stream": {stream, long}} {
		deny := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
			if _, err := receive(ctx); err != nil {
				return err
			}
			return c.build().Send(ctx, scope, send)
		})
		client := pagitest.New(deny)
		client.Extensions = map[string]any{pagi.ExtDenialResponse: struct{}{}}
		if ws := client.WebSocket("/"); ws.Accepted || ws.Response.Status != 403 || ws.Response.Text() != c.body || ws.Finish() != nil {
			t.Errorf("websocket, %s: %+v", name, ws.Response)
		}
		client.Extensions = map[string]any{}
		if ws := client.WebSocket("/"); ws.Accepted || ws.Response.Status != 403 || ws.Response.Text() == c.body || ws.Finish() != nil {
			t.Errorf("websocket without denial, %s: %+v", name, ws.Response)
		}
	}
	if err := build().Send(t.Context(), &pagi.Scope{Type: pagi.TypeLifespan}, nil); !errors.Is(err, pagi.ErrUnsupported) {
		t.Errorf("lifespan: %v", err)
	}
}

func TestAResponseCanBeLookedAt(t *testing.T) {
	r := response.Text("x").Status(201).AddHeader("link", "a").AddHeader("Link", "b")
	body, ok := r.Body()
	want := pagi.NewHeaders("content-type", "text/plain; charset=utf-8", "link", "a", "link", "b")
	if r.StatusCode() != 201 || string(body) != "x" || !ok || !cmp.Equal(r.Headers(), want) || r.Err() != nil {
		t.Errorf("%d %v %q", r.StatusCode(), r.Headers(), body)
	}
	headers := r.Headers()
	headers.Set("link", "c")
	if !cmp.Equal(r.Headers(), want) {
		t.Error("Headers is no copy")
	}
	if _, ok := response.Stream("", nil).Body(); ok {
		t.Error("a stream has no body in memory")
	}
}

func TestVary(t *testing.T) {
	r := response.Text("x").Vary("Accept", "origin").Vary("ACCEPT")
	if got := r.Headers().Get("vary"); got != "accept, origin" {
		t.Errorf("%q", got)
	}
	if got := response.Text("x").Header("vary", "*").Vary("accept").Headers().Get("vary"); got != "*" {
		t.Errorf("%q", got)
	}
}

func TestCORS(t *testing.T) {
	r := response.Text("x").CORS(response.CORS{Origin: "https://a.example", Credentials: true, Expose: []string{"x-a", "x-b"}, Methods: []string{"PUT"}, Headers: []string{"x-c"}, MaxAge: time.Hour})
	want := map[string]string{"vary": "origin", "access-control-allow-origin": "https://a.example", "access-control-allow-credentials": "true",
		"access-control-expose-headers": "x-a, x-b", "access-control-allow-methods": "PUT", "access-control-allow-headers": "x-c", "access-control-max-age": "3600"}
	for name, value := range want {
		if got := r.Headers().Get(name); got != value {
			t.Errorf("%s: %q", name, got)
		}
	}
	if h := response.Text("x").CORS(response.CORS{Origin: "*"}).Headers(); h.Get("access-control-allow-origin") != "*" || h.Has("vary") || h.Has("access-control-max-age") {
		t.Errorf("all origins: %v", h)
	}
	if h := response.Text("x").CORS(response.CORS{}).Headers(); h.Has("access-control-allow-origin") || h.Get("vary") != "origin" {
		t.Errorf("none: %v", h)
	}
}

func TestRedirects(t *testing.T) {
	for to, want := range map[string]string{
		"/a?b=c#d":              "/a?b=c#d",
		"https://example.com/é": "https://example.com/%C3%A9",
		"next page":             "next%20page",
		"/a\"<>":                "/a%22%3C%3E",
	} {
		r := response.Redirect(to)
		if got := r.Headers().Get("location"); r.Err() != nil || got != want || r.StatusCode() != 302 {
			t.Errorf("%q: %d %q, %v", to, r.StatusCode(), got, r.Err())
		}
	}
	if r := response.Redirect("/").Status(308); r.StatusCode() != 308 {
		t.Error("another status")
	}
}

func TestLocalRedirectStaysOnTheHost(t *testing.T) {
	for to, local := range map[string]bool{
		"/": true, "/a/b?c=//d#//e": true, "/a//b": true, "/%2F/x": true, "/é": true, "/a:b": true, "/.//x": true,
		"": false, "a": false, "//evil.com": false, "///evil.com": false, "/\\evil.com": false, "\\/evil.com": false, "\\\\evil.com": false,
		"/\t/evil.com": false, "\t//evil.com": false, "/\n/evil.com": false, "/\r/evil.com": false, " //evil.com": false, "https://evil.com": false,
		"http:/evil.com": false, "javascript:alert(1)": false, "/\x00/evil": false, "?next": false, "#x": false, "/a\\b": false, "/%": false,
	} {
		want := "/home"
		if local {
			want = response.Redirect(to).Headers().Get("location")
		}
		r := response.LocalRedirect(to, "/home")
		if got := r.Headers().Get("location"); r.Err() != nil || got != want {
			t.Errorf("%q: %q, %v", to, got, r.Err())
		}
	}
}

// A browser resolves what LocalRedirect lets through on the same host.
func FuzzLocalRedirect(f *testing.F) {
	for _, seed := range []string{"/", "//x", "/\\x", "/\t/x", "/a?b#c", "https://x", "/%2f/x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, to string) {
		r := response.LocalRedirect(to, "/fallback")
		location := r.Headers().Get("location")
		if r.Err() != nil {
			t.Fatalf("%q: %v", to, r.Err())
		}
		// The URL standard's parser: strip, then drop tabs and newlines, then read backslashes as
		// slashes.
		seen := strings.NewReplacer("\t", "", "\n", "", "\r", "", "\\", "/").Replace(strings.Trim(location, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f "))
		if !strings.HasPrefix(seen, "/") || strings.HasPrefix(seen, "//") {
			t.Errorf("%q became %q", to, location)
		}
	})
}

func TestProblems(t *testing.T) {
	for name, c := range map[string]struct {
		r      *response.Response
		status int
		want   map[string]any
	}{
		"nothing": {response.Problem{}.Response(), 500, map[string]any{"status": 500.0, "title": "Internal Server Error"}},
		"all": {response.Problem{Type: "https://example.com/out", Title: "Out of stock", Status: 409, Detail: "no tea", Instance: "/orders/7",
			Extensions: map[string]any{"left": 0, "status": "mine", "detail": "mine"}}.Response(), 409,
			map[string]any{"type": "https://example.com/out", "title": "Out of stock", "status": 409.0, "detail": "no tea", "instance": "/orders/7", "left": 0.0}},
		"an error's text stays inside": {response.FromError(errors.New("secret")), 500, map[string]any{"status": 500.0, "title": "Internal Server Error"}},
		"a status error": {response.FromError(errors.Join(errors.New("secret"), &pagi.StatusError{Status: 429, Message: "slow down", Headers: pagi.NewHeaders("retry-after", "7"), Err: errors.New("secret")})),
			429, map[string]any{"status": 429.0, "title": "Too Many Requests", "detail": "slow down"}},
		"a message that says no more": {response.FromError(&pagi.StatusError{Status: 404, Message: "Not Found"}), 404, map[string]any{"status": 404.0, "title": "Not Found"}},
	} {
		res := get(func() *response.Response { return c.r })
		var got map[string]any
		if err := errors.Join(res.Err, res.JSON(&got)); err != nil || res.Status != c.status || res.Header("content-type") != "application/problem+json" {
			t.Errorf("%s: %d %v, %v", name, res.Status, res.Headers, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if (res.Header("retry-after") == "7") != (c.status == 429) {
			t.Errorf("%s: retry-after %q", name, res.Header("retry-after"))
		}
	}
	if r := (response.Problem{Extensions: map[string]any{"x": make(chan int)}}).Response(); r.Err() == nil {
		t.Error("a channel is no JSON")
	}
}

func TestCookies(t *testing.T) {
	good := response.Text("x").
		Cookie(&http.Cookie{Name: "a", Value: "1 2", Path: "/", Domain: "example.com", MaxAge: 60, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode, Partitioned: true}).
		Cookie(&http.Cookie{Name: "__Host-b", Value: "", Path: "/", Secure: true}).
		Cookie(&http.Cookie{Name: "__Secure-c", Secure: true, SameSite: http.SameSiteNoneMode}).
		DeleteCookie("d", "", "").DeleteCookie("__Host-e", "", "")
	if good.Err() != nil {
		t.Fatal(good.Err())
	}
	var got []string
	for value := range good.Headers().Values("set-cookie") {
		got = append(got, value)
	}
	want := []string{
		`a="1 2"; Path=/; Domain=example.com; Max-Age=60; HttpOnly; Secure; SameSite=Lax; Partitioned`,
		"__Host-b=; Path=/; Secure", "__Secure-c=; Secure; SameSite=None",
		"d=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0",
		"__Host-e=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; Secure",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, c := range map[string]*http.Cookie{
		"no name":                      {Value: "x"},
		"a name that is no token":      {Name: "a b"},
		"a value with a semicolon":     {Name: "a", Value: "x; Secure"},
		"a value with a line break":    {Name: "a", Value: "x\r\nset-cookie: b"},
		"a value with a quote":         {Name: "a", Value: `"`},
		"a path with a semicolon":      {Name: "a", Path: "/;domain=evil.com"},
		"a domain that is none":        {Name: "a", Domain: "exa mple"},
		"too large":                    {Name: "a", Value: strings.Repeat("x", 4096)},
		"too long a path":              {Name: "a", Path: "/" + strings.Repeat("x", 1024)},
		"SameSite=None without Secure": {Name: "a", SameSite: http.SameSiteNoneMode},
		"Partitioned without Secure":   {Name: "a", Partitioned: true},
		"a path without a slash":       {Name: "a", Path: "x"},
		"a path that is a space":       {Name: "a", Path: " "},
		"__Secure- without Secure":     {Name: "__Secure-a"},
		"__secure- in lower case":      {Name: "__secure-a"},
		"__Host- without Secure":       {Name: "__Host-a", Path: "/"},
		"__Host- with another path":    {Name: "__Host-a", Path: "/x", Secure: true},
		"__Host- with a domain":        {Name: "__Host-a", Path: "/", Secure: true, Domain: "example.com"},
	} {
		if r := response.Text("x").Cookie(c); r.Err() == nil {
			t.Errorf("%s: %v", name, r.Headers())
		}
	}
}

// A cookie that is taken comes back as it was, read by net/http.
func FuzzCookie(f *testing.F) {
	f.Add("a", "1 2", "/", "example.com")
	f.Add("__Host-a", "x;y", "/", "")
	f.Add("a", `"`, "/;x", "a b")
	f.Add("0", "0", " ", "A")
	f.Fuzz(func(t *testing.T, name, value, path, domain string) {
		r := response.Text("x").Cookie(&http.Cookie{Name: name, Value: value, Path: path, Domain: domain, Secure: true})
		if r.Err() != nil {
			return
		}
		line := r.Headers().Get("set-cookie")
		c, err := http.ParseSetCookie(line)
		if err != nil || c.Name != name || c.Value != value || path != "" && c.Path != path {
			t.Errorf("%q: %+v, %v", line, c, err)
		}
	})
}

func TestStream(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789"), 5000)
	closed := 0
	res := get(func() *response.Response {
		return response.Stream("text/plain", func(w *response.Writer) error {
			w.OnClose(func() { closed++ })
			for range 3 {
				if _, err := w.WriteString("ab"); err != nil {
					return err
				}
			}
			if err := w.Flush(); err != nil {
				return err
			}
			if _, err := w.WriteString("cd"); err != nil {
				return err
			}
			if _, err := w.Write(large); err != nil {
				return err
			}
			if _, err := w.Write(large[:10]); err != nil {
				return err
			}
			if w.Context() == nil {
				t.Error("no context")
			}
			return w.Flush()
		}).Header("x-stream", "1")
	})
	if res.Err != nil || res.Status != 200 || res.Header("content-type") != "text/plain" || res.Header("x-stream") != "1" || res.Text() != "abababcd"+string(large)+"0123456789" || closed != 1 {
		t.Errorf("%d %v, %d bytes, %v, closed %d times", res.Status, res.Headers, len(res.Body), res.Err, closed)
	}
	var sizes []int
	for _, chunk := range res.Chunks {
		sizes = append(sizes, len(chunk))
	}
	if diff := cmp.Diff([]int{6, 2, 50000, 10}, sizes); diff != "" {
		t.Errorf("small writes are collected: %s", diff)
	}
}

func TestStreamsWithoutABody(t *testing.T) {
	build := func() *response.Response {
		return response.Stream("text/plain", func(*response.Writer) error { t.Error("written"); return nil })
	}
	if res := pagitest.New(answering(build)).Head("/"); res.Err != nil || res.Header("content-type") != "text/plain" {
		t.Errorf("HEAD: %v, %v", res.Headers, res.Err)
	}
	if res := get(func() *response.Response { return build().Status(204) }); res.Err != nil || res.Status != 204 {
		t.Errorf("204: %v", res.Err)
	}
}

func TestStreamTrailers(t *testing.T) {
	build := func() *response.Response {
		return response.Stream("text/plain", func(w *response.Writer) error {
			if err := w.Trailer("x\n", "y"); err == nil {
				t.Error("a malformed trailer")
			}
			if _, err := w.WriteString("body"); err != nil {
				return err
			}
			return w.Trailer("x-sum", "42")
		}).Header("trailer", "x-sum")
	}
	if res := get(build); res.Err != nil || res.Text() != "body" || res.Trailers.Get("x-sum") != "42" {
		t.Errorf("%q %v, %v", res.Text(), res.Trailers, res.Err)
	}
}

func TestAStreamThatFails(t *testing.T) {
	broken := errors.New("broken")
	closed := 0
	var kept *response.Writer
	res := get(func() *response.Response {
		return response.Stream("", func(w *response.Writer) error {
			kept = w
			w.OnClose(func() { closed++ })
			if _, err := w.WriteString("begun"); err != nil {
				return err
			}
			return broken
		})
	})
	if !errors.Is(res.Err, broken) || closed != 1 {
		t.Errorf("%v, closed %d times", res.Err, closed)
	}
	if _, err := kept.Write([]byte("late")); !errors.Is(err, response.ErrClosed) {
		t.Errorf("a late write: %v", err)
	}
	if _, err := kept.WriteString("late"); !errors.Is(err, response.ErrClosed) {
		t.Errorf("a late write: %v", err)
	}
	if err := kept.Flush(); !errors.Is(err, response.ErrClosed) {
		t.Errorf("a late flush: %v", err)
	}
}

func TestAClientThatLeavesAStream(t *testing.T) {
	var got error
	writing := make(chan struct{})
	closed := false
	app := answering(func() *response.Response {
		return response.Stream("", func(w *response.Writer) error {
			w.OnClose(func() { closed = true })
			if _, err := w.WriteString("begun"); err != nil {
				return err
			}
			if err := w.Flush(); err != nil {
				return err
			}
			close(writing)
			<-w.Context().Done()
			_, got = w.WriteString("x")
			return got
		})
	})
	e := pagitest.New(app).Begin("GET", "/")
	go func() {
		<-writing
		e.Disconnect(pagi.ReasonClientClosed)
	}()
	for ok := true; ok; {
		_, ok = e.Next()
	}
	res := e.Finish()
	var gone *pagi.DisconnectError
	if res.Err != nil || !errors.As(got, &gone) || gone.Reason != pagi.ReasonClientClosed || !closed {
		t.Errorf("%v, %v, closed %v", res.Err, got, closed)
	}
}

func TestJSONList(t *testing.T) {
	for want, n := range map[string]int{"[]": 0, "[0\n]": 1, "[0\n,1\n,2\n]": 3} {
		res := get(func() *response.Response {
			return response.JSONList(func(yield func(int) bool) {
				for i := range n {
					if !yield(i) {
						return
					}
				}
			})
		})
		if res.Err != nil || strings.TrimSpace(res.Text()) != want {
			t.Errorf("%d items: %q, %v", n, res.Text(), res.Err)
		}
	}
	res := get(func() *response.Response {
		return response.JSONList(func(yield func(any) bool) { _ = yield(1) && yield(func() {}) })
	})
	if res.Err == nil {
		t.Error("a function is no JSON")
	}
}
