//go:build unix

package cgi

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The scripts here answer SCRIPT_NAME|PATH_INFO.
func TestPathsThatNameAScript(t *testing.T) {
	application := build(t, CGI{Index: "index.cgi"})
	for _, c := range []struct{ root, target, want string }{
		{"", "/path.cgi", "/path.cgi|"},
		{"/cgi-bin", "/cgi-bin/path.cgi", "/cgi-bin/path.cgi|"},
		{"/cgi-bin", "/cgi-bin/path.cgi/", "/cgi-bin/path.cgi|/"},
		{"/cgi-bin", "/cgi-bin/path.cgi/a/b%20c", "/cgi-bin/path.cgi|/a/b c"},
		{"/cgi-bin", "/cgi-bin/path.cgi//a", "/cgi-bin/path.cgi|//a"},
		{"/cgi-bin", "/cgi-bin/path.cgi/x%2Fy", "/cgi-bin/path.cgi|/x/y"},
		{"/cgi-bin", "/cgi-bin/path.cgi/.git/a..b", "/cgi-bin/path.cgi|/.git/a..b"},
		{"/cgi-bin", "/cgi-bin/sub/deep/path.cgi/x", "/cgi-bin/sub/deep/path.cgi|/x"},
		{"/cgi-bin", "/cgi-bin/sub/", "/cgi-bin/sub/index.cgi|"},
		{"/cgi-bin", "/cgi-bin/two%20words%20%C3%A9.cgi/%C3%BC", "/cgi-bin/two words é.cgi|/ü"},
	} {
		res := do(t, application, request{root: c.root, target: c.target})
		if res.err != nil || res.status != 200 || res.body != c.want+"\n" {
			t.Errorf("%s: status %d, %q, error %v; want %q", c.target, res.status, res.body, res.err, c.want)
		}
	}
}

func TestPathsThatNameNoScript(t *testing.T) {
	application := build(t, CGI{})
	for _, c := range []struct {
		target string
		status int
	}{
		{"/none.cgi", 404},
		{"/none/deeper", 404},
		{"/noexec.cgi", 403},
		{"/plain/readme.txt", 403},
		{"/", 404},
		{"", 404},
		{"/sub", 404},
		{"/sub/", 404},
		{"/.hidden.cgi", 404},
		{"/.dir/hello.cgi", 404},
		{"/sub/../hello.cgi", 404},
		{"/sub/%2e%2e/hello.cgi", 404},
		{"/..", 404},
		{"/../cgi-bin/hello.cgi", 404},
		{"/..%2fcgi-bin%2fhello.cgi", 404},
		{"/./hello.cgi", 404},
		{"/hello.cgi/..", 404},
		{"/hello.cgi/../../etc/passwd", 404},
		{"//hello.cgi", 404},
		{"/sub//deep/path.cgi", 404},
		{"/sub%2Fdeep%2Fpath.cgi", 404},
		{"/sub%2fdeep/path.cgi/x", 404},
		{"/sub%5Cdeep", 404},
		{"/sub\\deep", 404},
		{"/hello.cgi%00", 404},
		{"/hello.cgi%00.txt", 404},
		{"/hello.cgi/a%00b", 404},
		{"/hello.cgi.", 404},
		{"/hello.cgi%20", 404},
		{"/hello%252ecgi", 404},
		{"/HELLO.CGI", 404},
		{"/" + strings.Repeat("a", 300) + "/x", 404},
		{"/" + strings.Repeat("a/", 5000), 404},
	} {
		for _, root := range []string{"", "/mount"} {
			res := do(t, application, request{root: root, target: root + c.target})
			if res.err != nil || res.status != c.status || !res.complete {
				t.Errorf("%.60q below %q: status %d, want %d (error %v)", c.target, root, res.status, c.status, res.err)
			}
		}
	}
}

func TestADirectoryWithAnIndexGetsItsSlash(t *testing.T) {
	application := build(t, CGI{Index: "index.cgi"})
	for _, c := range []struct {
		method, target, location string
		status                   int
	}{
		{"GET", "/m/sub", "/m/sub/", 301},
		{"HEAD", "/m/sub?a=b%20c", "/m/sub/?a=b%20c", 301},
		{"POST", "/m/sub", "/m/sub/", 308},
		{"GET", "/m/sub/deep", "", 404},
		{"GET", "/m/", "", 404},
	} {
		res := do(t, application, request{method: c.method, root: "/m", target: c.target})
		if res.status != c.status || res.headers.Get("location") != c.location {
			t.Errorf("%s %s: %d %q, want %d %q", c.method, c.target, res.status, res.headers.Get("location"), c.status, c.location)
		}
	}
}

func TestSymbolicLinksStayInside(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "cgi-bin")
	hello, err := os.ReadFile(scripts + "/hello.cgi")
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(root, "sub"), 0o755))
	must(os.MkdirAll(filepath.Join(dir, "outside"), 0o755))
	for _, name := range []string{"cgi-bin/hello.cgi", "cgi-bin/sub/hello.cgi", "outside/hello.cgi"} {
		must(os.WriteFile(filepath.Join(dir, name), hello, 0o755))
	}
	for link, target := range map[string]string{
		"inside.cgi":   "sub/hello.cgi",
		"insidedir":    "sub",
		"out.cgi":      "../outside/hello.cgi",
		"outdir":       "../outside",
		"absolute.cgi": filepath.Join(root, "hello.cgi"),
		"dangling.cgi": "none.cgi",
		"loop.cgi":     "loop.cgi",
	} {
		must(os.Symlink(target, filepath.Join(root, link)))
	}
	application := build(t, CGI{Root: root})
	for target, status := range map[string]int{
		"/inside.cgi": 200, "/insidedir/hello.cgi": 200,
		"/out.cgi": 404, "/outdir/hello.cgi": 404, "/absolute.cgi": 404, "/dangling.cgi": 404, "/loop.cgi": 404,
	} {
		if res := do(t, application, request{target: target}); res.status != status || res.err != nil {
			t.Errorf("%s: %d, want %d (error %v)", target, res.status, status, res.err)
		}
	}
	// A deployment may replace the directory while we run.
	must(os.Rename(root, root+".old"))
	must(os.Mkdir(root, 0o755))
	must(os.WriteFile(filepath.Join(root, "new.cgi"), hello, 0o755))
	if res := do(t, application, request{target: "/new.cgi"}); res.status != 200 {
		t.Errorf("a script in the replaced directory: %d", res.status)
	}
	must(os.RemoveAll(root))
	if res := do(t, application, request{target: "/new.cgi"}); res.err == nil || !strings.Contains(res.err.Error(), "root: ") {
		t.Errorf("a root that vanished: %v", res.err)
	}
}

func TestASingleScriptAnswersForItsMount(t *testing.T) {
	application := build(t, CGI{Script: scripts + "/path.cgi"})
	for _, c := range []struct{ root, target, want string }{
		{"", "/", "|/"},
		{"", "/a/b", "|/a/b"},
		{"/app.cgi", "/app.cgi", "/app.cgi|"},
		{"/app.cgi", "/app.cgi/", "/app.cgi|/"},
		{"/app.cgi", "/app.cgi/x%20y", "/app.cgi|/x y"},
	} {
		res := do(t, application, request{root: c.root, target: c.target})
		if res.err != nil || res.body != c.want+"\n" {
			t.Errorf("%s: %q, want %q (error %v)", c.target, res.body, c.want, res.err)
		}
	}
	for _, target := range []string{"/%00", "/a/../b"} {
		if res := do(t, application, request{target: target}); res.status != 404 {
			t.Errorf("%s: %d", target, res.status)
		}
	}
}

func TestASingleScriptThatChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s.cgi")
	if err := os.WriteFile(file, []byte("#!/bin/sh\necho Content-Type: text/plain\necho\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	application := build(t, CGI{Script: file})
	if res := do(t, application, request{target: "/"}); res.status != 200 {
		t.Errorf("at first: %d %v", res.status, res.err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if res := do(t, application, request{target: "/"}); res.status != 403 {
		t.Errorf("without execute bit: %d", res.status)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if res := do(t, application, request{target: "/"}); res.status != 404 {
		t.Errorf("removed: %d", res.status)
	}
}
