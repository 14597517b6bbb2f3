package response_test

import (
	"context"
	"errors"
	"io"
	"mime"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/response"
)

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.txt")
	if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	client := pagitest.New(answering(func() *response.Response { return response.File(path).Attachment("ä b.txt").Header("x-file", "1") }))
	res := client.Get("/")
	if res.Err != nil || res.Status != 200 || res.Text() != "0123456789" || res.Header("content-length") != "10" || res.Header("content-type") != "text/plain; charset=utf-8" ||
		res.Header("x-file") != "1" || res.Header("content-disposition") != `attachment; filename="_ b.txt"; filename*=UTF-8''%C3%A4%20b.txt` {
		t.Errorf("%d %v %q, %v", res.Status, res.Headers, res.Text(), res.Err)
	}
	tag := res.Header("etag")
	for name, c := range map[string]struct {
		header, value string
		status        int
		body          string
	}{
		"the client has it": {"if-none-match", tag, 304, ""},
		"a range":           {"range", "bytes=2-4", 206, "234"},
		"the end":           {"range", "bytes=-2", 206, "89"},
		"a range behind it": {"range", "bytes=10-", 416, ""},
		"another version":   {"if-match", `"x"`, 412, ""},
		"a malformed range": {"range", "bytes=x", 200, "0123456789"},
	} {
		res := client.Get("/", pagitest.Header(c.header, c.value))
		if res.Err != nil || res.Status != c.status || c.status < 300 && res.Text() != c.body {
			t.Errorf("%s: %d %q, %v", name, res.Status, res.Text(), res.Err)
		}
	}
	if res := client.Get("/", pagitest.Header("range", "bytes=0-0,9-9")); res.Status != 206 || !strings.HasPrefix(res.Header("content-type"), "multipart/byteranges") {
		t.Errorf("two ranges: %d %v", res.Status, res.Headers)
	}
	if res := client.Head("/"); res.Err != nil || res.Header("content-length") != "10" || res.Text() != "" {
		t.Errorf("HEAD: %v, %v", res.Headers, res.Err)
	}
	if res := get(func() *response.Response { return response.File(path).Status(404).Header("content-type", "text/x-own") }, pagitest.Header("if-none-match", tag)); res.Status != 404 || res.Text() != "0123456789" || res.Header("content-type") != "text/x-own" {
		t.Errorf("another status and type: %d %v %q", res.Status, res.Headers, res.Text())
	}
	if res := client.Events("/").Finish(); res.Err != nil || res.Status != 200 || res.Text() != "0123456789" {
		t.Errorf("in an sse scope: %d %q, %v", res.Status, res.Text(), res.Err)
	}
}

func TestFilesThatAreNotThere(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{"nothing": filepath.Join(dir, "none"), "a directory": dir} {
		res := get(func() *response.Response { return response.File(path) })
		var status *pagi.StatusError
		if res.Status != 404 || !errors.As(res.Err, &status) || strings.Contains(status.Message, dir) {
			t.Errorf("%s: %d, %v", name, res.Status, res.Err)
		}
	}
}

// closer is a body that notes that it was closed.
type closer struct {
	io.Reader
	closed int
}

func (c *closer) Close() error { c.closed++; return nil }

func TestReader(t *testing.T) {
	for name, opts := range map[string][]pagitest.Option{"http": nil, "sse": {pagitest.AcceptEvents()}} {
		body := &closer{Reader: strings.NewReader(strings.Repeat("x", 40_000))}
		res := get(func() *response.Response { return response.Reader("text/plain", body) }, opts...)
		if res.Err != nil || len(res.Body) != 40_000 || res.Header("content-type") != "text/plain" || body.closed != 1 {
			t.Errorf("%s: %d bytes, %v, closed %d times", name, len(res.Body), res.Err, body.closed)
		}
	}
	body := &closer{Reader: strings.NewReader("x")}
	res := pagitest.New(answering(func() *response.Response { return response.Reader("", body) })).Head("/")
	if res.Err != nil || body.closed != 1 {
		t.Errorf("HEAD: %v, closed %d times", res.Err, body.closed)
	}
	gone := errors.New("gone")
	body = &closer{Reader: strings.NewReader("x")}
	err := response.Reader("", body).Send(t.Context(), &pagi.Scope{Type: pagi.TypeHTTP}, func(context.Context, pagi.Event) error { return gone })
	if !errors.Is(err, gone) || body.closed != 1 {
		t.Errorf("a failing send: %v, closed %d times", err, body.closed)
	}
}

func TestDispositions(t *testing.T) {
	for name, want := range map[string]string{
		"a.txt":         `attachment; filename="a.txt"`,
		"/etc/passwd":   `attachment; filename="passwd"`,
		`C:\temp\a.txt`: `attachment; filename="a.txt"`,
		"..":            "attachment",
		"":              "attachment",
		"dir/":          "attachment",
		`a"b.txt`:       `attachment; filename="a_b.txt"; filename*=UTF-8''a%22b.txt`,
		"100%.txt":      `attachment; filename="100_.txt"; filename*=UTF-8''100%25.txt`,
		"a\r\nb":        `attachment; filename="a__b"`,
		"€.pdf":         `attachment; filename="_.pdf"; filename*=UTF-8''%E2%82%AC.pdf`,
		"a\xffb":        `attachment; filename="a_b"`,
	} {
		if got := response.Text("").Attachment(name).Headers().Get("content-disposition"); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
	if got := response.Text("").Inline("a.pdf").Headers().Get("content-disposition"); got != `inline; filename="a.pdf"` {
		t.Errorf("%s", got)
	}
}

// Package mime reads back the name, or the name without what no file's name has.
func FuzzDisposition(f *testing.F) {
	for _, seed := range []string{"/", "a.txt", `a"\b`, "€", "a\x00b", "../x", "a;b=c", "%41"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		r := response.Text("").Attachment(name)
		if r.Err() != nil {
			t.Fatalf("%q: %v", name, r.Err())
		}
		kind, params, err := mime.ParseMediaType(r.Headers().Get("content-disposition"))
		if err != nil || kind != "attachment" {
			t.Fatalf("%q: %q, %v", name, r.Headers().Get("content-disposition"), err)
		}
		got := params["filename"]
		if strings.ContainsAny(got, "/\\\x00\r\n") || got == ".." {
			t.Errorf("%q became %q", name, got)
		}
		if clean := filepath.Base(name); utf8.ValidString(name) && clean == name && name != "/" && !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) && name != "." && name != ".." && got != name {
			t.Errorf("%q became %q", name, got)
		}
	})
}

// A body is closed by Send also when that fails.
func TestReadersOfResponsesThatCannotBeSent(t *testing.T) {
	for name, c := range map[string]struct {
		scope *pagi.Scope
		edit  func(*response.Response)
	}{
		"a mistake":     {&pagi.Scope{Type: pagi.TypeHTTP}, func(r *response.Response) { r.Status(1) }},
		"no such scope": {&pagi.Scope{Type: pagi.TypeLifespan}, func(*response.Response) {}},
	} {
		body := &closer{Reader: strings.NewReader("x")}
		r := response.Reader("text/plain", body)
		c.edit(r)
		if err := r.Send(t.Context(), c.scope, nil); err == nil || body.closed != 1 {
			t.Errorf("%s: %v, closed %d times", name, err, body.closed)
		}
	}
}

// The headers that describe a file are the file's own, and an answer without a body has none.
func TestHeadersOfFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.txt")
	if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	res := get(func() *response.Response {
		return response.File(path).Header("content-length", "3").Header("etag", `"mine"`).Header("content-range", "bytes 0-1/2")
	})
	if res.Err != nil || res.Headers.Joined("content-length") != "10" || res.Header("etag") == `"mine"` || res.Headers.Has("content-range") || res.Text() != "0123456789" {
		t.Errorf("%v, %v", res.Headers, res.Err)
	}
	for _, status := range []int{204, 304} {
		if res := get(func() *response.Response { return response.File(path).Status(status) }); res.Err != nil || res.Status != status || res.Text() != "" || res.Headers.Has("content-length") {
			t.Errorf("%d: %v %q, %v", status, res.Headers, res.Text(), res.Err)
		}
	}
}
