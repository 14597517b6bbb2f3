package apps_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

var day = time.Date(2024, 2, 29, 12, 0, 0, 123456789, time.UTC)

func touch(t *testing.T, path string, at time.Time) {
	t.Helper()
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func ExampleFile() {
	client := pagitest.New(&apps.File{Root: "testdata/public"})
	res := client.Get("/hello.txt", pagitest.Header("range", "bytes=0-4"))
	fmt.Println(res.Status, res.Header("content-type"), res.Header("content-range"))
	fmt.Println(res.Text())
	// Output:
	// 206 text/plain; charset=utf-8 bytes 0-4/13
	// Hello
}

func TestFileServes(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{
		"a.html": "<p>", "b.JSON": "{}", "c.unknown": "?", "README": "read", "empty.css": "", "logo.svg": "<svg/>", "x y ü.txt": "odd",
		"sub/index.htm": "old index", "both/index.html": "html", "both/index.htm": "htm", "none/": "", "archive.tar.gz": "gz",
		"link.txt": "-> sub/index.htm", "linked": "-> sub",
	})
	c := pagitest.New(&apps.File{Root: dir, CacheControl: "max-age=60"})
	for target, want := range map[string]struct {
		status      int
		ctype, body string
	}{
		"/a.html":                      {200, "text/html; charset=utf-8", "<p>"},
		"/b.JSON":                      {200, "application/json", "{}"},
		"/c.unknown":                   {200, "application/octet-stream", "?"},
		"/README":                      {200, "application/octet-stream", "read"},
		"/empty.css":                   {200, "text/css; charset=utf-8", ""},
		"/logo.svg":                    {200, "image/svg+xml", "<svg/>"},
		"/x%20y%20%C3%BC.txt":          {200, "text/plain; charset=utf-8", "odd"},
		"/archive.tar.gz":              {200, "application/gzip", "gz"},
		"/sub/":                        {200, "text/html; charset=utf-8", "old index"},
		"/both/":                       {200, "text/html; charset=utf-8", "html"},
		"//both/index.htm":             {404, "text/plain; charset=utf-8", "Not Found\n"},
		"/%2fboth/index.htm":           {404, "text/plain; charset=utf-8", "Not Found\n"},
		"/both//index.htm":             {404, "text/plain; charset=utf-8", "Not Found\n"},
		"/both//":                      {404, "text/plain; charset=utf-8", "Not Found\n"},
		"//":                           {404, "text/plain; charset=utf-8", "Not Found\n"},
		"/link.txt":                    {200, "text/plain; charset=utf-8", "old index"},
		"/linked/":                     {200, "text/html; charset=utf-8", "old index"},
		"/none/":                       {404, "text/plain; charset=utf-8", "Not Found\n"},
		"/":                            {404, "text/plain; charset=utf-8", "Not Found\n"},
		"/absent":                      {404, "text/plain; charset=utf-8", "Not Found\n"},
		"/a.html/":                     {404, "text/plain; charset=utf-8", "Not Found\n"},
		"/a.html/b":                    {404, "text/plain; charset=utf-8", "Not Found\n"},
		"/" + strings.Repeat("n", 300): {404, "text/plain; charset=utf-8", "Not Found\n"},
	} {
		res := c.Get(target)
		if res.Err != nil || res.Status != want.status || res.Header("content-type") != want.ctype || res.Text() != want.body {
			t.Errorf("%s: %d %q %q %v", target, res.Status, res.Header("content-type"), res.Text(), res.Err)
		}
		if want.status == 200 && (res.Header("etag") == "" || res.Header("last-modified") == "" || res.Header("accept-ranges") != "bytes" || res.Header("cache-control") != "max-age=60") {
			t.Errorf("%s lacks a header: %v", target, res.Headers)
		}
		head := c.Head(target)
		if diff := cmp.Diff(res.Headers, head.Headers); diff != "" || head.Err != nil || head.Status != res.Status || len(head.Body) > 0 {
			t.Errorf("HEAD %s differs: %d %v %s", target, head.Status, head.Err, diff)
		}
	}
}

func TestFileSendsTheHandleItMeasured(t *testing.T) {
	content := strings.Repeat("0123456789", 4000)
	dir := testkit.Tree(t, map[string]string{"f.txt": content})
	c := pagitest.New(&apps.File{Root: dir})
	res := c.Get("/f.txt", pagitest.Header("range", "bytes=2-30001"))
	if res.Err != nil || res.Text() != content[2:30002] {
		t.Fatal(res.Err, len(res.Body))
	}
	body := res.Events[1].(pagi.HTTPResponseBody)
	if _, is := body.FH.(*os.File); !is || body.Offset != 2 || body.Length != 30000 || body.File != "" {
		t.Fatalf("body event: %+v", body)
	}
	if _, err := body.FH.Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("the handle is still open: %v", err)
	}
}

func TestFileRefuses(t *testing.T) {
	outside := testkit.Tree(t, map[string]string{"secret.txt": "secret"})
	dir := testkit.Tree(t, map[string]string{
		".env": "k=v", ".git/config": "x", "ok.txt": "ok", "sub/.hidden": "x", "out.txt": "-> " + filepath.Join(outside, "secret.txt"),
		"outdir": "-> " + outside, "up": "-> ../", "loop": "-> loop", `back\slash.txt`: "x", "trail...": "x",
	})
	c := pagitest.New(&apps.File{Root: dir})
	for target, status := range map[string]int{
		"/../ok.txt": 403, "/sub/../ok.txt": 403, "/%2e%2e/ok.txt": 403, "/..%2fok.txt": 403, "/.../ok.txt": 403, "/./ok.txt": 403, "/..": 403,
		"/....//ok.txt": 403, `/..\ok.txt`: 403, "/back%5cslash.txt": 403, "/ok.txt%00": 403, "/ok.txt%00.html": 403,
		"/.env": 403, "/.git/config": 403, "/sub/.hidden": 403, "/.absent": 403,
		"/out.txt": 403, "/outdir/secret.txt": 403, "/outdir/": 403, "/up/": 403, "/loop": 403, "/trail...": 200, "/ok.txt": 200,
	} {
		if res := c.Get(target); res.Err != nil || res.Status != status || strings.Contains(res.Text(), "secret") {
			t.Errorf("%s: %d %q %v, want %d", target, res.Status, res.Text(), res.Err, status)
		}
	}
	hidden := pagitest.New(&apps.File{Root: dir, ShowHidden: true})
	for target, status := range map[string]int{"/.env": 200, "/.git/config": 200, "/../ok.txt": 403, "/.../x": 403, "/./ok.txt": 403} {
		if res := hidden.Get(target); res.Err != nil || res.Status != status {
			t.Errorf("show_hidden, %s: %d %v", target, res.Status, res.Err)
		}
	}
	if os.Geteuid() != 0 {
		if err := os.Chmod(filepath.Join(dir, "ok.txt"), 0); err != nil {
			t.Fatal(err)
		}
		if res := c.Get("/ok.txt"); res.Status != 403 {
			t.Errorf("an unreadable file: %d", res.Status)
		}
	}
}

func TestFileDoesNotWaitForANamedPipe(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Skip("named pipes cannot be made here: ", err)
	}
	if res := pagitest.New(&apps.File{Root: dir}).Get("/pipe"); res.Err != nil || res.Status != 404 {
		t.Errorf("%d %v", res.Status, res.Err)
	}
}

func TestFileMethods(t *testing.T) {
	c := pagitest.New(&apps.File{Root: t.TempDir()})
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"} {
		if res := c.Do(method, "/x"); res.Err != nil || res.Status != 405 || res.Header("allow") != "GET, HEAD" {
			t.Errorf("%s: %d, allow %q, %v", method, res.Status, res.Header("allow"), res.Err)
		}
	}
}

func TestFileRedirectsADirectoryWithoutSlash(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"sub/in/index.html": "in", "a:b/index.html": "colon", "s p/index.html": "space", "index.html": "root"})
	file := &apps.File{Root: dir}
	c := pagitest.New(&apps.URLMap{Mounts: []apps.Mount{{Path: "/static", App: file}, {Path: "/", App: file},
		{Path: "/nested", App: &apps.URLMap{Mounts: []apps.Mount{{Path: "/static", App: file}}}}}})
	for target, want := range map[string]string{
		"/sub/in": "in/", "/sub/in?x=1": "in/?x=1", "/a:b": "./a:b/", "/s%20p": "s%20p/", "/static": "static/", "/static/sub/in": "in/", "/static?": "static/?",
		"/nested/static": "static/", "/sub%2fin": "sub%2fin/", "/sub%2Fin?x": "sub%2Fin/?x",
	} {
		if res := c.Get(target); res.Err != nil || res.Status != 301 || res.Header("location") != want {
			t.Errorf("%s: %d %q %v, want %q", target, res.Status, res.Header("location"), res.Err, want)
		}
	}
	for _, target := range []string{"/", "/static/", "/sub/in/"} {
		if res := c.Get(target); res.Status != 200 {
			t.Errorf("%s: %d", target, res.Status)
		}
	}
}

func TestFileForAClientThatWouldAlsoTakeEvents(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"card.json": "{}", "sub/": ""})
	for name, app := range map[string]pagi.App{"file": &apps.File{Root: dir}, "directory": &apps.Directory{File: apps.File{Root: dir}}} {
		c := pagitest.New(app)
		for target, want := range map[string]int{"/card.json": 200, "/none": 404, "/sub": 301} {
			if res := c.Get(target, pagitest.Header("accept", "application/json, text/event-stream")); res.Err != nil || res.Status != want {
				t.Errorf("%s%s: %d %v, want %d", name, target, res.Status, res.Err, want)
			}
		}
	}
}

func TestFileConditions(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"f.txt": "content"})
	touch(t, filepath.Join(dir, "f.txt"), day)
	c := pagitest.New(&apps.File{Root: dir})
	first := c.Get("/f.txt")
	etag, modified := first.Header("etag"), first.Header("last-modified")
	if modified != "Thu, 29 Feb 2024 12:00:00 GMT" || !strings.HasPrefix(etag, `"`) {
		t.Fatalf("etag %q, last-modified %q", etag, modified)
	}
	earlier, later := day.Add(-time.Hour).Format(http.TimeFormat), day.Add(time.Hour).Format(http.TimeFormat)
	h := pagitest.Header
	for name, tc := range map[string]struct {
		opts   []pagitest.Option
		status int
	}{
		"if-none-match, the tag":                        {[]pagitest.Option{h("if-none-match", etag)}, 304},
		"if-none-match, the tag weak":                   {[]pagitest.Option{h("if-none-match", "W/"+etag)}, 304},
		"if-none-match, the tag in a list":              {[]pagitest.Option{h("if-none-match", `"x", W/"y" ,`+etag)}, 304},
		"if-none-match, in a second line":               {[]pagitest.Option{h("if-none-match", `"x"`), h("if-none-match", etag)}, 304},
		"if-none-match, any":                            {[]pagitest.Option{h("if-none-match", "*")}, 304},
		"if-none-match, another":                        {[]pagitest.Option{h("if-none-match", `"x"`)}, 200},
		"if-none-match, garbage":                        {[]pagitest.Option{h("if-none-match", `x`)}, 200},
		"if-none-match, an open quote":                  {[]pagitest.Option{h("if-none-match", `"x`)}, 200},
		"if-none-match hides if-modified-since":         {[]pagitest.Option{h("if-none-match", `"x"`), h("if-modified-since", modified)}, 200},
		"if-modified-since, the date":                   {[]pagitest.Option{h("if-modified-since", modified)}, 304},
		"if-modified-since, later":                      {[]pagitest.Option{h("if-modified-since", later)}, 304},
		"if-modified-since, earlier":                    {[]pagitest.Option{h("if-modified-since", earlier)}, 200},
		"if-modified-since, garbage":                    {[]pagitest.Option{h("if-modified-since", "yesterday")}, 200},
		"if-match, the tag":                             {[]pagitest.Option{h("if-match", etag)}, 200},
		"if-match, any":                                 {[]pagitest.Option{h("if-match", "*")}, 200},
		"if-match, another":                             {[]pagitest.Option{h("if-match", `"x"`)}, 412},
		"if-match, the tag weak":                        {[]pagitest.Option{h("if-match", "W/"+etag)}, 412},
		"if-match hides if-unmodified-since":            {[]pagitest.Option{h("if-match", etag), h("if-unmodified-since", earlier)}, 200},
		"if-unmodified-since, the date":                 {[]pagitest.Option{h("if-unmodified-since", modified)}, 200},
		"if-unmodified-since, earlier":                  {[]pagitest.Option{h("if-unmodified-since", earlier)}, 412},
		"if-match and if-none-match with the same":      {[]pagitest.Option{h("if-match", etag), h("if-none-match", etag)}, 304},
		"a range of what is not modified":               {[]pagitest.Option{h("if-none-match", etag), h("range", "bytes=0-1")}, 304},
		"if-range, the tag":                             {[]pagitest.Option{h("if-range", etag), h("range", "bytes=0-1")}, 206},
		"if-range, the tag weak":                        {[]pagitest.Option{h("if-range", "W/"+etag), h("range", "bytes=0-1")}, 200},
		"if-range, another":                             {[]pagitest.Option{h("if-range", `"x"`), h("range", "bytes=0-1")}, 200},
		"if-range, the date":                            {[]pagitest.Option{h("if-range", modified), h("range", "bytes=0-1")}, 206},
		"if-range, a later date":                        {[]pagitest.Option{h("if-range", later), h("range", "bytes=0-1")}, 200},
		"if-range, another, makes a bad range harmless": {[]pagitest.Option{h("if-range", `"x"`), h("range", "bytes=99-")}, 200},
	} {
		res := c.Get("/f.txt", tc.opts...)
		if res.Err != nil || res.Status != tc.status {
			t.Errorf("%s: %d %v, want %d", name, res.Status, res.Err, tc.status)
		}
		if res.Status == 304 && (res.Header("etag") != etag || res.Header("last-modified") != modified || len(res.Body) > 0 || res.Headers.Has("content-length")) {
			t.Errorf("%s: a 304 with %v %q", name, res.Headers, res.Text())
		}
	}
	touch(t, filepath.Join(dir, "f.txt"), day.Add(time.Nanosecond))
	if c.Get("/f.txt").Header("etag") == etag {
		t.Error("the tag did not change with the modification time")
	}
}

func TestFileRanges(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"f.txt": "0123456789", "empty": ""})
	c := pagitest.New(&apps.File{Root: dir})
	for header, want := range map[string]struct {
		status       int
		body, crange string
	}{
		"bytes=0-0":                            {206, "0", "bytes 0-0/10"},
		"bytes=2-4":                            {206, "234", "bytes 2-4/10"},
		"bytes=7-":                             {206, "789", "bytes 7-9/10"},
		"bytes=-3":                             {206, "789", "bytes 7-9/10"},
		"bytes=-99":                            {206, "0123456789", "bytes 0-9/10"},
		"bytes=5-99":                           {206, "56789", "bytes 5-9/10"},
		"Bytes = 1-2":                          {206, "12", "bytes 1-2/10"},
		"bytes=0-1,99-":                        {206, "01", "bytes 0-1/10"},
		"bytes=10-":                            {416, "Requested Range Not Satisfiable\n", "bytes */10"},
		"bytes=99-100":                         {416, "Requested Range Not Satisfiable\n", "bytes */10"},
		"bytes=-0":                             {416, "Requested Range Not Satisfiable\n", "bytes */10"},
		"bytes=99999999999999999999-":          {416, "Requested Range Not Satisfiable\n", "bytes */10"},
		"bytes=4-2":                            {200, "0123456789", ""},
		"bytes=a-b":                            {200, "0123456789", ""},
		"bytes=5":                              {200, "0123456789", ""},
		"bytes=-":                              {200, "0123456789", ""},
		"bytes=+1-2":                           {200, "0123456789", ""},
		"bytes=":                               {200, "0123456789", ""},
		"lines=1-2":                            {200, "0123456789", ""},
		"nonsense":                             {200, "0123456789", ""},
		"bytes=0-,0-,0-":                       {200, "0123456789", ""},
		"bytes=" + strings.Repeat("0-0,", 101): {200, "0123456789", ""},
	} {
		res := c.Get("/f.txt", pagitest.Header("range", header))
		if res.Err != nil || res.Status != want.status || res.Text() != want.body || res.Header("content-range") != want.crange {
			t.Errorf("%.40s: %d %q %q %v", header, res.Status, res.Text(), res.Header("content-range"), res.Err)
		}
	}
	if res := c.Head("/f.txt", pagitest.Header("range", "bytes=0-1")); res.Status != 200 || res.Header("content-length") != "10" {
		t.Errorf("HEAD ignores ranges: %d", res.Status)
	}
	if res := c.Get("/empty", pagitest.Header("range", "bytes=0-")); res.Status != 200 || res.Text() != "" {
		t.Errorf("a range of an empty file: %d", res.Status)
	}
	off := pagitest.New(&apps.File{Root: dir, DisableRanges: true})
	if res := off.Get("/f.txt", pagitest.Header("range", "bytes=0-1")); res.Status != 200 || res.Headers.Has("accept-ranges") {
		t.Errorf("disable_ranges: %d %v", res.Status, res.Headers)
	}
}

func TestFileMultipleRanges(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"f.txt": "0123456789"})
	res := pagitest.New(&apps.File{Root: dir}).Get("/f.txt", pagitest.Header("range", "bytes=0-1, 4-5,-2"))
	if res.Err != nil || res.Status != 206 || res.Headers.Has("content-range") {
		t.Fatalf("%d %v %v", res.Status, res.Headers, res.Err)
	}
	mediaType, params, err := mime.ParseMediaType(res.Header("content-type"))
	if err != nil || mediaType != "multipart/byteranges" {
		t.Fatalf("%q %v", mediaType, err)
	}
	var got []string
	for r := multipart.NewReader(strings.NewReader(res.Text()), params["boundary"]); ; {
		part, err := r.NextPart()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, part.Header.Get("Content-Type")+"|"+part.Header.Get("Content-Range")+"|"+string(body))
	}
	want := []string{"text/plain; charset=utf-8|bytes 0-1/10|01", "text/plain; charset=utf-8|bytes 4-5/10|45", "text/plain; charset=utf-8|bytes 8-9/10|89"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFilePrecompressed(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{
		"a.css": "plain", "a.css.gz": "gzipped", "a.css.br": "brotli", "only.js": "plain", "only.js.gz": "gzipped",
		"stale.js": "plain", "stale.js.gz": "old", "none.js": "plain", "dir.js": "plain", "dir.js.gz/": "",
	})
	for _, name := range []string{"a.css", "a.css.gz", "a.css.br", "only.js", "only.js.gz", "stale.js"} {
		touch(t, filepath.Join(dir, name), day)
	}
	touch(t, filepath.Join(dir, "stale.js.gz"), day.Add(-time.Hour))
	c := pagitest.New(&apps.File{Root: dir, Precompressed: true})
	for _, tc := range []struct{ target, accept, encoding, body string }{
		{"/a.css", "gzip, deflate, br", "br", "brotli"},
		{"/a.css", "gzip", "gzip", "gzipped"},
		{"/a.css", "br;q=0.5, gzip;q=0.8", "gzip", "gzipped"},
		{"/a.css", "br;q=0, gzip", "gzip", "gzipped"},
		{"/a.css", "br;q=0, *", "gzip", "gzipped"},
		{"/a.css", "*", "br", "brotli"},
		{"/a.css", "*;q=0", "", "plain"},
		{"/a.css", "gzip;q=0.5, identity", "", "plain"},
		{"/a.css", "gzip;q=0.5, identity;q=0.4", "gzip", "gzipped"},
		{"/a.css", "gzip, br;q=0.2, identity;q=0.5", "gzip", "gzipped"},
		{"/a.css", "br;q=x", "", "plain"},
		{"/a.css", "identity", "", "plain"},
		{"/a.css", "", "", "plain"},
		{"/only.js", "br, gzip", "gzip", "gzipped"},
		{"/stale.js", "gzip", "", "plain"},
		{"/none.js", "gzip, br", "", "plain"},
		{"/dir.js", "gzip, br", "", "plain"},
	} {
		res := c.Get(tc.target, pagitest.Header("accept-encoding", tc.accept))
		if res.Err != nil || res.Header("content-encoding") != tc.encoding || res.Text() != tc.body || res.Header("vary") != "accept-encoding" {
			t.Errorf("%s for %q: %q %q vary %q %v", tc.target, tc.accept, res.Header("content-encoding"), res.Text(), res.Header("vary"), res.Err)
		}
		if strings.HasSuffix(tc.target, "css") && res.Header("content-type") != "text/css; charset=utf-8" {
			t.Errorf("%s for %q: type %q", tc.target, tc.accept, res.Header("content-type"))
		}
	}
	plain, packed := c.Get("/a.css"), c.Get("/a.css", pagitest.Header("accept-encoding", "br"))
	if plain.Header("etag") == packed.Header("etag") {
		t.Error("the forms of a file share a tag")
	}
	if res := pagitest.New(&apps.File{Root: dir}).Get("/a.css", pagitest.Header("accept-encoding", "br")); res.Text() != "plain" || res.Headers.Has("vary") {
		t.Error("compressed forms are sent without the option")
	}
}

func TestFileOptions(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"a.html": "x", "b.pl": "x", "c": "x", "start.html": "start", "index.html": "index"})
	c := pagitest.New(&apps.File{Root: dir, Charset: "iso-8859-1", Types: map[string]string{"pl": "text/x-perl"}, DefaultType: "text/plain", Index: []string{"start.html"}})
	for target, want := range map[string]string{"/a.html": "text/html; charset=iso-8859-1", "/b.pl": "text/x-perl; charset=iso-8859-1", "/c": "text/plain; charset=iso-8859-1"} {
		if got := c.Get(target).Header("content-type"); got != want {
			t.Errorf("%s: %q", target, got)
		}
	}
	if got := c.Get("/").Text(); got != "start" {
		t.Errorf("index: %q", got)
	}
	none := pagitest.New(&apps.File{Root: dir, Charset: "off", Index: []string{}})
	if res := none.Get("/"); res.Status != 404 {
		t.Errorf("an empty index list: %d", res.Status)
	}
	if got := none.Get("/a.html").Header("content-type"); got != "text/html" {
		t.Errorf("charset off: %q", got)
	}
}

func TestFileCheck(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"file": ""})
	if err := (&apps.File{}).Check(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
	for name, tc := range map[string]struct {
		app    *apps.File
		option string
		say    string
	}{
		"an absent root":         {&apps.File{Root: filepath.Join(dir, "absent")}, "root", "no such file"},
		"a wrong follow":         {&apps.File{Root: dir, FollowSymlinks: "some"}, "follow_symlinks", "must be true, false or owner"},
		"a bad default type":     {&apps.File{Root: dir, DefaultType: "a\nb"}, "default_type", "control characters"},
		"a bad charset":          {&apps.File{Root: dir, Charset: "a\rb"}, "charset", "control characters"},
		"a bad cache control":    {&apps.File{Root: dir, CacheControl: "\x00"}, "cache_control", "control characters"},
		"an extension with dot":  {&apps.File{Root: dir, Types: map[string]string{".pl": "x"}}, "types", "without its dot"},
		"an extension in upper":  {&apps.File{Root: dir, Types: map[string]string{"PL": "x"}}, "types", "lower case"},
		"a type with LF":         {&apps.File{Root: dir, Types: map[string]string{"pl": "x\n"}}, "types", "control characters"},
		"an index with a path":   {&apps.File{Root: dir, Index: []string{"../x"}}, "index", "must be a file's name"},
		"an index that is empty": {&apps.File{Root: dir, Index: []string{""}}, "index", "must be a file's name"},
	} {
		err := tc.app.Check()
		var bad *pagi.OptionError
		if !errors.As(err, &bad) || bad.Option != tc.option || !strings.Contains(err.Error(), tc.say) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFileNoticesAnotherRoot(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"1/f.txt": "one", "2/f.txt": "two", "current": "-> 1"})
	current := filepath.Join(dir, "current")
	c := pagitest.New(&apps.File{Root: current})
	if got := c.Get("/f.txt").Text(); got != "one" {
		t.Fatal(got)
	}
	if err := errors.Join(os.Symlink("2", current+".new"), os.Rename(current+".new", current)); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the new root to be noticed", func() bool { return c.Get("/f.txt").Text() == "two" })
	if err := os.Remove(current); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the lost root to be noticed", func() bool { return c.Get("/f.txt").Err != nil })
}

func TestFileDeclinesOtherProtocols(t *testing.T) {
	f := &apps.File{Root: t.TempDir()}
	if err := f.Serve(t.Context(), &pagi.Scope{Type: pagi.TypeLifespan}, nil, nil); !errors.Is(err, pagi.ErrUnsupported) {
		t.Errorf("lifespan: %v", err)
	}
}
