package apps_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// inner answers with the path for which it is called.
var inner = pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
	if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
		return err
	}
	return send(ctx, pagi.HTTPResponseBody{Body: []byte("app " + scope.Method + " " + scope.RootPath + "|" + scope.Path)})
})

func ExampleStatic() {
	static := &apps.Static{Files: apps.File{Root: "testdata/public"}, Path: []string{"/assets"}, Strip: true}
	res := pagitest.New(static.Wrap(inner)).Get("/books")
	fmt.Println(res.Text())
	// Output: app GET |/books
}

func TestStatic(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"a.txt": "a", "static/b.txt": "b", "static/index.html": "index", ".hidden": "h", "c.txt": "c"})
	files := func() apps.File { return apps.File{Root: dir} }
	for name, tc := range map[string]struct {
		m            *apps.Static
		method, path string
		status       int
		body         string
	}{
		"a file":                            {&apps.Static{Files: files()}, "GET", "/a.txt", 200, "a"},
		"no file":                           {&apps.Static{Files: files()}, "GET", "/none", 404, "Not Found\n"},
		"no file, and the application":      {&apps.Static{Files: files(), PassThrough: true}, "GET", "/none", 200, "app GET |/none"},
		"a file before the application":     {&apps.Static{Files: files(), PassThrough: true}, "GET", "/a.txt", 200, "a"},
		"a directory without an index":      {&apps.Static{Files: files(), PassThrough: true}, "GET", "/", 200, "app GET |/"},
		"a directory with an index":         {&apps.Static{Files: files(), PassThrough: true}, "GET", "/static/", 200, "index"},
		"a hidden file":                     {&apps.Static{Files: files(), PassThrough: true}, "GET", "/.hidden", 403, "Forbidden\n"},
		"a way out":                         {&apps.Static{Files: files(), PassThrough: true}, "GET", "/../../etc/passwd", 403, "Forbidden\n"},
		"another method":                    {&apps.Static{Files: files()}, "POST", "/a.txt", 200, "app POST |/a.txt"},
		"a path of files":                   {&apps.Static{Files: files(), Path: []string{"/x", "/static/"}}, "GET", "/static/b.txt", 200, "b"},
		"another path":                      {&apps.Static{Files: files(), Path: []string{"/static"}}, "GET", "/a.txt", 200, "app GET |/a.txt"},
		"beside the path":                   {&apps.Static{Files: files(), Path: []string{"/stat"}}, "GET", "/static/b.txt", 200, "app GET |/static/b.txt"},
		"without the path in front":         {&apps.Static{Files: files(), Path: []string{"/pub"}, Strip: true}, "GET", "/pub/a.txt", 200, "a"},
		"and the application sees its path": {&apps.Static{Files: files(), Path: []string{"/pub"}, Strip: true, PassThrough: true}, "GET", "/pub/none", 200, "app GET |/pub/none"},
		"a function":                        {&apps.Static{Files: files(), Match: func(p string) (string, bool) { return strings.TrimPrefix(p, "/v1"), strings.HasPrefix(p, "/v1/") }}, "GET", "/v1/a.txt", 200, "a"},
		"a function that says no":           {&apps.Static{Files: files(), Match: func(p string) (string, bool) { return p, false }}, "GET", "/a.txt", 200, "app GET |/a.txt"},
		"a function, and the application":   {&apps.Static{Files: files(), PassThrough: true, Match: func(p string) (string, bool) { return "/none", true }}, "GET", "/a.txt", 200, "app GET |/a.txt"},
	} {
		if err := tc.m.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		res := pagitest.New(tc.m.Wrap(inner)).Do(tc.method, tc.path)
		if res.Status != tc.status || res.Text() != tc.body || res.Err != nil {
			t.Errorf("%s: %d %q %v", name, res.Status, res.Text(), res.Err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "c.txt.gz"), []byte("packed"), 0o600); err != nil { // not older than c.txt
		t.Fatal(err)
	}
	packed := &apps.Static{Files: apps.File{Root: dir, Precompressed: true}}
	if res := pagitest.New(packed.Wrap(inner)).Get("/c.txt", pagitest.Header("accept-encoding", "gzip")); res.Text() != "packed" || res.Header("content-encoding") != "gzip" {
		t.Errorf("precompressed: %q %v", res.Text(), res.Headers)
	}
	if err := (&apps.Static{Files: apps.File{Root: dir + "/none"}, Path: []string{"x"}}).Check(); err == nil || !strings.Contains(err.Error(), "root: ") || !strings.Contains(err.Error(), `path: "x" must begin with a slash`) {
		t.Error(err)
	}
}

func TestStaticLeavesOtherScopesToTheApplication(t *testing.T) {
	reached := 0
	app := pagi.AppFunc(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { reached++; return nil })
	m := &apps.Static{Files: apps.File{Root: t.TempDir()}}
	for _, typ := range []string{pagi.TypeLifespan, pagi.TypeWebSocket} {
		if err := m.Wrap(app).Serve(t.Context(), &pagi.Scope{Type: typ}, nil, nil); err != nil {
			t.Error(err)
		}
	}
	if reached != 2 {
		t.Errorf("reached %d times", reached)
	}
}
