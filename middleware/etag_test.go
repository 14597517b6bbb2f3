package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func ExampleETag() {
	app := pagi.Chain(hello, middleware.ConditionalGet{}, middleware.ETag{})
	client := pagitest.New(app)
	tag := client.Get("/").Header("etag")
	fmt.Println(tag)
	fmt.Println(client.Get("/", pagitest.Header("if-none-match", tag)).Status)
	// Output:
	// "LPJNul-wow4m6Dsqxbning"
	// 304
}

func TestETag(t *testing.T) {
	body := func(b string, more bool) pagi.Event { return pagi.HTTPResponseBody{Body: []byte(b), More: more} }
	start := func(pairs ...string) pagi.Event {
		return pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders(pairs...)}
	}
	const helloTag = `"LPJNul-wow4m6Dsqxbning"`
	for _, c := range []struct {
		name   string
		m      middleware.ETag
		method string
		events []pagi.Event
		want   string
		chunks []string
	}{
		{"one piece", middleware.ETag{}, "GET", []pagi.Event{start(), body("hello", false)}, helloTag, []string{"hello"}},
		{"a weak one", middleware.ETag{Weak: true}, "GET", []pagi.Event{start(), body("hello", false)}, "W/" + helloTag, []string{"hello"}},
		{"an empty body", middleware.ETag{}, "GET", []pagi.Event{start(), body("", false)}, `"47DEQpj8HBSa-_TImW-5JA"`, nil},
		{"one that is there", middleware.ETag{}, "GET", []pagi.Event{start("etag", `"mine"`), body("hello", false)}, `"mine"`, []string{"hello"}},
		{"a body that is too large", middleware.ETag{MaxSize: 4}, "GET", []pagi.Event{start(), body("hello", false)}, "", []string{"hello"}},
		{"a body that is just not too large", middleware.ETag{MaxSize: 5}, "GET", []pagi.Event{start(), body("hello", false)}, helloTag, []string{"hello"}},
		{"no limit", middleware.ETag{MaxSize: -1}, "GET", []pagi.Event{start(), body("hello", false)}, helloTag, []string{"hello"}},
		{"a stream", middleware.ETag{}, "GET", []pagi.Event{start(), body("hel", true), body("lo", false)}, "", []string{"hel", "lo"}},
		{"pieces that are held back", middleware.ETag{Buffer: 3}, "GET", []pagi.Event{start(), body("hel", true), body("lo", false)}, helloTag, []string{"hello"}},
		{"pieces that are too large", middleware.ETag{Buffer: 2}, "GET", []pagi.Event{start(), body("hel", true), body("lo", false)}, "", []string{"hel", "lo"}},
		{"a flush", middleware.ETag{Buffer: 9}, "GET", []pagi.Event{start(), body("hel", true), pagi.HTTPFullFlush{}, body("lo", false)}, "", []string{"hel", "lo"}},
		{"a file", middleware.ETag{Buffer: 9}, "GET", []pagi.Event{start(), pagi.HTTPResponseBody{FH: strings.NewReader("hello"), Length: pagi.ToEnd}}, "", []string{"hello"}},
		{"no-store", middleware.ETag{}, "GET", []pagi.Event{start("cache-control", "private, no-store"), body("hello", false)}, "", []string{"hello"}},
		{"POST", middleware.ETag{}, "POST", []pagi.Event{start(), body("hello", false)}, "", []string{"hello"}},
		{"HEAD with a body", middleware.ETag{}, "HEAD", []pagi.Event{start(), body("hello", false)}, helloTag, nil},
		{"HEAD without one", middleware.ETag{}, "HEAD", []pagi.Event{start("content-length", "5"), body("", false)}, "", nil},
		{"another status", middleware.ETag{}, "GET", []pagi.Event{pagi.HTTPResponseStart{Status: 404}, body("hello", false)}, "", []string{"hello"}},
		{"a part", middleware.ETag{}, "GET", []pagi.Event{pagi.HTTPResponseStart{Status: 206}, body("hello", false)}, "", []string{"hello"}},
		{"trailers", middleware.ETag{}, "GET", []pagi.Event{pagi.HTTPResponseStart{Status: 200, Trailers: true}, body("hello", false), pagi.HTTPResponseTrailers{}}, "", []string{"hello"}},
	} {
		res := pagitest.New(c.m.Wrap(answering(c.events...))).Do(c.method, "/")
		var chunks []string
		for _, chunk := range res.Chunks {
			if len(chunk) > 0 && c.method != "HEAD" {
				chunks = append(chunks, string(chunk))
			}
		}
		if diff := cmp.Diff(c.chunks, chunks); diff != "" || res.Err != nil || res.Header("etag") != c.want {
			t.Errorf("%s: tag %q, %v %s", c.name, res.Header("etag"), res.Err, diff)
		}
	}
	if tag := pagitest.New(middleware.ETag{}.Wrap(hello)).Get("/").Header("etag"); !regexp.MustCompile(`^"[\w-]{22}"$`).MatchString(tag) {
		t.Error(tag)
	}
	if res := pagitest.New(pagi.Chain(hello, middleware.Head{}, middleware.ETag{})).Head("/"); res.Header("etag") != helloTag || len(res.Body) > 0 {
		t.Errorf("HEAD with Head around: %v", res.Headers)
	}
	other := respond(200, "hello!")
	if a, b := pagitest.New(middleware.ETag{}.Wrap(hello)).Get("/"), pagitest.New(middleware.ETag{}.Wrap(other)).Get("/"); a.Header("etag") == b.Header("etag") {
		t.Error("two bodies have the same tag")
	}
	if len(shared) != 1 {
		t.Errorf("the application's own headers were changed: %v", shared)
	}
	if err := (middleware.ETag{Buffer: -1}).Check(); err == nil || err.Error() != "buffer: must not be negative, is -1" {
		t.Error(err)
	}
}

func ExampleConditionalGet() {
	page := respond(200, "news", "etag", `"v7"`, "content-type", "text/plain")
	app := middleware.ConditionalGet{}.Wrap(page)
	res := pagitest.New(app).Get("/", pagitest.Header("if-none-match", `"v6", "v7"`))
	fmt.Println(res.Status, res.Header("etag"), len(res.Body))
	// Output: 304 "v7" 0
}

func TestConditionalGet(t *testing.T) {
	const date = "Sun, 06 Nov 1994 08:49:37 GMT"
	for _, c := range []struct {
		name     string
		method   string
		response []string
		request  []string
		want     int
	}{
		{"the tag", "GET", []string{"etag", `"a"`}, []string{"if-none-match", `"a"`}, 304},
		{"another tag", "GET", []string{"etag", `"a"`}, []string{"if-none-match", `"b"`}, 200},
		{"HEAD", "HEAD", []string{"etag", `"a"`}, []string{"if-none-match", `"a"`}, 304},
		{"POST", "POST", []string{"etag", `"a"`}, []string{"if-none-match", `"a"`}, 200},
		{"a list", "GET", []string{"etag", `"a"`}, []string{"if-none-match", `"x", "y",W/"z" , "a"`}, 304},
		{"a list in two lines", "GET", []string{"etag", `"a"`}, []string{"if-none-match", `"x"`, "if-none-match", `"a"`}, 304},
		{"a tag with a comma", "GET", []string{"etag", `"a,b"`}, []string{"if-none-match", `"a,b"`}, 304},
		{"a part of a tag", "GET", []string{"etag", `"b"`}, []string{"if-none-match", `"a,b"`}, 200},
		{"a weak tag of the client", "GET", []string{"etag", `"a"`}, []string{"if-none-match", `W/"a"`}, 304},
		{"a weak tag of the response", "GET", []string{"etag", `W/"a"`}, []string{"if-none-match", `"a"`}, 304},
		{"both weak", "GET", []string{"etag", `W/"a"`}, []string{"if-none-match", `W/"a"`}, 304},
		{"an asterisk", "GET", []string{"etag", `"a"`}, []string{"if-none-match", "*"}, 304},
		{"an asterisk without a tag", "GET", nil, []string{"if-none-match", "*"}, 304},
		{"an asterisk in quotes is a tag", "GET", []string{"etag", `"a"`}, []string{"if-none-match", `"*"`}, 200},
		{"a tag without quotes", "GET", []string{"etag", `"a"`}, []string{"if-none-match", "a"}, 200},
		{"an empty list", "GET", []string{"etag", `"a"`}, []string{"if-none-match", ""}, 200},
		{"no tag in the response", "GET", nil, []string{"if-none-match", `"a"`}, 200},
		{"the date", "GET", []string{"last-modified", date}, []string{"if-modified-since", date}, 304},
		{"a later date", "GET", []string{"last-modified", date}, []string{"if-modified-since", "Sun, 06 Nov 1994 08:49:38 GMT"}, 304},
		{"an earlier date", "GET", []string{"last-modified", date}, []string{"if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT"}, 200},
		{"the date of RFC 850", "GET", []string{"last-modified", date}, []string{"if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT"}, 304},
		{"the date of asctime", "GET", []string{"last-modified", date}, []string{"if-modified-since", "Sun Nov  6 08:49:37 1994"}, 304},
		{"a response with the date of asctime", "GET", []string{"last-modified", "Sun Nov  6 08:49:37 1994"}, []string{"if-modified-since", date}, 304},
		{"no date", "GET", []string{"last-modified", date}, []string{"if-modified-since", "yesterday"}, 200},
		{"no date in the response", "GET", []string{"last-modified", "yesterday"}, []string{"if-modified-since", date}, 200},
		{"a tag counts before a date", "GET", []string{"last-modified", date, "etag", `"a"`}, []string{"if-modified-since", date, "if-none-match", `"b"`}, 200},
		{"even if the response has none", "GET", []string{"last-modified", date}, []string{"if-modified-since", date, "if-none-match", `"b"`}, 200},
		{"the tag fits and the date does not", "GET", []string{"last-modified", date, "etag", `"a"`},
			[]string{"if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT", "if-none-match", `"a"`}, 304},
		{"no condition", "GET", []string{"etag", `"a"`}, nil, 200},
	} {
		var opts []pagitest.Option
		for i := 0; i < len(c.request); i += 2 {
			opts = append(opts, pagitest.Header(c.request[i], c.request[i+1]))
		}
		res := pagitest.New(middleware.ConditionalGet{}.Wrap(respond(200, "hello", c.response...))).Do(c.method, "/", opts...)
		if res.Err != nil || res.Status != c.want || (c.want == 200 && c.method != "HEAD") != (res.Text() == "hello") {
			t.Errorf("%s: %d %q %v", c.name, res.Status, res.Body, res.Err)
		}
	}
	for _, status := range []int{201, 203, 206, 301, 404, 500} {
		res := pagitest.New(middleware.ConditionalGet{}.Wrap(respond(status, "hello", "etag", `"a"`))).Get("/", pagitest.Header("if-none-match", `"a"`))
		if res.Status != status {
			t.Errorf("%d becomes %d", status, res.Status)
		}
	}
}

func TestConditionalGetKeepsTheHeadersOf304(t *testing.T) {
	kept := []string{"etag", `"a"`, "last-modified", "Sun, 06 Nov 1994 08:49:37 GMT", "cache-control", "max-age=1", "expires", "0", "vary", "accept", "date", "now",
		"content-location", "/a", "set-cookie", "a=1", "set-cookie", "b=2", "access-control-allow-origin", "*", "content-security-policy", "x", "x-request-id", "7"}
	dropped := []string{"content-type", "text/plain", "content-length", "5", "content-encoding", "br", "content-language", "de", "accept-ranges", "bytes",
		"content-digest", "x", "content-disposition", "inline", "trailer", "x-sum"}
	app := answering(pagi.HTTPResponseStart{Status: 200, Trailers: true, Headers: pagi.NewHeaders(append(dropped, kept...)...)}, pagi.HTTPFullFlush{},
		pagi.HTTPResponseBody{Body: []byte("he"), More: true}, pagi.HTTPResponseBody{Body: []byte("llo")}, pagi.HTTPResponseTrailers{Headers: pagi.NewHeaders("x-sum", "1")})
	res := pagitest.New(middleware.ConditionalGet{}.Wrap(app)).Get("/", pagitest.Header("if-none-match", `"a"`))
	got := res.Headers.Clone()
	want := pagi.NewHeaders(kept...)
	got.Del("date") // the server's own over a socket
	want.Del("date")
	if diff := cmp.Diff(want, got); diff != "" || res.Err != nil || res.Status != 304 || len(res.Body) > 0 || len(res.Trailers) > 0 {
		t.Errorf("%d %v %s", res.Status, res.Err, diff)
	}
}

func TestConditionalGetReportsWhatFails(t *testing.T) {
	boom := errors.New("boom")
	send := func(context.Context, pagi.Event) error { return boom }
	scope := &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Headers: pagi.NewHeaders("if-none-match", "*")}
	if err := (middleware.ConditionalGet{}).Wrap(hello).Serve(t.Context(), scope, nil, send); !errors.Is(err, boom) {
		t.Error(err)
	}
}

func TestTagsAndConditionsAroundCompression(t *testing.T) {
	page := respond(200, longText, "content-type", "text/html")
	client := pagitest.New(pagi.Chain(page, middleware.ConditionalGet{}, middleware.GZip{}, middleware.ETag{}))
	gzip := pagitest.Header("accept-encoding", "gzip")
	first, plain := client.Get("/", gzip), client.Get("/")
	tag := first.Header("etag")
	if tag != "W/"+plain.Header("etag") || decoded(t, first) != longText {
		t.Errorf("tags %q and %q", tag, plain.Header("etag"))
	}
	for _, tag := range []string{tag, plain.Header("etag")} {
		for _, opts := range [][]pagitest.Option{{gzip}, nil} {
			res := client.Get("/", append(opts, pagitest.Header("if-none-match", tag))...)
			if res.Status != 304 || res.Header("vary") != "accept-encoding" || res.Headers.Has("content-encoding") || res.Err != nil {
				t.Errorf("%s: %d %v %v", tag, res.Status, res.Headers, res.Err)
			}
		}
	}
	inside := pagitest.New(pagi.Chain(page, middleware.GZip{}, middleware.ConditionalGet{}, middleware.ETag{}))
	if res := inside.Get("/", gzip, pagitest.Header("if-none-match", tag)); res.Status != 304 || res.Header("etag") != tag {
		t.Errorf("the other order: %d %v", res.Status, res.Headers)
	}
}

func TestETagAndConditionalGetLeaveOtherScopesAlone(t *testing.T) {
	app := pagi.Chain(pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
		if s.Type == pagi.TypeSSE {
			return answering(pagi.SSEStart{Headers: pagi.NewHeaders("etag", `"a"`)}, pagi.SSESend{Data: "hello"}).Serve(ctx, s, r, w)
		}
		return pagi.Unsupported(s)
	}), middleware.ConditionalGet{}, middleware.ETag{})
	events := pagitest.New(app).Events("/", pagitest.Header("if-none-match", `"a"`))
	if ev, ok := events.Next(); !ok || ev.Data != "hello" {
		t.Errorf("%v", ev)
	}
	events.Finish()
}

func BenchmarkETag(b *testing.B) {
	app := pagi.Chain(respond(200, longText[:2048]), middleware.ConditionalGet{}, middleware.ETag{})
	scope := &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Connection: complete{}}
	send := func(context.Context, pagi.Event) error { return nil }
	b.ReportAllocs()
	for b.Loop() {
		if err := app.Serve(b.Context(), scope, nil, send); err != nil {
			b.Fatal(err)
		}
	}
}
