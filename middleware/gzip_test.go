package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

var longText = strings.Repeat("all work and no play ", 200)

func ExampleGZip() {
	page := answering(pagi.HTTPResponseStart{Status: 200, Headers: shared}, pagi.HTTPResponseBody{Body: []byte(longText)})
	app := middleware.GZip{Encodings: []string{"zstd", "gzip"}}.Wrap(page)
	res := pagitest.New(app).Get("/", pagitest.Header("accept-encoding", "gzip, deflate, br"))
	fmt.Println(res.Header("content-encoding"), len(res.Body) < len(longText)/10, res.Header("vary"))
	// Output: gzip true accept-encoding
}

// decoded returns the body of a response without its Content-Encoding.
func decoded(t *testing.T, res *pagitest.Response) string {
	t.Helper()
	return decodedBytes(t, res.Header("content-encoding"), res.Body)
}

func decodedBytes(t *testing.T, name string, body []byte) string {
	t.Helper()
	if len(body) == 0 {
		return ""
	}
	var r io.Reader = bytes.NewReader(body)
	var err error
	switch name {
	case "gzip":
		r, err = gzip.NewReader(r)
	case "br":
		r = brotli.NewReader(r)
	case "zstd":
		r, err = zstd.NewReader(r)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	plain, err := io.ReadAll(r)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%s: %v", name, err)
	}
	return string(plain)
}

func respond(status int, body string, pairs ...string) pagi.App {
	return answering(pagi.HTTPResponseStart{Status: status, Headers: pagi.NewHeaders(pairs...)}, pagi.HTTPResponseBody{Body: []byte(body)})
}

func TestGZipChoosesTheCoding(t *testing.T) {
	for _, c := range []struct{ name, accept, want string }{
		{"a browser of today gets zstd", "gzip, deflate, br, zstd", "zstd"},
		{"an older one gets br", "gzip, deflate, br", "br"},
		{"gzip alone", "gzip", "gzip"},
		{"in capitals", "GZIP", "gzip"},
		{"its old name", "x-gzip", "gzip"},
		{"its old name with q=0", "x-gzip;q=0, zstd", "zstd"},
		{"the client's weights count first", "br;q=0.5, gzip;q=0.8", "gzip"},
		{"a weight of zero refuses", "br;q=0, gzip", "gzip"},
		{"however it is written", "br; Q=0.000 ,gzip", "gzip"},
		{"all refused", "br;q=0, gzip;q=0, zstd;q=0", ""},
		{"an asterisk stands for all", "*", "zstd"},
		{"but not for those that are named", "zstd;q=0, *;q=0.5", "br"},
		{"an asterisk refuses", "*;q=0", ""},
		{"an asterisk refuses the others", "gzip, *;q=0", "gzip"},
		{"the plain body by name", "identity", ""},
		{"the plain body is liked better", "identity, gzip;q=0.5", ""},
		{"the plain body is liked as well", "identity, gzip", "gzip"},
		{"the plain body is refused", "identity;q=0, gzip;q=0.1", "gzip"},
		{"all is refused, which the plain body answers", "identity;q=0, gzip;q=0", ""},
		{"no coding of ours", "deflate, compress", ""},
		{"a word that only contains gzip", "nogzip, gzipped", ""},
		{"an empty header", "", ""},
		{"a broken weight is left out", "br;q=x, gzip", "gzip"},
		{"an empty element", ", ,gzip,", "gzip"},
	} {
		res := pagitest.New(middleware.GZip{}.Wrap(respond(200, longText, "content-type", "text/html"))).Get("/", pagitest.Header("accept-encoding", c.accept))
		if got := res.Header("content-encoding"); got != c.want || res.Err != nil || decoded(t, res) != longText || res.Header("vary") != "accept-encoding" {
			t.Errorf("%s: %q, Vary %q, %v", c.name, got, res.Header("vary"), res.Err)
		}
	}
	res := pagitest.New(middleware.GZip{}.Wrap(respond(200, longText, "content-type", "text/html"))).Get("/")
	if res.Headers.Has("content-encoding") || res.Header("vary") != "accept-encoding" || res.Text() != longText {
		t.Errorf("without the header: %v", res.Headers)
	}
	res = pagitest.New(middleware.GZip{}.Wrap(respond(200, longText, "content-type", "text/html"))).
		Get("/", pagitest.Header("accept-encoding", "br;q=0"), pagitest.Header("accept-encoding", "gzip"))
	if res.Header("content-encoding") != "gzip" {
		t.Errorf("two lines: %v", res.Headers)
	}
}

func TestGZipOptions(t *testing.T) {
	for _, c := range []struct {
		name    string
		m       middleware.GZip
		accept  string
		body    string
		headers []string
		want    string
	}{
		{"another order", middleware.GZip{Encodings: []string{"gzip", "br"}}, "br, gzip", longText, []string{"content-type", "text/html"}, "gzip"},
		{"a coding that is not among them", middleware.GZip{Encodings: []string{"gzip"}}, "br, zstd", longText, []string{"content-type", "text/html"}, ""},
		{"no codings", middleware.GZip{Encodings: []string{}}, "br, zstd", longText, []string{"content-type", "text/html"}, ""},
		{"levels", middleware.GZip{GzipLevel: 9, BrotliLevel: 11, ZstdLevel: 19}, "br", longText, []string{"content-type", "text/html"}, "br"},
		{"a body that is too small", middleware.GZip{}, "gzip", longText[:1023], []string{"content-type", "text/html"}, ""},
		{"one that is just large enough", middleware.GZip{}, "gzip", longText[:1024], []string{"content-type", "text/html"}, "gzip"},
		{"an empty body", middleware.GZip{}, "gzip", "", []string{"content-type", "text/html"}, ""},
		{"another limit", middleware.GZip{MinSize: 10}, "gzip", "Hello, World!", []string{"content-type", "text/html"}, "gzip"},
		{"no limit", middleware.GZip{MinSize: -1}, "gzip", "", []string{"content-type", "text/html"}, "gzip"},
		{"a type with parameters", middleware.GZip{}, "gzip", longText, []string{"content-type", "TEXT/HTML ; charset=utf-8"}, "gzip"},
		{"JSON", middleware.GZip{}, "gzip", longText, []string{"content-type", "application/json"}, "gzip"},
		{"JSON of a kind", middleware.GZip{}, "gzip", longText, []string{"content-type", "application/problem+json"}, "gzip"},
		{"an SVG", middleware.GZip{}, "gzip", longText, []string{"content-type", "image/svg+xml"}, "gzip"},
		{"a picture", middleware.GZip{}, "gzip", longText, []string{"content-type", "image/png"}, ""},
		{"an archive", middleware.GZip{}, "gzip", longText, []string{"content-type", "application/zip"}, ""},
		{"no type", middleware.GZip{}, "gzip", longText, nil, ""},
		{"own types", middleware.GZip{Types: []string{"image/png"}}, "gzip", longText, []string{"content-type", "image/png"}, "gzip"},
		{"own types only", middleware.GZip{Types: []string{"image/png"}}, "gzip", longText, []string{"content-type", "text/html"}, ""},
		{"own range", middleware.GZip{Types: []string{"image/*"}}, "gzip", longText, []string{"content-type", "image/gif"}, "gzip"},
		{"a range does not match a longer type", middleware.GZip{Types: []string{"text/*"}}, "gzip", longText, []string{"content-type", "textual/x"}, ""},
		{"all types", middleware.GZip{Types: []string{"*/*"}}, "gzip", longText, []string{"content-type", "x/y"}, "gzip"},
		{"an event stream", middleware.GZip{}, "gzip", longText, []string{"content-type", "text/event-stream; charset=utf-8"}, ""},
		{"an event stream of all types", middleware.GZip{Types: []string{"*/*"}}, "gzip", longText, []string{"content-type", "text/event-stream"}, ""},
		{"an event stream if asked for", middleware.GZip{SSE: true}, "gzip", longText, []string{"content-type", "text/event-stream"}, "gzip"},
		{"a body that is encoded already", middleware.GZip{}, "gzip", longText, []string{"content-type", "text/html", "content-encoding", "br"}, "br"},
		{"one that is encoded with identity", middleware.GZip{}, "gzip", longText, []string{"content-type", "text/html", "content-encoding", "identity"}, "gzip"},
		{"no-transform", middleware.GZip{}, "gzip", longText, []string{"content-type", "text/html", "cache-control", "public, No-Transform"}, ""},
		{"a range", middleware.GZip{}, "gzip", longText, []string{"content-type", "text/html", "content-range", "bytes 0-4199/9999"}, ""},
		{"a length that is small", middleware.GZip{}, "gzip", "x", []string{"content-type", "text/html", "content-length", "1"}, ""},
		{"a length that is large", middleware.GZip{}, "gzip", longText, []string{"content-type", "text/html", "content-length", "4200"}, "gzip"},
	} {
		res := pagitest.New(c.m.Wrap(respond(200, c.body, c.headers...))).Get("/", pagitest.Header("accept-encoding", c.accept))
		if got := res.Header("content-encoding"); got != c.want || res.Err != nil || got != "br" && decoded(t, res) != c.body {
			t.Errorf("%s: %q %v", c.name, got, res.Err)
		}
	}
}

func TestGZipKeepsStatusesAndMendsHeaders(t *testing.T) {
	before := []string{"content-type", "text/html", "content-length", "4200", "accept-ranges", "bytes", "etag", `"v1"`, "vary", "cookie", "vary", "origin",
		"content-digest", "sha-256=:x:", "repr-digest", "sha-256=:x:", "digest", "x", "content-md5", "x", "x-own", "1"}
	for status, compressed := range map[int]bool{200: true, 201: true, 404: true, 500: true, 206: false} {
		res := pagitest.New(middleware.GZip{}.Wrap(respond(status, longText, before...))).Get("/", pagitest.Header("accept-encoding", "gzip"))
		want := pagi.NewHeaders("content-type", "text/html", "etag", `W/"v1"`, "x-own", "1", "content-encoding", "gzip", "vary", "cookie, origin, accept-encoding")
		if !compressed {
			want = pagi.NewHeaders(before...)
			want.Del("content-length")
		}
		got := res.Headers.Clone()
		got.Del("content-length") // not there over a socket
		if diff := cmp.Diff(want, got); diff != "" || res.Status != status || res.Err != nil {
			t.Errorf("%d: %d %v %s", status, res.Status, res.Err, diff)
		}
	}
	for _, c := range []struct {
		name, accept, etag, want, vary string
		status                         int
		headers                        []string
	}{
		{"304 has the tag of 200", "gzip", `"v1"`, `W/"v1"`, "accept-encoding", 304, nil},
		{"304 for a client without codings", "", `"v1"`, `"v1"`, "accept-encoding", 304, nil},
		{"304 of another type", "gzip", `"v1"`, `"v1"`, "", 304, []string{"content-type", "image/png"}},
		{"a weak tag stays", "gzip", `W/"v1"`, `W/"v1"`, "accept-encoding", 200, []string{"content-type", "text/css"}},
		{"a plain body keeps its tag", "", `"v1"`, `"v1"`, "accept-encoding", 200, []string{"content-type", "text/css"}},
		{"Vary of all", "gzip", `"v1"`, `W/"v1"`, "*", 200, []string{"content-type", "text/css", "vary", "*"}},
		{"Vary is there already", "gzip", `"v1"`, `W/"v1"`, "Accept-Encoding", 200, []string{"content-type", "text/css", "vary", "Accept-Encoding"}},
		{"204", "gzip", `"v1"`, `"v1"`, "", 204, []string{"content-type", "text/css"}},
	} {
		body := longText
		if c.status != 200 {
			body = ""
		}
		res := pagitest.New(middleware.GZip{}.Wrap(respond(c.status, body, append(c.headers, "etag", c.etag)...))).Get("/", pagitest.Header("accept-encoding", c.accept))
		if res.Err != nil || res.Status != c.status || res.Header("etag") != c.want || res.Headers.Joined("vary") != c.vary {
			t.Errorf("%s: %d %v %v", c.name, res.Status, res.Headers, res.Err)
		}
	}
}

func TestGZipHead(t *testing.T) {
	for _, c := range []struct {
		name    string
		body    string
		headers []string
		want    string
	}{
		{"a length that is large enough", "", []string{"content-length", "4200"}, "gzip"},
		{"a length that is not", "", []string{"content-length", "42"}, ""},
		{"the body as for GET", longText, nil, "gzip"},
		{"a length as of a large file", "", []string{"content-length", "10485761"}, ""},
		{"nothing is known", "", nil, ""},
	} {
		app := middleware.GZip{}.Wrap(respond(200, c.body, append(c.headers, "content-type", "text/html")...))
		res := pagitest.New(app).Head("/", pagitest.Header("accept-encoding", "gzip"))
		if res.Err != nil || res.Header("content-encoding") != c.want || c.want != "" && res.Headers.Has("content-length") {
			t.Errorf("%s: %v %v", c.name, res.Headers, res.Err)
		}
		for _, ev := range res.Events {
			if body, is := ev.(pagi.HTTPResponseBody); is && c.want != "" && len(body.Body) > 0 {
				t.Errorf("%s: the server would tell the length of the plain body", c.name)
			}
		}
	}
}

// timed is an application that sends pieces, each when it is told to.
func timed(next <-chan string, flush bool) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		if err := send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "text/plain")}); err != nil {
			return err
		}
		for piece := range next {
			if err := send(ctx, pagi.HTTPResponseBody{Body: []byte(piece), More: true}); err != nil {
				return err
			}
			if flush {
				if err := send(ctx, pagi.HTTPFullFlush{}); err != nil {
					return err
				}
			}
		}
		return send(ctx, pagi.HTTPResponseBody{})
	})
}

func TestGZipLetsEachPieceLeaveAtOnce(t *testing.T) {
	for _, name := range []string{"gzip", "br", "zstd"} {
		for _, flush := range []bool{false, true} {
			next := make(chan string)
			x := pagitest.New(middleware.GZip{}.Wrap(timed(next, flush))).Begin("GET", "/", pagitest.Header("accept-encoding", name))
			var got []byte
			want := ""
			for i := range 10 {
				piece := fmt.Sprintf("piece %d\n", i)
				want += piece
				go func() { next <- piece }()
				for decodedBytes(t, name, got) != want {
					ev, ok := x.Next()
					if !ok {
						t.Fatalf("%s: the response ends after piece %d", name, i)
					}
					if body, is := ev.(pagi.HTTPResponseBody); is {
						got = append(got, body.Body...)
					}
				}
			}
			close(next)
			if res := x.Finish(); res.Err != nil || decoded(t, res) != want {
				t.Errorf("%s: %v", name, res.Err)
			}
		}
	}
}

func TestGZipStreams(t *testing.T) {
	start := func(pairs ...string) pagi.Event {
		return pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders(append(pairs, "content-type", "text/plain")...)}
	}
	piece := func(s string, more bool) pagi.Event { return pagi.HTTPResponseBody{Body: []byte(s), More: more} }
	for _, c := range []struct {
		name       string
		events     []pagi.Event
		body, want string
	}{
		{"pieces", []pagi.Event{start(), piece("a", true), piece("b", true), piece("c", false)}, "abc", "gzip"},
		{"empty pieces", []pagi.Event{start(), piece("", true), piece("a", true), piece("", true), piece("", false)}, "a", "gzip"},
		{"pieces with a small length", []pagi.Event{start("content-length", "3"), piece("a", true), piece("bc", false)}, "abc", ""},
		{"a flush before the body", []pagi.Event{start(), pagi.HTTPFullFlush{}, piece("abc", false)}, "abc", "gzip"},
		{"a flush before the start", []pagi.Event{pagi.HTTPFullFlush{}, start(), piece("abc", false)}, "abc", ""},
		{"a flush and a small length", []pagi.Event{start("content-length", "3"), pagi.HTTPFullFlush{}, piece("abc", false)}, "abc", ""},
		{"an interim response", []pagi.Event{pagi.HTTPResponseInformational{Status: 103}, start(), piece(longText, false)}, longText, "gzip"},
		{"a file after a piece", []pagi.Event{start(), piece("a", true), pagi.HTTPResponseBody{FH: strings.NewReader("bc"), Length: pagi.ToEnd}}, "abc", "gzip"},
	} {
		res := pagitest.New(middleware.GZip{}.Wrap(answering(c.events...))).Get("/", pagitest.Header("accept-encoding", "gzip"))
		if res.Err != nil || res.Header("content-encoding") != c.want || decoded(t, res) != c.body {
			t.Errorf("%s: %v %q %v", c.name, res.Headers, res.Body, res.Err)
		}
	}
	res := pagitest.New(middleware.GZip{}.Wrap(answering(
		pagi.HTTPResponseStart{Status: 200, Trailers: true, Headers: pagi.NewHeaders("content-type", "text/plain")}, piece("a", true), piece(longText, false),
		pagi.HTTPResponseTrailers{Headers: pagi.NewHeaders("x-sum", "1")}))).Get("/", pagitest.Header("accept-encoding", "gzip"))
	if res.Err != nil || res.Trailers.Get("x-sum") != "1" || decoded(t, res) != "a"+longText {
		t.Errorf("trailers: %v %v", res.Trailers, res.Err)
	}
}

func TestGZipFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	var lines strings.Builder
	for i := 0; lines.Len() < 300<<10; i++ {
		fmt.Fprintf(&lines, "line %d of %x\n", i, i*i*7919)
	}
	large := lines.String()
	small, big := write("small", "tiny"), write("big", large)
	handle := func(at int64) *os.File {
		f, err := os.Open(big)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		if _, err := f.Seek(at, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, c := range []struct {
		name       string
		m          middleware.GZip
		body       func() pagi.HTTPResponseBody
		want, text string
	}{
		{"a file", middleware.GZip{}, func() pagi.HTTPResponseBody { return pagi.HTTPResponseBody{File: big, Length: pagi.ToEnd} }, "gzip", large},
		{"a small file", middleware.GZip{}, func() pagi.HTTPResponseBody { return pagi.HTTPResponseBody{File: small, Length: pagi.ToEnd} }, "", "tiny"},
		{"a part of a file", middleware.GZip{}, func() pagi.HTTPResponseBody {
			return pagi.HTTPResponseBody{File: big, Offset: 100, Length: 5000}
		}, "gzip", large[100:5100]},
		{"a small part", middleware.GZip{}, func() pagi.HTTPResponseBody { return pagi.HTTPResponseBody{File: big, Offset: 100, Length: 50} }, "", large[100:150]},
		{"none of a file", middleware.GZip{}, func() pagi.HTTPResponseBody { return pagi.HTTPResponseBody{File: big} }, "", ""},
		{"a file that is too large", middleware.GZip{MaxFile: 200 << 10}, func() pagi.HTTPResponseBody { return pagi.HTTPResponseBody{File: big, Length: pagi.ToEnd} }, "", large},
		{"no limit", middleware.GZip{MaxFile: -1}, func() pagi.HTTPResponseBody { return pagi.HTTPResponseBody{File: big, Length: pagi.ToEnd} }, "gzip", large},
		{"a handle", middleware.GZip{}, func() pagi.HTTPResponseBody { return pagi.HTTPResponseBody{FH: handle(0), Length: pagi.ToEnd} }, "gzip", large},
		{"a handle that was read", middleware.GZip{}, func() pagi.HTTPResponseBody { return pagi.HTTPResponseBody{FH: handle(10), Length: pagi.ToEnd} }, "gzip", large[10:]},
		{"a handle with an offset", middleware.GZip{}, func() pagi.HTTPResponseBody {
			return pagi.HTTPResponseBody{FH: handle(10), Offset: 20, Length: 9000}
		}, "gzip", large[20:9020]},
		{"a reader", middleware.GZip{}, func() pagi.HTTPResponseBody {
			return pagi.HTTPResponseBody{FH: strings.NewReader("abc"), Length: pagi.ToEnd}
		}, "gzip", "abc"},
		{"a reader with an offset", middleware.GZip{}, func() pagi.HTTPResponseBody {
			return pagi.HTTPResponseBody{FH: strings.NewReader("abcdef"), Offset: 1, Length: 3}
		}, "gzip", "bcd"},
		{"a reader without a seek", middleware.GZip{}, func() pagi.HTTPResponseBody {
			return pagi.HTTPResponseBody{FH: io.MultiReader(strings.NewReader("abc")), Length: 2}
		}, "gzip", "ab"},
	} {
		app := pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, send pagi.Send) error {
			return answering(pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "text/plain")}, c.body()).Serve(ctx, s, r, send)
		})
		res := pagitest.New(c.m.Wrap(app)).Get("/", pagitest.Header("accept-encoding", "gzip"))
		if res.Err != nil || res.Header("content-encoding") != c.want || decoded(t, res) != c.text {
			t.Errorf("%s: %v, %d bytes, %v", c.name, res.Headers, len(res.Body), res.Err)
		}
		res = pagitest.New(c.m.Wrap(app)).Head("/", pagitest.Header("accept-encoding", "gzip"))
		if res.Err != nil || res.Header("content-encoding") != c.want {
			t.Errorf("HEAD, %s: %v, %v", c.name, res.Headers, res.Err)
		}
	}
	for name, body := range map[string]pagi.HTTPResponseBody{
		"a file that is missing":      {File: filepath.Join(dir, "none"), Length: pagi.ToEnd},
		"a directory":                 {File: dir, Length: pagi.ToEnd},
		"an offset that is no number": {File: big, Offset: -1, Length: pagi.ToEnd},
		"an offset without a seek":    {FH: io.MultiReader(strings.NewReader("abc")), Offset: 1, Length: pagi.ToEnd},
	} {
		for _, first := range []string{"", "a"} {
			events := []pagi.Event{pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "text/plain")}}
			if first != "" {
				events = append(events, pagi.HTTPResponseBody{Body: []byte(first), More: true})
			}
			res := pagitest.New(middleware.GZip{}.Wrap(answering(append(events, body)...))).Get("/", pagitest.Header("accept-encoding", "gzip"))
			if res.Err == nil {
				t.Errorf("%s after %q is sent", name, first)
			}
		}
	}
}

func TestGZipDoesNotWaitForAWriterOfANamedPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	var got []pagi.Event
	send := func(_ context.Context, ev pagi.Event) error { got = append(got, ev); return nil }
	app := middleware.GZip{}.Wrap(answering(pagi.HTTPResponseStart{Status: 200, Headers: shared}, pagi.HTTPResponseBody{File: pipe, Length: pagi.ToEnd}))
	done := make(chan error, 1)
	go func() {
		done <- app.Serve(t.Context(), &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Headers: pagi.NewHeaders("accept-encoding", "br")}, nil, send)
	}()
	select {
	case err := <-done:
		if err != nil || len(got) != 2 {
			t.Errorf("%v %v", got, err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits")
	}
}

func TestGZipAfterFailures(t *testing.T) {
	boom := errors.New("boom")
	start := pagi.HTTPResponseStart{Status: 200, Headers: shared}
	after := func(err error, events ...pagi.Event) pagi.App {
		return pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
			return errors.Join(answering(events...).Serve(ctx, s, r, w), err)
		})
	}
	gzip := pagitest.Header("accept-encoding", "gzip")
	if res := pagitest.New(middleware.GZip{}.Wrap(after(boom, start))).Get("/", gzip); res.Status != 500 || !errors.Is(res.Err, boom) {
		t.Errorf("a failure after the start: %d %v", res.Status, res.Err)
	}
	if res := pagitest.New(middleware.GZip{}.Wrap(after(boom, start, pagi.HTTPResponseBody{Body: []byte(longText), More: true}))).Get("/", gzip); !errors.Is(res.Err, boom) {
		t.Errorf("a failure in the body: %v", res.Err)
	}
	if res := pagitest.New(middleware.GZip{}.Wrap(after(nil, start))).Get("/", gzip); res.Err == nil {
		t.Error("a response without a body is complete")
	}
	if res := pagitest.New(middleware.GZip{}.Wrap(after(nil, start, pagi.HTTPResponseBody{More: true}))).Get("/", gzip); res.Err == nil {
		t.Error("a response without an end is complete")
	}
	panics := middleware.GZip{}.Wrap(pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
		if err := answering(start, pagi.HTTPResponseBody{Body: []byte(longText), More: true}).Serve(ctx, s, r, w); err != nil {
			return err
		}
		panic(boom)
	}))
	for range 3 {
		if res := pagitest.New(panics).Get("/", gzip); !errors.Is(res.Err, boom) {
			t.Errorf("a panic: %v", res.Err)
		}
	}
	// An application may begin again after a start that was refused.
	again := pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
		wrong := pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "text/plain", "x", "a\nb")}
		if err := answering(wrong, pagi.HTTPResponseBody{Body: []byte(longText)}).Serve(ctx, s, r, w); err == nil {
			return boom
		}
		return answering(start, pagi.HTTPResponseBody{Body: []byte(longText)}).Serve(ctx, s, r, w)
	})
	var got []pagi.Event
	send := func(_ context.Context, ev pagi.Event) error {
		if err := pagi.Validate(pagi.TypeHTTP, ev); err != nil {
			return err
		}
		got = append(got, ev)
		return nil
	}
	scope := &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Headers: pagi.NewHeaders("accept-encoding", "gzip")}
	if err := (middleware.GZip{}).Wrap(again).Serve(t.Context(), scope, nil, send); err != nil || len(got) != 2 {
		t.Errorf("another start: %v %v", got, err)
	}
}

func TestGZipDisconnect(t *testing.T) {
	app := middleware.GZip{}.Wrap(pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		if err := send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: shared}); err != nil {
			return err
		}
		for ctx.Err() == nil {
			if err := send(ctx, pagi.HTTPResponseBody{Body: []byte(longText), More: true}); err != nil {
				return err
			}
		}
		return nil
	}))
	for range 5 {
		pagitest.New(app).Get("/", pagitest.Header("accept-encoding", "gzip"), pagitest.DisconnectAfter(3, pagi.ReasonClientClosed))
	}
	res := pagitest.New(middleware.GZip{}.Wrap(respond(200, longText, "content-type", "text/html"))).Get("/", pagitest.Header("accept-encoding", "gzip"))
	if decoded(t, res) != longText {
		t.Error("an encoder is broken afterwards")
	}
}

func TestGZipTakesPiecesOfSeveralGoroutines(t *testing.T) {
	app := middleware.GZip{}.Wrap(pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		if err := send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: shared}); err != nil {
			return err
		}
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 10 {
					send(ctx, pagi.HTTPResponseBody{Body: []byte("x"), More: true})
				}
			})
		}
		all.Wait()
		return send(ctx, pagi.HTTPResponseBody{})
	}))
	scope := &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Headers: pagi.NewHeaders("accept-encoding", "gzip")}
	var got []byte
	send := func(_ context.Context, ev pagi.Event) error {
		if body, is := ev.(pagi.HTTPResponseBody); is {
			got = append(got, body.Body...)
		}
		return nil
	}
	if err := app.Serve(t.Context(), scope, nil, send); err != nil || decodedBytes(t, "gzip", got) != strings.Repeat("x", 80) {
		t.Errorf("%q %v", decodedBytes(t, "gzip", got), err)
	}
}

func TestGZipPadding(t *testing.T) {
	for _, name := range []string{"gzip", "br", "zstd"} {
		client := pagitest.New(middleware.GZip{Padding: 64}.Wrap(respond(200, longText, "content-type", "text/html")))
		sizes := map[int]bool{}
		for range 40 {
			res := client.Get("/", pagitest.Header("accept-encoding", name))
			if res.Err != nil || decoded(t, res) != longText {
				t.Fatalf("%s: %v", name, res.Err)
			}
			sizes[len(res.Body)] = true
		}
		if len(sizes) < 10 {
			t.Errorf("%s: the length of the body is one of %d", name, len(sizes))
		}
	}
}

func TestGZipLeavesOtherScopesAlone(t *testing.T) {
	app := middleware.GZip{Types: []string{"*/*"}, SSE: true, MinSize: -1}.Wrap(pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
		switch s.Type {
		case pagi.TypeSSE:
			return answering(pagi.SSEStart{}, pagi.SSESend{Data: longText}).Serve(ctx, s, r, w)
		case pagi.TypeWebSocket:
			return answering(pagi.WebSocketAccept{}, pagi.WebSocketSend{Text: longText}).Serve(ctx, s, r, w)
		}
		return pagi.Unsupported(s)
	}))
	client := pagitest.New(app)
	events := client.Events("/", pagitest.Header("accept-encoding", "gzip"))
	if ev, ok := events.Next(); !ok || ev.Data != longText {
		t.Errorf("an event: %v", ev)
	}
	if res := events.Finish(); res.Headers.Has("content-encoding") {
		t.Errorf("an event stream: %v", res.Headers)
	}
	ws := client.WebSocket("/", pagitest.Header("accept-encoding", "gzip"))
	if text, err := ws.ReceiveText(); err != nil || text != longText || ws.Headers.Has("vary") {
		t.Errorf("a message: %v", err)
	}
	ws.Finish()
}

func TestGZipOptionsAreChecked(t *testing.T) {
	for want, m := range map[string]middleware.GZip{
		`encodings: "deflate" is not br, zstd or gzip`: {Encodings: []string{"deflate"}},
		`encodings: gzip is there twice`:               {Encodings: []string{"gzip", "br", "gzip"}},
		`gzip_level: must be 1 to 9, is 10`:            {GzipLevel: 10},
		`brotli_level: must be 1 to 11, is -1`:         {BrotliLevel: -1},
		`zstd_level: must be 1 to 22, is 23`:           {ZstdLevel: 23},
		`padding: must be 0 to 256, is 257`:            {Padding: 257},
		`types: "html" is no media type`:               {Types: []string{"html"}},
		`types: "*/html" is no media type`:             {Types: []string{"*/html"}},
		`types: "te*/html" is no media type`:           {Types: []string{"te*/html"}},
	} {
		var bad *pagi.OptionError
		if err := m.Check(); !errors.As(err, &bad) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		if res := pagitest.New(m.Wrap(hello)).Get("/"); res.Status != 500 || !errors.As(res.Err, &bad) {
			t.Errorf("a request with a wrong option: %d %v", res.Status, res.Err)
		}
	}
	if err := (middleware.GZip{}).Check(); err != nil {
		t.Error(err)
	}
}

func jsonOf(size int) []byte {
	var b bytes.Buffer
	b.WriteByte('[')
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, `{"id":%d,"name":"user %x","email":"u%d@example.org","active":%v,"score":%d.%d},`, i, i*7919, i*31%997, i%3 == 0, i*37%101, i*53%89)
	}
	return append(b.Bytes()[:b.Len()-1], ']')
}

func BenchmarkGZip(b *testing.B) {
	large := jsonOf(64 << 10)
	for name, c := range map[string]struct {
		body   []byte
		accept string
	}{
		"64 KB of JSON, gzip 5":    {large, "gzip"},
		"64 KB of JSON, br 3":      {large, "br"},
		"64 KB of JSON, zstd 3":    {large, "zstd"},
		"2 KB of JSON, gzip 5":     {large[:2048], "gzip"},
		"2 KB of JSON, br 3":       {large[:2048], "br"},
		"2 KB of JSON, zstd 3":     {large[:2048], "zstd"},
		"nothing to do, browser":   {large[:100], "gzip, deflate, br, zstd"},
		"nothing to do, no header": {large, ""},
	} {
		b.Run(name, func(b *testing.B) {
			app := middleware.GZip{}.Wrap(answering(pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "application/json")}, pagi.HTTPResponseBody{Body: c.body}))
			scope := &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Connection: complete{}}
			if c.accept != "" {
				scope.Headers = pagi.NewHeaders("accept-encoding", c.accept)
			}
			var size int
			send := func(_ context.Context, ev pagi.Event) error {
				if body, is := ev.(pagi.HTTPResponseBody); is {
					size = len(body.Body)
				}
				return nil
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(c.body)))
			for b.Loop() {
				if err := app.Serve(b.Context(), scope, nil, send); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(size), "size")
		})
	}
}

// complete is the connection of a response that is complete.
type complete struct{ pagi.Connection }

func (complete) ResponseComplete() bool { return true }
