package apps_test

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// answering answers with a status, headers and the body "own" in two pieces.
func answering(status int, pairs ...string) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		for _, ev := range []pagi.Event{
			pagi.HTTPResponseStart{Status: status, Headers: pagi.NewHeaders(pairs...)},
			pagi.HTTPResponseBody{Body: []byte("ow"), More: true}, pagi.HTTPResponseBody{Body: []byte("n")},
		} {
			if err := send(ctx, ev); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestSendFile(t *testing.T) {
	outside := testkit.Tree(t, map[string]string{"secret": "secret"})
	dir := testkit.Tree(t, map[string]string{
		"a.txt": "content", "sub/b c.pdf": "pdf", "50%25.txt": "literal", "out": "-> " + filepath.Join(outside, "secret"), "in": "-> a.txt", "d/": "",
	})
	for name, tc := range map[string]struct {
		header, value string
		status        int
		body          string
		warned        bool
	}{
		"X-Sendfile":                           {"X-Sendfile", dir + "/a.txt", 200, "content", false},
		"X-Lighttpd-Send-File":                 {"X-Lighttpd-Send-File", dir + "/a.txt", 200, "content", false},
		"X-Accel-Redirect":                     {"X-Accel-Redirect", "/protected/sub/b%20c.pdf?x=y", 200, "pdf", false},
		"a name with a percent sign":           {"x-sendfile", dir + "/50%25.txt", 200, "literal", false},
		"a name that is percent-encoded":       {"x-sendfile", dir + "/sub/b%20c.pdf", 200, "pdf", false},
		"a link that stays inside":             {"x-sendfile", dir + "/in", 200, "content", false},
		"a path with dot-dot that ends inside": {"x-sendfile", dir + "/sub/../a.txt", 200, "content", false},
		"a link that leads out":                {"x-sendfile", dir + "/out", 403, "Forbidden\n", true},
		"a missing file":                       {"x-sendfile", dir + "/none", 404, "Not Found\n", true},
		"a directory":                          {"x-sendfile", dir + "/d", 403, "Forbidden\n", true},
		"a file outside":                       {"x-sendfile", outside + "/secret", 200, "own", true},
		"a path that leads out":                {"x-sendfile", dir + "/../../etc/passwd", 200, "own", true},
		"an encoded path that leads out":       {"x-accel-redirect", "/protected/%2e%2e/%2e%2e/etc/passwd", 200, "own", true},
		"a neighbour with a longer name":       {"x-sendfile", dir + "2/a.txt", 200, "own", true},
		"the root itself":                      {"x-sendfile", dir, 200, "own", true},
		"a relative name":                      {"x-sendfile", "a.txt", 200, "own", true},
		"a path of X-Accel-Redirect elsewhere": {"x-accel-redirect", "/other/a.txt", 200, "own", true},
		"a file name in X-Accel-Redirect":      {"x-accel-redirect", dir + "/a.txt", 200, "own", true},
	} {
		log := &testkit.Log{}
		app := &apps.SendFile{App: answering(200, tc.header, tc.value, "X-Own", "kept"), Roots: []string{dir}, Redirects: map[string]string{"/protected/": dir}, Logger: log.Logger()}
		if err := app.Check(); err != nil {
			t.Fatal(err)
		}
		res := pagitest.New(app).Get("/page")
		if res.Err != nil || res.Status != tc.status || res.Text() != tc.body {
			t.Errorf("%s: %d %q %v", name, res.Status, res.Text(), res.Err)
		}
		if warned := strings.Contains(log.String(), "path=/page"); warned != tc.warned {
			t.Errorf("%s: the log is %q", name, log)
		}
		for _, h := range res.Headers {
			if strings.Contains(h.Value, dir) {
				t.Errorf("%s: the client sees %v", name, h)
			}
		}
		if tc.status == 200 && res.Header("x-own") != "kept" {
			t.Errorf("%s: %v", name, res.Headers)
		}
	}
}

func TestSendFileWithoutDirectoriesDropsTheHeader(t *testing.T) {
	log := &testkit.Log{}
	res := pagitest.New(&apps.SendFile{App: answering(200, "x-sendfile", "/etc/passwd"), Logger: log.Logger()}).Get("/")
	if res.Status != 200 || res.Text() != "own" || res.Headers.Has("x-sendfile") || !strings.Contains(log.String(), "sendfile allows no such file") {
		t.Errorf("%d %q %v, log %s", res.Status, res.Text(), res.Headers, log)
	}
}

func TestSendFileWarnsOnceOfEachKind(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"d/": ""})
	log := &testkit.Log{}
	i := 0
	app := pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, send pagi.Send) error {
		i++
		return answering(200, s.Headers.Get("x-name"), s.Headers.Get("x-value")+strconv.Itoa(i)).Serve(ctx, s, r, send)
	})
	c := pagitest.New(&apps.SendFile{App: app, Roots: []string{dir}, Logger: log.Logger()})
	for _, named := range [][2]string{{"x-sendfile", "/elsewhere/"}, {"X-Sendfile", "/elsewhere/"}, {"x-sendfile", dir + "/none"}, {"x-accel-redirect", "/none"}} {
		for range 3 {
			c.Get("/", pagitest.Header("x-name", named[0]), pagitest.Header("x-value", named[1]))
		}
	}
	if text := log.String(); strings.Count(text, "level=WARN") != 3 || strings.Count(text, "level=DEBUG") != 9 {
		t.Errorf("%s", text)
	}
}

func TestSendFileHeadersConditionsAndRanges(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"a.txt": "content"})
	get := func(status int, opts ...pagitest.Option) *pagitest.Response {
		app := answering(status, "X-Sendfile", dir+"/a.txt", "Content-Type", "text/x-own", "ETag", `"own"`, "Content-Length", "3", "Content-Encoding", "gzip", "Set-Cookie", "a=b")
		return pagitest.New(&apps.SendFile{App: app, Roots: []string{dir}}).Get("/", opts...)
	}
	whole := get(200)
	etag := whole.Header("etag")
	if whole.Header("content-type") != "text/x-own" || whole.Header("content-length") != "7" || whole.Headers.Has("content-encoding") || whole.Header("set-cookie") != "a=b" ||
		etag == "" || etag == `"own"` || whole.Header("accept-ranges") != "bytes" {
		t.Errorf("%v", whole.Headers)
	}
	if res := get(200, pagitest.Header("range", "bytes=3-4")); res.Status != 206 || res.Text() != "te" {
		t.Errorf("a range: %d %q", res.Status, res.Text())
	}
	if res := get(200, pagitest.Header("if-none-match", etag)); res.Status != 304 || res.Header("set-cookie") != "a=b" {
		t.Errorf("a condition: %d %v", res.Status, res.Headers)
	}
	if res := get(403, pagitest.Header("range", "bytes=3-4"), pagitest.Header("if-none-match", etag)); res.Status != 403 || res.Text() != "content" {
		t.Errorf("another status: %d %q", res.Status, res.Text())
	}
}

func TestSendFileWithStatusesOfOtherBodies(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"a.txt": "content"})
	get := func(status int, opts ...pagitest.Option) *pagitest.Response {
		app := pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
			headers := pagi.NewHeaders("X-Sendfile", dir+"/a.txt", "Content-Range", "bytes 0-1/9")
			return errors.Join(send(ctx, pagi.HTTPResponseStart{Status: status, Headers: headers}), send(ctx, pagi.HTTPResponseBody{}))
		})
		return pagitest.New(&apps.SendFile{App: app, Roots: []string{dir}}).Get("/", opts...)
	}
	if res := get(206); res.Status != 200 || res.Text() != "content" || res.Headers.Has("content-range") {
		t.Errorf("206 without a range: %d %q %v", res.Status, res.Text(), res.Headers)
	}
	if res := get(206, pagitest.Header("range", "bytes=3-4")); res.Status != 206 || res.Text() != "te" || res.Header("content-range") != "bytes 3-4/7" {
		t.Errorf("206 with a range: %d %q %v", res.Status, res.Text(), res.Headers)
	}
	for _, status := range []int{204, 205, 304} {
		if res := get(status); res.Err != nil || res.Status != status || res.Text() != "" || res.Headers.Has("x-sendfile") || res.Headers.Has("content-length") {
			t.Errorf("%d: %d %q %v %v", status, res.Status, res.Text(), res.Headers, res.Err)
		}
	}
}

// A proxy may ask an application to name files; a client may not.
func TestSendFileTakesAwayWhatAsksForNames(t *testing.T) {
	app := pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, send pagi.Send) error {
		if s.Headers.Has("x-sendfile-type") || s.Headers.Has("x-accel-mapping") || !s.Headers.Has("x-other") {
			t.Errorf("%v", s.Headers)
		}
		return answering(200).Serve(ctx, s, r, send)
	})
	h := pagitest.Header
	pagitest.New(&apps.SendFile{App: app}).Get("/", h("x-sendfile-type", "X-Sendfile"), h("x-accel-mapping", "/=/"), h("x-other", "1"))
}

func TestSendFileCheck(t *testing.T) {
	app := &apps.SendFile{App: answering(200), Roots: []string{"/none"}, Redirects: map[string]string{"x": "/none"}}
	err := app.Check()
	for _, want := range []string{"sendfile", "accel_redirect", "must begin with a slash"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not mention %s", err, want)
		}
	}
}
