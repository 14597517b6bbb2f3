package apps_test

import (
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func TestCacheRules(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"a.css": "", "a.js": "", "assets/a.css": "", "assets/a.txt": "", "assets2/a.txt": "", "free.pdf": ""})
	c := pagitest.New(&apps.File{Root: dir, CacheControl: "max-age=60", CacheRules: map[string]string{
		"*.css": "max-age=1", "/assets": "immutable", "*.pdf": "off"}})
	for path, want := range map[string]string{
		"/a.js": "max-age=60", "/a.css": "max-age=1", "/assets/a.css": "immutable", "/assets/a.txt": "immutable", "/assets2/a.txt": "max-age=60", "/free.pdf": "",
	} {
		if res := c.Get(path); res.Status != 200 || res.Header("cache-control") != want {
			t.Errorf("%s: %d %q, want %q", path, res.Status, res.Header("cache-control"), want)
		}
	}
}

func TestTryFiles(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"about.html": "about", "index.html": "index", "empty/x.txt": "x", ".secret.html": "secret", "a.txt": "a"})
	f := &apps.File{Root: dir, Index: []string{}, TryFiles: []string{"{path}.html", "../out", "/index.html"}}
	if err := f.Check(); err == nil || !strings.Contains(err.Error(), `try_files: "../out" must be the name of a file below root`) {
		t.Error(err)
	}
	f.TryFiles = []string{"{path}.html", "/index.html"}
	if err := f.Check(); err != nil {
		t.Error(err)
	}
	c := pagitest.New(f)
	for path, want := range map[string]string{
		"/a.txt": "a", "/about": "about", "/users/7": "index", "/a.txt/more": "index", "/empty/": "index", "/": "index",
	} {
		c.Get(path).Expect(t, 200, want)
	}
	for path, want := range map[string]int{"/.secret": 403, "/../x": 403, "//x": 404} {
		if res := c.Get(path); res.Status != want {
			t.Errorf("%s: %d, want %d", path, res.Status, want)
		}
	}
	if err := (&apps.File{Root: dir, CacheRules: map[string]string{"css": "x"}}).Check(); err == nil || !strings.Contains(err.Error(), `cache_rules: "css" must be an ending such as *.css, or begin with a slash`) {
		t.Error(err)
	}
}
