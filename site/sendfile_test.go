package site_test

import (
	"path/filepath"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/site"
)

func TestFilesThatScriptsNameAreSent(t *testing.T) {
	const script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\nX-Sendfile: %s\\n\\nown' \"$QUERY_STRING\"\n"
	dir := testkit.Tree(t, map[string]string{
		"site.yaml": "mounts:\n  - {path: /one, cgi: cgi, sendfile: files}\n",
		"cgi/send":  script, "cgi/beside": "beside", "files/f": "file",
	})
	t.Chdir(dir)
	s, err := site.Load("site.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if s.Mounts[0].SendFile[0] != "files" {
		t.Errorf("%q", s.Mounts[0].SendFile)
	}
	app, err := s.Build()
	if err != nil {
		t.Fatal(err)
	}
	c := pagitest.New(app)
	for file, want := range map[string]string{"files/f": "file", "cgi/beside": "beside", "site.yaml": "own"} {
		if res := c.Get("/one/send?" + filepath.Join(dir, file)); res.Err != nil || res.Text() != want || res.Headers.Has("x-sendfile") {
			t.Errorf("%s: %d %q %v", file, res.Status, res.Text(), res.Err)
		}
	}
}
