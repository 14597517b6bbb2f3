package apps_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func TestFileTimesThatTellNothing(t *testing.T) {
	for name, at := range map[string]time.Time{"0": time.Unix(0, 0), "1": time.Unix(1, 0), "to come": time.Now().Add(time.Hour)} {
		dir := testkit.Tree(t, map[string]string{"f.txt": "old"})
		file := filepath.Join(dir, "f.txt")
		touch(t, file, at)
		c := pagitest.New(&apps.File{Root: dir})
		first := c.Get("/f.txt")
		if first.Headers.Has("last-modified") || first.Status != 200 {
			t.Errorf("time %s: %v", name, first.Headers)
		}
		if err := os.WriteFile(file+".new", []byte("new"), 0o600); err != nil {
			t.Fatal(err)
		}
		touch(t, file+".new", at)
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
		for header, value := range map[string]string{"if-none-match": first.Header("etag"), "if-modified-since": at.Add(time.Second).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")} {
			if res := c.Get("/f.txt", pagitest.Header(header, value)); res.Status != 200 || res.Text() != "new" {
				t.Errorf("time %s, %s %s: %d %q", name, header, value, res.Status, res.Text())
			}
		}
	}
}

// TestFileTagsAreTheSameByAnyWay: a file has one tag below a root, through a link and as a mount of
// its own.
func TestFileTagsAreTheSameByAnyWay(t *testing.T) {
	outside := testkit.Tree(t, map[string]string{"f.txt": "x"})
	dir := testkit.Tree(t, map[string]string{"link.txt": "-> " + outside + "/f.txt"})
	for name, at := range map[string]time.Time{"0": time.Unix(0, 0), "1": time.Unix(1, 0), "to come": time.Now().Add(time.Hour), "now": time.Now().Add(-time.Second)} {
		touch(t, filepath.Join(outside, "f.txt"), at)
		want := pagitest.New(&apps.File{Root: outside}).Get("/f.txt").Header("etag")
		linked := pagitest.New(&apps.File{Root: dir, FollowSymlinks: "true"}).Get("/link.txt").Header("etag")
		alone := pagitest.New(&apps.File{Root: filepath.Join(outside, "f.txt")}).Get("/").Header("etag")
		if want == "" || linked != want || alone != want {
			t.Errorf("time %s: %q, by a link %q, alone %q", name, want, linked, alone)
		}
	}
}

func TestFileServesWellKnownPlaces(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{".well-known/security.txt": "contact", ".well-known/.secret": "x", "sub/.well-known/x": "x", ".htpasswd": "x"})
	c := pagitest.New(&apps.Directory{File: apps.File{Root: dir}})
	for target, status := range map[string]int{
		"/.well-known/security.txt": 200, "/.well-known/none": 404, "/.well-known/.secret": 403, "/sub/.well-known/x": 403, "/.htpasswd": 403, "/.well-known-not": 403,
	} {
		if res := c.Get(target); res.Status != status {
			t.Errorf("%s: %d, want %d", target, res.Status, status)
		}
	}
	if page := c.Get("/sub/").Text(); strings.Contains(page, "well-known") {
		t.Error("a directory that is refused is listed")
	}
}

func TestFileOfOneFile(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"favicon.ico": "icon", "link": "-> favicon.ico", "secret": "x"})
	for _, name := range []string{"favicon.ico", "link"} {
		file := &apps.File{Root: filepath.Join(dir, name)}
		if err := file.Check(); err != nil {
			t.Fatal(err)
		}
		c := pagitest.New(&apps.URLMap{Mounts: []apps.Mount{{Path: "/favicon.ico", App: file}}})
		for target, status := range map[string]int{"/favicon.ico": 200, "/favicon.ico/": 404, "/favicon.ico/secret": 404, "/favicon.ico/../secret": 404} {
			res := c.Get(target)
			if res.Err != nil || res.Status != status || status == 200 && res.Text() != "icon" {
				t.Errorf("%s%s: %d %q %v", name, target, res.Status, res.Text(), res.Err)
			}
		}
	}
}

func TestFileTypes(t *testing.T) {
	const page = "<!DOCTYPE html><html><head>"
	for name, want := range map[string]struct{ content, contentType, encoding string }{
		"a.svgz":         {"x", "image/svg+xml", "gzip"},
		"a.js.gz":        {"x", "text/javascript; charset=utf-8", "gzip"},
		"a.wasm.br":      {"x", "application/wasm", "br"},
		"a.css.zst":      {"x", "text/css", "zstd"},
		"a.tar.gz":       {"x", "application/gzip", ""},
		"a.txt.gz":       {"x", "application/gzip", ""},
		"a.gz":           {"x", "application/gzip", ""},
		"a.mpg":          {"x", "video/mpeg", ""},
		"a.MIDI":         {"x", "audio/midi", ""},
		"a.kml":          {"x", "application/vnd.google-earth.kml+xml", ""},
		"a.glb":          {"x", "model/gltf-binary", ""},
		"a.srt":          {"x", "application/x-subrip", ""},
		"a.nosuch":       {"x", "application/octet-stream", ""},
		"plain.html":     {page, "text/html; charset=utf-8", ""},
		"utf8.html":      {page + `<META Charset="UTF-8">`, "text/html; charset=utf-8", ""},
		"latin.html":     {page + `<meta charset=iso-8859-1>`, "text/html", ""},
		"old.html":       {page + `<meta http-equiv="Content-Type" content="text/html; charset=windows-1252">`, "text/html", ""},
		"other.html":     {page + `<script charset="koi8-r"></script>`, "text/html; charset=utf-8", ""},
		"far.html":       {page + strings.Repeat(" ", 1100) + `<meta charset=koi8-r>`, "text/html; charset=utf-8", ""},
		"wide.html":      {"\xff\xfe<\x00", "text/html", ""},
		"a.css":          {`@charset "koi8-r";`, "text/css", ""},
		"b.css":          {`@charset "utf-8";`, "text/css; charset=utf-8", ""},
		"text.txt":       {`<meta charset=koi8-r>`, "text/plain; charset=utf-8", ""},
		"empty.html":     {"", "text/html; charset=utf-8", ""},
		"page.html.gz":   {"x", "text/html", "gzip"},
		"primary.xml.gz": {"x", "application/gzip", ""},
		"index.json.gz":  {"x", "application/gzip", ""},
		"app.js.map.br":  {"x", "application/x-brotli", ""},
	} {
		dir := testkit.Tree(t, map[string]string{name: want.content})
		res := pagitest.New(&apps.File{Root: dir}).Get("/"+name, pagitest.Header("accept-encoding", "gzip, br, zstd"))
		if res.Status != 200 || res.Headers.Has("vary") != (want.encoding != "") || res.Header("content-type") != want.contentType || res.Header("content-encoding") != want.encoding {
			t.Errorf("%s: %q %q, want %q %q", name, res.Header("content-type"), res.Header("content-encoding"), want.contentType, want.encoding)
		}
	}
	dir := testkit.Tree(t, map[string]string{"a.html": "<meta charset=koi8-r>", "b.gz": "x", "c.js.gz": "x"})
	c := pagitest.New(&apps.File{Root: dir, Charset: "utf-8", Types: map[string]string{"gz": "application/x-own"}})
	if got := c.Get("/a.html").Header("content-type"); got != "text/html; charset=utf-8" {
		t.Errorf("a charset that the operator has set: %q", got)
	}
	if res := c.Get("/c.js.gz"); res.Header("content-type") != "application/x-own" || res.Headers.Has("content-encoding") {
		t.Errorf("a type that the operator has set: %v", res.Headers)
	}
}

func TestFileGivesArchivesToClientsThatDoNotUnpack(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"a.js.gz": "x", "a.css.br": "x", "a.svgz": "x"})
	c := pagitest.New(&apps.File{Root: dir, Precompressed: true})
	for name, want := range map[string]string{"a.js.gz": "application/gzip", "a.css.br": "application/x-brotli", "a.svgz": "application/gzip"} {
		for _, accepted := range []string{"", "identity", "gzip;q=0, br;q=0", "deflate"} {
			var options []pagitest.Option
			if accepted != "" {
				options = append(options, pagitest.Header("accept-encoding", accepted))
			}
			res := c.Get("/"+name, options...)
			if res.Status != 200 || res.Header("content-type") != want || res.Headers.Has("content-encoding") || res.Header("vary") != "accept-encoding" {
				t.Errorf("%s for a client that accepts %q: %d %v", name, accepted, res.Status, res.Headers)
			}
		}
	}
}

func TestFileFollowsLinksThatAreAllowed(t *testing.T) {
	outside := testkit.Tree(t, map[string]string{"f.txt": "outside", "d/g.txt": "deeper"})
	dir := testkit.Tree(t, map[string]string{"f.txt": "-> " + outside + "/f.txt", "d": "-> " + outside + "/d", "own.txt": "own", "passwd": "-> /etc/passwd"})
	for follow, want := range map[string]map[string]int{
		"":      {"/f.txt": 403, "/d/g.txt": 403, "/own.txt": 200, "/passwd": 403},
		"false": {"/f.txt": 403},
		"true":  {"/f.txt": 200, "/d/g.txt": 200, "/d/": 200, "/d/none": 404, "/d/../f.txt": 403, "/passwd": 200},
		"owner": {"/f.txt": 200, "/d/g.txt": 200, "/own.txt": 200},
	} {
		log := &testkit.Log{}
		c := pagitest.New(&apps.Directory{File: apps.File{Root: dir, FollowSymlinks: follow, Logger: log.Logger()}})
		for target, status := range want {
			if res := c.Get(target); res.Err != nil || res.Status != status {
				t.Errorf("%q, %s: %d %v, want %d", follow, target, res.Status, res.Err, status)
			}
		}
		listing := c.Get("/", pagitest.Header("accept", "application/json")).Text()
		if strings.Contains(listing, `"f.txt"`) != (follow == "true" || follow == "owner") {
			t.Errorf("%q lists %s", follow, listing)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("another owner can be tried by root only")
	}
	if err := os.Lchown(filepath.Join(dir, "f.txt"), 12345, 12345); err != nil {
		t.Fatal(err)
	}
	log := &testkit.Log{}
	c := pagitest.New(&apps.File{Root: dir, FollowSymlinks: "owner", Logger: log.Logger()})
	if res := c.Get("/f.txt"); res.Status != 403 || !strings.Contains(log.String(), "another owner") {
		t.Errorf("another owner's link: %d, log %s", res.Status, log)
	}
}

func TestFileSaysWhyItRefuses(t *testing.T) {
	outside := testkit.Tree(t, map[string]string{"g.txt": "x", "h.txt": "x", ".hidden": "x", "sub/g.txt": "x"})
	dir := testkit.Tree(t, map[string]string{"far": "-> " + outside, "near": "-> in", "in/away": "-> " + outside, "other": "-> " + outside, "out": "-> /etc/passwd", ".htpasswd": "x", "f.txt": "x", "d/": "", "dangling": "-> none"})
	log := &testkit.Log{}
	c := pagitest.New(&apps.File{Root: dir, Logger: log.Logger()})
	for target, want := range map[string]string{
		"/out":            `level=WARN msg="file is not served" status=403 path=/out file=` + dir + `/out reason="a symbolic link leads out of ` + dir + `" option=follow_symlinks`,
		"/.htpasswd":      `level=WARN msg="file is not served" status=403 path=/.htpasswd file=` + dir + `/.htpasswd reason="its name begins with a dot" option=show_hidden`,
		"/.none":          `level=DEBUG msg="file is not served" status=403 path=/.none`,
		"/none":           `level=DEBUG msg="file is not served" status=404 path=/none file=` + dir + `/none reason="there is no such file"`,
		"/dangling":       `level=WARN msg="file is not served" status=404 path=/dangling file=` + dir + `/dangling reason="the symbolic link leads nowhere"`,
		"/f.txt/":         `level=WARN msg="file is not served" status=404 path=/f.txt/`,
		"/d/":             `level=DEBUG msg="file is not served" status=404 path=/d/ file=` + dir + `/d reason="the directory has no index file" option=index`,
		"/a//b":           `level=DEBUG msg="file is not served" status=404 path=/a//b`,
		"/far/g.txt":      `level=WARN msg="file is not served" status=403 path=/far/g.txt file=` + dir + `/far reason="a symbolic link leads out of ` + dir + `" option=follow_symlinks`,
		"/near/away/sub/": `level=WARN msg="file is not served" status=403 path=/near/away/sub/ file=` + dir + `/near/away reason="a symbolic link leads out of ` + dir + `" option=follow_symlinks`,
		"/other/none":     `level=DEBUG msg="file is not served" status=403 path=/other/none file=` + dir + `/other `,
		"/other/.hidden":  `level=WARN msg="file is not served" status=403 path=/other/.hidden file=` + dir + `/other/.hidden reason="its name begins with a dot"`,
	} {
		before := log.String()
		for range 2 {
			c.Get(target)
		}
		said := strings.TrimPrefix(log.String(), before)
		if !strings.Contains(said, want) || strings.Count(said, "level=WARN") > 1 {
			t.Errorf("%s: the log has %s, want once %s", target, said, want)
		}
	}
	before := log.String()
	c.Get("/far/h.txt")
	if said := strings.TrimPrefix(log.String(), before); strings.Contains(said, "level=WARN") {
		t.Errorf("a second file below a link: %s", said)
	}
	c = pagitest.New(&apps.File{Root: dir, FollowSymlinks: "owner", Logger: log.Logger()})
	if c.Get("/far/none"); !strings.Contains(log.String(), `path=/far/none file=`+dir+`/far/none reason="there is no such file"`) {
		t.Errorf("a file that is missing below a link that is followed: %s", log)
	}
}

func TestDirectoryLinksToNamesOfAnyBytes(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"caf\xe9.txt": "x", "a?b.txt": "x", "sub/": ""})
	c := pagitest.New(&apps.Directory{File: apps.File{Root: dir}})
	var entries []struct{ Name, Href string }
	if err := c.Get("/", pagitest.Header("accept", "application/json")).JSON(&entries); err != nil || len(entries) != 3 {
		t.Fatalf("%v, %v", entries, err)
	}
	for _, e := range entries {
		if res := c.Get("/" + strings.TrimPrefix(e.Href, "./")); res.Status != 200 {
			t.Errorf("%+v: %d", e, res.Status)
		}
	}
}
