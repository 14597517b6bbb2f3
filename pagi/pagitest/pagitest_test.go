package pagitest_test

import (
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

type app = func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error

func client(f app) *pagitest.Client { return pagitest.New(pagi.AppFunc(f)) }

// sending returns an application that sends events and returns the first error.
func sending(events ...pagi.Event) app {
	return func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		for _, ev := range events {
			if err := send(ctx, ev); err != nil {
				return err
			}
		}
		return nil
	}
}

func start(pairs ...string) pagi.HTTPResponseStart {
	return pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders(pairs...)}
}

func body(s string) pagi.HTTPResponseBody { return pagi.HTTPResponseBody{Body: []byte(s)} }
func more(s string) pagi.HTTPResponseBody { return pagi.HTTPResponseBody{Body: []byte(s), More: true} }

func TestScopeOfARequest(t *testing.T) {
	var scope *pagi.Scope
	c := client(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, send pagi.Send) error {
		scope = s
		return sending(start(), body(""))(ctx, s, r, send)
	})
	c.Headers = pagi.NewHeaders("accept", "*/*", "x-all", "1")
	c.RootPath, c.Scheme, c.Host = "/my app", "https", "example.org"
	c.SetCookie("a", "1")
	res := c.Get("/caf%C3%A9?x=1", pagitest.Query("y", "a b", "z", "&"), pagitest.Header("Accept", "text/html"), pagitest.Header("accept", "text/plain"))
	if res.Err != nil {
		t.Fatal(res.Err)
	}
	want := pagi.NewHeaders("host", "example.org", "x-all", "1", "accept", "text/html", "accept", "text/plain", "cookie", "a=1")
	if diff := cmp.Diff(want, scope.Headers); diff != "" {
		t.Error(diff)
	}
	port := 443
	if onSocket() {
		port = scope.Server.Port
	}
	got := []any{scope.Type, scope.PAGI.Version, scope.HTTPVersion, scope.Method, scope.Scheme, scope.Path, scope.RawPath, scope.RootPath, scope.QueryString, scope.Server.Port, scope.State == nil}
	if diff := cmp.Diff([]any{"http", "0.3", "1.1", "GET", "https", "/café", "/my%20app/caf%C3%A9", "/my app", "x=1&y=a+b&z=%26", port, true}, got); diff != "" {
		t.Error(diff)
	}
	c.Get("/", pagitest.Edit(func(s *pagi.Scope) { s.Client.Host = "10.0.0.1" }))
	if scope.Client.Host != "10.0.0.1" {
		t.Error("Edit had no effect")
	}
	for _, target := range []string{"relative", "/%zz", ""} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("target %q did not panic", target)
				}
			}()
			c.Get(target)
		}()
	}
}

func TestVerbs(t *testing.T) {
	c := client(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, send pagi.Send) error {
		return sending(start("x-method", s.Method, "content-length", "4"), body("body"))(ctx, s, r, send)
	})
	for method, do := range map[string]func(string, ...pagitest.Option) *pagitest.Response{
		"GET": c.Get, "HEAD": c.Head, "POST": c.Post, "PUT": c.Put, "PATCH": c.Patch, "DELETE": c.Delete, "OPTIONS": c.Options,
	} {
		res := do("/")
		want := "body"
		if method == "HEAD" {
			want = ""
		}
		if res.Err != nil || res.Header("X-Method") != method || res.Text() != want {
			t.Errorf("%s: %v, %q, %q", method, res.Err, res.Header("x-method"), res.Text())
		}
	}
}

func TestRequestTrailers(t *testing.T) {
	var got pagi.Headers
	early := false
	c := client(func(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		got = nil
		for {
			ev, err := receive(ctx)
			if err != nil {
				return err
			}
			early = early || got != nil
			got = ev.(pagi.HTTPRequest).Trailers
			if !ev.(pagi.HTTPRequest).More {
				return sending(start(), body(""))(ctx, s, receive, send)
			}
		}
	})
	sum := pagitest.Trailer("X-Sum", "1")
	want := pagi.NewHeaders("x-sum", "1")
	if res := c.Post("/", pagitest.Chunks("a", "b"), sum); res.Err != nil || !cmp.Equal(got, want) {
		t.Errorf("%v, %v", got, res.Err)
	}
	x := c.Begin("POST", "/", pagitest.Stream(), sum)
	if err := errors.Join(x.Write("a"), x.CloseBody()); err != nil {
		t.Error(err)
	}
	if res := x.Finish(); res.Err != nil || !cmp.Equal(got, want) {
		t.Errorf("piece by piece: %v, %v", got, res.Err)
	}
	if res := c.Post("/", pagitest.Body("a"), sum); res.Err != nil || !cmp.Equal(got, want) {
		t.Errorf("a body of known length: %v, %v", got, res.Err)
	}
	if early {
		t.Error("trailers before the end of the body")
	}
}

func TestRequestBodies(t *testing.T) {
	var headers pagi.Headers
	var chunks []string
	c := client(func(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		headers, chunks = s.Headers, nil
		for {
			ev, err := receive(ctx)
			if err != nil {
				return err
			}
			req := ev.(pagi.HTTPRequest)
			chunks = append(chunks, string(req.Body))
			if !req.More {
				return sending(start(), body(""))(ctx, s, receive, send)
			}
		}
	})
	for name, tc := range map[string]struct {
		option      pagitest.Option
		chunks      []string
		ctype, clen string
	}{
		"none":     {pagitest.Query(), []string{""}, "", ""},
		"text":     {pagitest.Body("hello"), []string{"hello"}, "", "5"},
		"bytes":    {pagitest.Body([]byte{1, 2}), []string{"\x01\x02"}, "", "2"},
		"chunks":   {pagitest.Chunks("a", "", "b"), []string{"a", "", "b"}, "", ""},
		"form":     {pagitest.Form("a", "1", "a", "ü"), []string{"a=1&a=%C3%BC"}, "application/x-www-form-urlencoded", "12"},
		"json":     {pagitest.JSON([]int{1}), []string{"[1]"}, "application/json", "3"},
		"own type": {pagitest.JSON("x"), []string{`"x"`}, "application/x", "3"},
	} {
		t.Run(name, func(t *testing.T) {
			opts := []pagitest.Option{tc.option}
			if name == "own type" {
				opts = append([]pagitest.Option{pagitest.Header("content-type", "application/x")}, opts...)
			}
			if res := c.Post("/", opts...); res.Err != nil {
				t.Fatal(res.Err)
			}
			got := []string{headers.Get("content-type"), headers.Get("content-length"), headers.Get("transfer-encoding")}
			if diff := cmp.Diff([]string{tc.ctype, tc.clen, ""}, got); diff != "" {
				t.Error(diff)
			}
			if onSocket() { // the server makes the pieces
				tc.chunks, chunks = []string{strings.Join(tc.chunks, "")}, []string{strings.Join(chunks, "")}
			}
			if diff := cmp.Diff(tc.chunks, chunks); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMultipart(t *testing.T) {
	c := client(func(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		_, params, err := mime.ParseMediaType(s.Headers.Get("content-type"))
		if err != nil {
			return err
		}
		form, err := multipart.NewReader(request.BodyReader(ctx, receive), params["boundary"]).ReadForm(1 << 20)
		if err != nil {
			return err
		}
		file := form.File["up"][0]
		return sending(start("x-file", file.Filename+" "+file.Header.Get("content-type")), body(form.Value["note"][0]))(ctx, s, receive, send)
	})
	res := c.Post("/", pagitest.Multipart(pagitest.Part{Name: "note", Content: "hi"}, pagitest.Part{Name: "up", Filename: "a.txt", Content: "data"}))
	if res.Err != nil || res.Text() != "hi" || res.Header("x-file") != "a.txt application/octet-stream" {
		t.Errorf("%v %q %q", res.Err, res.Text(), res.Header("x-file"))
	}
}

func TestCookiesAreKept(t *testing.T) {
	var sent string
	set := []string{}
	c := client(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, send pagi.Send) error {
		sent = s.Headers.Get("cookie")
		ev := start()
		for _, line := range set {
			ev.Headers.Add("set-cookie", line)
		}
		return sending(ev, body(""))(ctx, s, r, send)
	})
	set = []string{"sid=abc; HttpOnly", "deep=1; Path=/a/b", "safe=1; Secure", "gone=1; Max-Age=0", "=bad"}
	c.Get("/")
	set = nil
	for target, want := range map[string]string{"/": "sid=abc", "/a/b": "deep=1; sid=abc", "/a/b/c": "deep=1; sid=abc", "/a/bc": "sid=abc"} {
		if c.Get(target); sent != want {
			t.Errorf("%s: sent %q, want %q", target, sent, want)
		}
	}
	if c.Cookie("sid") != "abc" || c.Cookie("gone") != "" || c.Cookie("deep") != "1" {
		t.Error("Cookie is wrong")
	}
	set = []string{"sid=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"}
	c.Get("/")
	if c.Get("/"); sent != "" {
		t.Errorf("an expired cookie was sent: %q", sent)
	}
	c.ClearCookies()
	if c.Cookie("deep") != "" {
		t.Error("ClearCookies left one")
	}
}

func TestResponseParts(t *testing.T) {
	ev := start("x", "1", "X", "2")
	ev.Trailers = true
	res := client(sending(
		pagi.HTTPResponseInformational{Status: 103, Headers: pagi.NewHeaders("link", "</a.css>")},
		ev, more("one "), pagi.HTTPFullFlush{}, more(""), body("two"),
		pagi.HTTPResponseTrailers{Headers: pagi.NewHeaders("x-sum", "9")},
	)).Get("/")
	if res.Err != nil || res.Text() != "one two" || len(res.Chunks) != 2 || res.Trailers.Get("x-sum") != "9" || len(res.Informational) != 1 || len(res.Events) != 7 {
		t.Errorf("%+v", res)
	}
	if res.Headers.Joined("x") != "1, 2" || res.Connection.IsConnected() || !res.Connection.ResponseComplete() {
		t.Error("headers or connection state are wrong")
	}
}

func TestFileAndHandleBodies(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f.txt")
	if err := os.WriteFile(file, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		ev   pagi.HTTPResponseBody
		want string
	}{
		"a file":               {pagi.HTTPResponseBody{File: file, Length: pagi.ToEnd}, "0123456789"},
		"a part of a file":     {pagi.HTTPResponseBody{File: file, Offset: 2, Length: 3, More: true}, "234"},
		"no part of a file":    {pagi.HTTPResponseBody{File: file, Length: 0}, ""},
		"no part of a handle":  {pagi.HTTPResponseBody{FH: strings.NewReader("abc")}, ""},
		"past the end":         {pagi.HTTPResponseBody{File: file, Offset: 20, Length: pagi.ToEnd}, ""},
		"a handle":             {pagi.HTTPResponseBody{FH: strings.NewReader("abc"), Length: pagi.ToEnd}, "abc"},
		"a part of a handle":   {pagi.HTTPResponseBody{FH: strings.NewReader("abcdef"), Offset: 1, Length: 2}, "bc"},
		"a handle only read":   {pagi.HTTPResponseBody{FH: io.LimitReader(strings.NewReader("abcdef"), 4), Length: pagi.ToEnd}, "abcd"},
		"a long length wanted": {pagi.HTTPResponseBody{FH: strings.NewReader("abc"), Length: 99}, "abc"},
	} {
		if res := client(sending(start(), tc.ev)).Get("/"); res.Err != nil || res.Text() != tc.want {
			t.Errorf("%s: %q, %v", name, res.Text(), res.Err)
		}
	}
	if res := client(sending(start(), pagi.HTTPResponseBody{File: file + ".absent", Length: pagi.ToEnd})).Get("/"); !errors.Is(res.Err, os.ErrNotExist) {
		t.Errorf("an absent file: %v", res.Err)
	}
	if res := client(sending(start(), pagi.HTTPResponseBody{FH: io.LimitReader(nil, 0), Offset: 1, Length: pagi.ToEnd})).Get("/"); res.Err == nil || !strings.Contains(res.Err.Error(), "seek") {
		t.Errorf("an offset without a seeker: %v", res.Err)
	}
}

func TestStrictness(t *testing.T) {
	noContent := pagi.HTTPResponseStart{Status: 204}
	trailed := pagi.HTTPResponseStart{Status: 200, Trailers: true}
	for name, tc := range map[string]struct {
		events []pagi.Event
		want   string
	}{
		"an invalid event":            {[]pagi.Event{pagi.HTTPResponseStart{Status: 7}}, "http.response.start: 'status' must be 200 to 999, is 7"},
		"another protocol's event":    {[]pagi.Event{pagi.SSEStart{}}, "sse.start: 'type' is not an event an application can send in a scope of type http"},
		"a name in upper case":        {[]pagi.Event{pagi.HTTPResponseStart{Status: 200, Headers: pagi.Headers{{Name: "X-Y", Value: "1"}}}}, `'headers' contains the name "X-Y", which must be in lower case`},
		"a body first":                {[]pagi.Event{body("x")}, "http.response.body: http.response.start must come first"},
		"two starts":                  {[]pagi.Event{start(), start()}, "http.response.start: the response was started already"},
		"a late informational":        {[]pagi.Event{start(), pagi.HTTPResponseInformational{Status: 103}}, "must come before http.response.start"},
		"a second body":               {[]pagi.Event{start(), body("x"), body("y")}, "http.response.body: the response is complete"},
		"a second body with trailers": {[]pagi.Event{trailed, body("x"), body("y")}, "http.response.body: the body is complete"},
		"trailers unannounced":        {[]pagi.Event{start(), more("x"), pagi.HTTPResponseTrailers{}}, "did not announce trailers"},
		"trailers too early":          {[]pagi.Event{trailed, more("x"), pagi.HTTPResponseTrailers{}}, "the body is not complete"},
		"trailers missing":            {[]pagi.Event{trailed, body("x")}, "the application returned before its response was complete"},
		"the end missing":             {[]pagi.Event{start(), more("x")}, "the application returned before its response was complete"},
		"nothing at all":              {nil, "the application returned without a response"},
		"a body after 204":            {[]pagi.Event{noContent, body("x")}, "a response with this status has no body"},
		"more than content-length":    {[]pagi.Event{start("content-length", "2"), body("xyz")}, "3 bytes are more than the content-length of 2"},
		"less than content-length":    {[]pagi.Event{start("content-length", "2"), more("x"), body("")}, "1 bytes are less than the content-length of 2"},
		"a content-length of letters": {[]pagi.Event{start("content-length", "two")}, `must contain at most one content-length, a number; found "two"`},
		"two content-lengths":         {[]pagi.Event{start("content-length", "2", "content-length", "2")}, "at most one content-length"},
	} {
		t.Run(name, func(t *testing.T) {
			res := client(sending(tc.events...)).Get("/")
			if res.Err == nil || !strings.Contains(res.Err.Error(), tc.want) {
				t.Errorf("got %v, want %s", res.Err, tc.want)
			}
		})
	}
	silent := client(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, send pagi.Send) error {
		_ = send(ctx, body("too early"))
		return sending(start(), body("fine"))(ctx, s, r, send)
	}).Get("/")
	if silent.Err == nil || silent.Text() != "fine" {
		t.Errorf("an error the application ignored: %v", silent.Err)
	}
	c := client(sending(pagi.HTTPFullFlush{}))
	c.Extensions = map[string]any{}
	if res := c.Get("/"); res.Err == nil || !strings.Contains(res.Err.Error(), "does not offer the extension fullflush") {
		t.Errorf("fullflush not offered: %v", res.Err)
	}
	c.App = pagi.AppFunc(sending(pagi.HTTPResponseInformational{Status: 103}))
	if res := c.Get("/"); res.Err == nil || !strings.Contains(res.Err.Error(), "http.informational") {
		t.Errorf("informational not offered: %v", res.Err)
	}
}

func TestFailuresSurface(t *testing.T) {
	boom := errors.New("boom")
	res := client(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { return boom }).Get("/")
	if !errors.Is(res.Err, boom) || res.Status != 500 || res.Connection.DisconnectReason() != pagi.ReasonServerError || !res.Connection.ResponseStarted() {
		t.Errorf("an error: %+v", res)
	}
	var p *pagi.PanicError
	res = client(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { panic("ouch") }).Get("/")
	if !errors.As(res.Err, &p) || res.Status != 500 {
		t.Errorf("a panic: %+v", res)
	}
	res = client(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error {
		return &pagi.StatusError{Status: 503, Headers: pagi.NewHeaders("retry-after", "5")}
	}).Get("/")
	if res.Status != 503 || res.Header("retry-after") != "5" {
		t.Errorf("a status error: %+v", res)
	}
	res = client(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, send pagi.Send) error {
		return errors.Join(sending(start(), more("part"))(ctx, s, r, send), boom)
	}).Get("/")
	if res.Status != 200 || !errors.Is(res.Err, boom) || res.Connection.ResponseComplete() {
		t.Errorf("an error half way: %+v", res)
	}
}

func TestCallbacksAtTheEnd(t *testing.T) {
	log := make(chan string, 4)
	watch := func(inner app) app {
		return func(ctx context.Context, s *pagi.Scope, r pagi.Receive, send pagi.Send) error {
			s.Connection.OnComplete(func() { log <- "complete" })
			s.Connection.OnDisconnect(func(reason string) { log <- reason })
			return inner(ctx, s, r, send)
		}
	}
	client(watch(sending(start(), body("")))).Get("/")
	client(watch(sending(start()))).Get("/")
	e := client(watch(func(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if err := sending(start(), more("first"))(ctx, s, receive, send); err != nil {
			return err
		}
		for {
			if ev, err := receive(ctx); err != nil || ev == (pagi.HTTPDisconnect{}) {
				log <- "event"
				return send(ctx, body("nobody reads this"))
			}
		}
	})).Begin("POST", "/", pagitest.Stream())
	if ev, ok := e.Next(); !ok || ev.EventType() != "http.response.start" {
		t.Fatalf("got %v, %v", ev, ok)
	}
	e.Next()
	e.Disconnect(pagi.ReasonClientClosed)
	if err := e.Write("x"); err == nil {
		t.Error("a write after the disconnect succeeded")
	}
	if _, ok := e.Next(); ok {
		t.Error("an event after the disconnect")
	}
	if res := e.Finish(); res.Text() != "first" {
		t.Errorf("a send after the disconnect did something: %v %q", res.Err, res.Text())
	}
	close(log)
	var got []string
	for s := range log {
		got = append(got, s)
	}
	if diff := cmp.Diff([]string{"complete", "server_error", "client_closed", "event"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestReceiveAfterTheEndIsADisconnect(t *testing.T) {
	var after pagi.Event
	c := client(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, send pagi.Send) error {
		err := sending(start(), body(""))(ctx, s, r, send)
		after, _ = r(ctx)
		return err
	})
	if res := c.Get("/"); res.Err != nil || after != (pagi.HTTPDisconnect{}) {
		t.Errorf("%v, %v", res.Err, after)
	}
}

func TestAHangingApplicationTimesOut(t *testing.T) {
	c := client(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, _ pagi.Send) error {
		<-ctx.Done()
		if s.Connection.DisconnectReason() != pagi.ReasonClientTimeout {
			<-s.Connection.Disconnected()
		}
		return nil
	})
	c.Timeout = time.Millisecond
	if res := c.Get("/"); res.Err == nil || !strings.Contains(res.Err.Error(), "no complete response within 1ms") {
		t.Errorf("got %v", res.Err)
	}
}

func TestWriteAfterTheApplicationReturned(t *testing.T) {
	e := client(sending(start(), body(""))).Begin("POST", "/", pagitest.Stream())
	for _, ok := e.Next(); ok; _, ok = e.Next() {
	}
	if err := e.CloseBody(); err == nil {
		t.Error("no error")
	}
	if res := e.Finish(); res.Err != nil {
		t.Error(res.Err)
	}
}

func withLife(startup, shutdown error) pagi.App {
	return lifespan.Hooks{
		Startup: []func(context.Context, map[string]any) error{func(_ context.Context, state map[string]any) error {
			state["n"] = 1
			return startup
		}},
		Shutdown: []func(context.Context, map[string]any) error{func(context.Context, map[string]any) error { return shutdown }},
	}.Wrap(pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, send pagi.Send) error {
		if s.Type != pagi.TypeHTTP {
			return pagi.Unsupported(s)
		}
		s.State["n"] = s.State["n"].(int) + 1 // private to the request
		return sending(start(), body(strings.Repeat("x", s.State["n"].(int))))(ctx, s, r, send)
	}))
}

func TestLifespanAndState(t *testing.T) {
	c := pagitest.Start(t, withLife(nil, nil))
	for range 2 {
		if res := c.Get("/"); res.Err != nil || res.Text() != "xx" {
			t.Errorf("%v %q", res.Err, res.Text())
		}
	}
	if c.State()["n"] != 1 {
		t.Errorf("state: %v", c.State())
	}
	if err := c.Startup(t.Context()); err != nil {
		t.Errorf("a second start: %v", err)
	}
	err := pagitest.Run(t.Context(), withLife(nil, errors.New("disk full")), func(c *pagitest.Client) error { return c.Get("/").Err })
	if err == nil || err.Error() != "shutdown failed: disk full" {
		t.Errorf("Run: %v", err)
	}
	err = pagitest.Run(t.Context(), withLife(errors.New("no"), nil), func(*pagitest.Client) error { t.Error("ran"); return nil })
	if err == nil || err.Error() != "startup failed: no" {
		t.Errorf("Run: %v", err)
	}
	plain := client(func(_ context.Context, s *pagi.Scope, _ pagi.Receive, _ pagi.Send) error { return pagi.Unsupported(s) })
	if err := plain.Startup(t.Context()); err != nil || plain.State() != nil {
		t.Errorf("an application without lifespan: %v, %v", err, plain.State())
	}
	if err := errors.Join(plain.Shutdown(t.Context()), plain.Shutdown(t.Context())); err != nil {
		t.Error(err)
	}
}

func TestResponseJSON(t *testing.T) {
	res := client(sending(start("content-type", "text/html"), body("<h1>"+strings.Repeat("x", 2000)))).Get("/")
	err := res.JSON(new(any))
	if err == nil || !strings.Contains(err.Error(), `status 200, content-type "text/html"`) || !strings.HasSuffix(err.Error(), "x...") || len(err.Error()) > 1700 {
		t.Errorf("got %v", err)
	}
}
