package site_test

import (
	"context"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/site"
)

func TestACascadeOfFilesAndAnApplication(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	dir := testkit.Tree(t, map[string]string{
		"site.yaml": `
workers: 1
mounts:
  - path: /
    cascade:
      - file: public
        index: []
        middleware: [{security_headers: {x_frame_options: DENY}}]
      - psgi: app.psgi
  - path: /icon
    file: public/f.txt
  - path: /links
    file: links
    follow_symlinks: true
  - path: /cgi
    cgi: links
    static: serve
    directories:
      - {path: /d, follow_symlinks: true}
  - path: /owned
    file: {root: links, follow_symlinks: owner}
`,
		"app.psgi":     `sub { [200, [], ["app $_[0]{REQUEST_METHOD} $_[0]{PATH_INFO}"]] }`,
		"public/f.txt": "file", "public/d/x": "x", "links/l": "-> ../public/f.txt", "links/d/l": "-> ../../public/f.txt",
	})
	t.Chdir(dir)
	s, err := site.Load("site.yaml")
	if err != nil {
		t.Fatal(err)
	}
	app, err := s.Build()
	if err != nil {
		t.Fatal(err)
	}
	c := pagitest.Start(t, app)
	for _, tc := range []struct{ method, target, want string }{
		{"GET", "/f.txt", "file"}, {"GET", "/", "app GET /"}, {"GET", "/none", "app GET /none"}, {"POST", "/f.txt", "app POST /f.txt"},
		{"GET", "/d/", "app GET /d/"}, {"GET", "/icon", "file"}, {"GET", "/links/l", "file"}, {"GET", "/owned/l", "file"},
		{"GET", "/cgi/d/l", "file"},
	} {
		if res := c.Do(tc.method, tc.target); res.Err != nil || res.Text() != tc.want {
			t.Errorf("%s %s: %d %q %v", tc.method, tc.target, res.Status, res.Text(), res.Err)
		}
	}
	if c.Get("/f.txt").Header("x-frame-options") != "DENY" || c.Get("/none").Headers.Has("x-frame-options") {
		t.Error("a part's middleware is not around that part")
	}
	if status := s.Status(); len(status) != 1 || status[0].Mount != "/#2" {
		t.Errorf("%+v", status)
	}
	if err := s.Reload(context.Background()); err != nil {
		t.Error(err)
	}
}
