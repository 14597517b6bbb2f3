package middleware_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// contentStack are the middleware that read and change bodies, in the order in which a site has them.
func contentStack(app pagi.App) pagi.App {
	return pagi.Chain(app, middleware.ConditionalGet{}, middleware.GZip{}, middleware.ETag{}, middleware.ContentLength{},
		middleware.Cookie{}, middleware.MethodOverride{Form: true}, middleware.JSONBody{}, middleware.FormBody{},
		middleware.ContentNegotiation{SupportedTypes: []string{"text"}})
}

func TestStreamsPassTheStackAtOnce(t *testing.T) {
	for _, accept := range []string{"identity", "gzip", "br", "zstd"} {
		for _, flush := range []bool{false, true} {
			next := make(chan string)
			x := pagitest.New(contentStack(timed(next, flush))).Begin("GET", "/", pagitest.Header("accept-encoding", accept))
			var got []byte
			want, coded := "", strings.TrimPrefix(accept, "identity")
			for i := range 10 {
				piece := fmt.Sprintf("piece %d\n", i)
				want += piece
				go func() { next <- piece }()
				for decodedBytes(t, coded, got) != want {
					ev, ok := x.Next()
					if !ok {
						t.Fatalf("%s: the response ends after piece %d", accept, i)
					}
					if body, is := ev.(pagi.HTTPResponseBody); is {
						got = append(got, body.Body...)
					}
				}
			}
			close(next)
			if res := x.Finish(); res.Err != nil || decoded(t, res) != want {
				t.Errorf("%s: %v", accept, res.Err)
			}
		}
	}
}

func TestFilesPassTheStack(t *testing.T) {
	dir := t.TempDir()
	for name, size := range map[string]int{"tiny.txt": 100, "page.html": 5000, "large.css": 100 << 10, "picture.png": 50 << 10} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Repeat("all work, no play\n", size/18+1)[:size]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	client := pagitest.New(contentStack(&apps.File{Root: dir}))
	gzip := pagitest.Header("accept-encoding", "gzip")
	for _, c := range []struct {
		name, coding string
		size         int
	}{{"tiny.txt", "", 100}, {"page.html", "gzip", 5000}, {"large.css", "gzip", 100 << 10}, {"picture.png", "", 50 << 10}} {
		res := client.Get("/"+c.name, gzip)
		if res.Err != nil || res.Status != 200 || res.Header("content-encoding") != c.coding || len(decoded(t, res)) != c.size {
			t.Errorf("%s: %d %v %v", c.name, res.Status, res.Headers, res.Err)
		}
		tag := res.Header("etag")
		if strings.HasPrefix(tag, "W/") != (c.coding != "") || res.Headers.Has("accept-ranges") != (c.coding == "") {
			t.Errorf("%s: %v", c.name, res.Headers)
		}
		if res := client.Get("/"+c.name, gzip, pagitest.Header("if-none-match", tag)); res.Status != http.StatusNotModified || res.Err != nil {
			t.Errorf("%s, if-none-match %s: %d %v", c.name, tag, res.Status, res.Err)
		}
		if res := client.Head("/"+c.name, gzip); res.Header("content-encoding") != c.coding || res.Header("etag") != tag || res.Err != nil {
			t.Errorf("HEAD %s: %v %v", c.name, res.Headers, res.Err)
		}
		if res := client.Get("/"+c.name, gzip, pagitest.Header("range", "bytes=10-19")); res.Status != 206 || len(res.Body) != 10 || res.Headers.Has("content-encoding") || res.Err != nil {
			t.Errorf("a range of %s: %d %v %v", c.name, res.Status, res.Headers, res.Err)
		}
		// A weak tag never fits If-Range: the client gets the whole file, compressed.
		if c.coding != "" {
			res := client.Get("/"+c.name, gzip, pagitest.Header("range", "bytes=10-19"), pagitest.Header("if-range", tag))
			if res.Status != 200 || len(decoded(t, res)) != c.size || res.Err != nil {
				t.Errorf("if-range for %s: %d %v", c.name, res.Status, res.Err)
			}
		}
	}
}

func FuzzContent(f *testing.F) {
	f.Add("gzip, br;q=0.5", `W/"a", "b"`, "text/html;q=0.5, */*", "a=1; b=\"2\"", "application/json", `{"a":[1]}`)
	f.Add("*;q=0", "*", "=", "a", "application/x-www-form-urlencoded; x=\"", "a=%&_method=PUT")
	client := pagitest.New(contentStack(respond(200, longText, "content-type", "text/plain")))
	f.Fuzz(func(t *testing.T, encoding, tags, accept, cookie, kind, body string) {
		headers := pagi.NewHeaders("accept-encoding", encoding, "if-none-match", tags, "accept", accept, "cookie", cookie, "content-type", kind)
		if headers.Validate("") != nil || strings.Contains(accept, "event-stream") {
			t.Skip()
		}
		opts := []pagitest.Option{pagitest.Body(body)}
		for _, h := range headers {
			opts = append(opts, pagitest.Header(h.Name, h.Value))
		}
		for _, method := range []string{"GET", "POST"} {
			res := client.Do(method, "/", opts...)
			if res.Status == 200 && decoded(t, res) != longText {
				t.Errorf("%s: %v", method, res.Headers)
			}
			if res.Status >= 500 {
				t.Errorf("%s: %d %v", method, res.Status, res.Err)
			}
		}
	})
}
