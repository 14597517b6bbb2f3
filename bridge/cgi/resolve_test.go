//go:build unix

package cgi

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
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
		res := do(t, application, ask{root: c.root, target: c.target})
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
			res := do(t, application, ask{root: root, target: root + c.target})
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
		{"GET", "/m/sub", "sub/", 301},
		{"HEAD", "/m/sub?a=b%20c", "sub/?a=b%20c", 301},
		{"POST", "/m/sub", "sub/", 308},
		{"GET", "/m/s%75b?", "s%75b/?", 301},
		{"GET", "/m/sub/deep", "", 404},
		{"GET", "/m/", "", 404},
	} {
		res := do(t, application, ask{method: c.method, root: "/m", target: c.target})
		if res.status != c.status || res.headers.Get("location") != c.location {
			t.Errorf("%s %s: %d %q, want %d %q", c.method, c.target, res.status, res.headers.Get("location"), c.status, c.location)
		}
	}
}

func TestTheRootOfAMountWithAnIndexGetsItsSlash(t *testing.T) {
	application := build(t, CGI{Root: scripts + "/sub", Index: "index.cgi"})
	for target, want := range map[string]int{"/m/sub": 301, "/m/sub/": 200} {
		res := do(t, application, ask{root: "/m/sub", target: target})
		if location := res.headers.Get("location"); res.status != want || want == 301 && location != "sub/" {
			t.Errorf("%s: %d %q, want %d", target, res.status, location, want)
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
		if res := do(t, application, ask{target: target}); res.status != status || res.err != nil {
			t.Errorf("%s: %d, want %d (error %v)", target, res.status, status, res.err)
		}
	}
	// A deployment may replace the directory while we run.
	must(os.Rename(root, root+".old"))
	must(os.Mkdir(root, 0o755))
	must(os.WriteFile(filepath.Join(root, "new.cgi"), hello, 0o755))
	if res := do(t, application, ask{target: "/new.cgi"}); res.status != 200 {
		t.Errorf("a script in the replaced directory: %d", res.status)
	}
	must(os.RemoveAll(root))
	if res := do(t, application, ask{target: "/new.cgi"}); res.err == nil || !strings.Contains(res.err.Error(), "root: ") {
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
		res := do(t, application, ask{root: c.root, target: c.target})
		if res.err != nil || res.body != c.want+"\n" {
			t.Errorf("%s: %q, want %q (error %v)", c.target, res.body, c.want, res.err)
		}
	}
	for _, target := range []string{"/%00", "/a/../b"} {
		if res := do(t, application, ask{target: target}); res.status != 404 {
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
	if res := do(t, application, ask{target: "/"}); res.status != 200 {
		t.Errorf("at first: %d %v", res.status, res.err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if res := do(t, application, ask{target: "/"}); res.status != 403 {
		t.Errorf("without execute bit: %d", res.status)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if res := do(t, application, ask{target: "/"}); res.status != 404 {
		t.Errorf("removed: %d", res.status)
	}
}

func TestLinksOutAreFollowedWhereTheOptionSaysSo(t *testing.T) {
	outside := testkit.Tree(t, map[string]string{"hello.cgi": "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nout %s' \"$SCRIPT_NAME\"\n", "d/readme.txt": "text"})
	root := testkit.Tree(t, map[string]string{"hello.cgi": "-> " + outside + "/hello.cgi", "d": "-> " + outside + "/d", "gone.cgi": "-> /none"})
	files := pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		return errors.Join(send(ctx, pagi.HTTPResponseStart{Status: 200}), send(ctx, pagi.HTTPResponseBody{Body: []byte(s.Path)}))
	})
	for follow, want := range map[string]map[string]int{
		"":      {"/hello.cgi": 404, "/d/readme.txt": 404, "/": 404},
		"true":  {"/hello.cgi": 200, "/hello.cgi/x": 200, "/d/readme.txt": 200, "/gone.cgi": 404, "/": 200},
		"owner": {"/hello.cgi": 200, "/d/readme.txt": 200},
	} {
		application := build(t, CGI{Root: root, FollowSymlinks: follow, Index: "hello.cgi", Static: StaticServe, Files: files})
		for target, status := range want {
			if res := do(t, application, ask{target: target}); res.err != nil || res.status != status {
				t.Errorf("%q, %s: %d %v, want %d", follow, target, res.status, res.err, status)
			}
		}
	}
	if os.Getuid() != 0 {
		t.Skip("another owner can be tried by root only")
	}
	if err := os.Lchown(filepath.Join(root, "hello.cgi"), 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if res := do(t, build(t, CGI{Root: root, FollowSymlinks: "owner"}), ask{target: "/hello.cgi"}); res.status != 404 {
		t.Errorf("another owner's link: %d", res.status)
	}
}

func TestTheLogSaysWhatALinkToNothingIs(t *testing.T) {
	root := testkit.Tree(t, map[string]string{"gone.cgi": "-> /none"})
	log := &testkit.Log{}
	do(t, build(t, CGI{Root: root, FollowSymlinks: "owner", Logger: log.Logger()}), ask{target: "/gone.cgi"})
	if said := log.String(); !strings.Contains(said, `reason="there is no such file"`) || strings.Contains(said, "option=") {
		t.Errorf("the log has %s", said)
	}
}

func TestTheLogSaysWhyThereIsNoScript(t *testing.T) {
	root := testkit.Tree(t, map[string]string{"out.cgi": "-> /bin/sh", "plain.txt": "x", ".dot": "x", "run.cgi": "#!/bin/sh\n", "d/": ""})
	log := &testkit.Log{}
	application := build(t, CGI{Root: root, PathInfo: new(false), Logger: log.Logger()})
	for target, want := range map[string]string{
		"/out.cgi":   `level=WARN msg="file is not served" status=404 path=/out.cgi file=` + root + `/out.cgi reason="a symbolic link leads out of the directory" option=follow_symlinks`,
		"/plain.txt": `level=WARN msg="file is not served" status=403 path=/plain.txt file=` + root + `/plain.txt reason="` + noExecuteBit + `" option=static`,
		"/.dot":      `level=WARN msg="file is not served" status=404 path=/.dot`,
		"/.none":     `level=DEBUG msg="file is not served" status=404 path=/.none`,
		"/none":      `level=DEBUG msg="file is not served" status=404 path=/none file=` + root + `/none reason="there is no such file"`,
		"/run.cgi/x": `level=WARN msg="file is not served" status=404 path=/run.cgi/x file=` + root + `/run.cgi reason="the path goes on behind the script" option=path_info`,
		"/d/":        `level=DEBUG msg="file is not served" status=404 path=/d/ file=` + root + `/d reason="it is a directory, and no script answers for it" option=index`,
	} {
		before := log.String()
		for range 2 {
			do(t, application, ask{target: target})
		}
		if said := strings.TrimPrefix(log.String(), before); !strings.Contains(said, want) || strings.Count(said, "level=WARN") > 1 {
			t.Errorf("%s: the log has %s, want once %s", target, said, want)
		}
	}
}

func TestRequestBodiesAreLimitedByMountAndDirectory(t *testing.T) {
	for name, c := range map[string]struct {
		chunked bool
		target  string
		size    int
		status  int
	}{
		"within the limit":               {false, "/cat.cgi", 10, 200},
		"beyond the limit":               {false, "/cat.cgi", 11, 413},
		"beyond it, without a length":    {true, "/cat.cgi", 12, 413},
		"within the directory's":         {false, "/sub/index.cgi", 20, 200},
		"beyond the directory's":         {false, "/sub/index.cgi", 21, 413},
		"a path behind one that is less": {false, "/cat.cgi/sub", 20, 413},
	} {
		log := &testkit.Log{}
		application := build(t, CGI{MaxBodySize: 10, Directories: []Directory{{Path: "/sub", CGI: CGI{MaxBodySize: 20}}}, Logger: log.Logger()})
		res := do(t, application, ask{method: "POST", target: c.target, body: strings.Repeat("x", c.size), chunked: c.chunked})
		if got := max(res.status, res.statusError()); got != c.status || (c.status == 413) != strings.Contains(log.String(), "option=max_body_size") {
			t.Errorf("%s: %d %v, want %d; log %s", name, got, res.err, c.status, log)
		}
	}
}
