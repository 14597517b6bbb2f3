//go:build unix

package cgi

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// say is a script that answers with a word, its own name and PATH_INFO.
func say(word string) string {
	return "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n" + word + " %s|%s\\n' \"$SCRIPT_NAME\" \"$PATH_INFO\"\n"
}

// files is an application that tells which file it was asked for.
var files = pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
	if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
		return err
	}
	return send(ctx, pagi.HTTPResponseBody{Body: []byte("file " + scope.RootPath + " " + scope.Path)})
})

func TestADirectoryThatTakesNoBodyInStreamsIt(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"stream/a": "", "spool/a": "", "same/a": ""})
	for chunked, want := range map[string][]string{
		"":            {ChunkedStream, ChunkedSpool, ChunkedSpool},
		ChunkedRefuse: {ChunkedRefuse, ChunkedSpool, ChunkedRefuse},
	} {
		a, err := newApp(CGI{Root: dir, Chunked: chunked, Directories: []Directory{
			{Path: "/stream", CGI: CGI{BodyBuffer: -1}}, {Path: "/spool", CGI: CGI{BodyBuffer: -1, Chunked: ChunkedSpool}}, {Path: "/same"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if got := []string{a.under("/stream/a").Chunked, a.under("/spool/a").Chunked, a.under("/same/a").Chunked}; !slices.Equal(got, want) {
			t.Errorf("chunked %q of the mount: %q, want %q", chunked, got, want)
		}
	}
}

func TestWhichFilesRun(t *testing.T) {
	root := testkit.Tree(t, map[string]string{
		"run.cgi":            say("run"),
		"run.sh":             say("own line"),
		"plain.sh":           strings.TrimPrefix(say("by extension"), "#!/bin/sh\n"),
		"two words ü.sh":     strings.TrimPrefix(say("words"), "#!/bin/sh\n"),
		"page.html":          "<p>",
		"sub/deep/style.css": "p{}",
		"sub/index.html":     "<p>",
		"sub/run.cgi":        say("sub"),
		"lost":               say("lost its execute bit"),
	})
	if err := os.Chmod(filepath.Join(root, "lost"), 0o644); err != nil {
		t.Fatal(err)
	}
	interpreters := map[string]string{".sh": "/bin/sh"}
	no := new(false)
	for name, c := range map[string]struct {
		options CGI
		target  string
		status  int
		body    string
	}{
		"an execute bit":                    {CGI{}, "/run.cgi/x", 200, "run /cgi/run.cgi|/x\n"},
		"no execute bit":                    {CGI{}, "/plain.sh", 403, ""},
		"an extension":                      {CGI{Interpreters: interpreters}, "/plain.sh/x", 200, "by extension /cgi/plain.sh|/x\n"},
		"an extension beside a bit":         {CGI{Interpreters: interpreters}, "/run.sh", 200, "own line /cgi/run.sh|\n"},
		"an extension, words and UTF-8":     {CGI{Interpreters: interpreters}, "/two%20words%20%C3%BC.sh", 200, "words /cgi/two words ü.sh|\n"},
		"an extension in another case":      {CGI{Interpreters: interpreters}, "/plain.SH", 404, ""},
		"beside an extension, bits count":   {CGI{Interpreters: interpreters}, "/run.cgi", 200, "run /cgi/run.cgi|\n"},
		"an index by extension":             {CGI{Interpreters: interpreters, Index: "plain.sh"}, "/", 200, "by extension /cgi/plain.sh|\n"},
		"a path behind, refused":            {CGI{PathInfo: no}, "/run.cgi/x", 404, ""},
		"a slash behind, refused":           {CGI{PathInfo: no}, "/run.cgi/", 404, ""},
		"no path behind":                    {CGI{PathInfo: no}, "/run.cgi", 200, "run /cgi/run.cgi|\n"},
		"a path behind, accepted":           {CGI{PathInfo: new(true)}, "/run.cgi/x", 200, "run /cgi/run.cgi|/x\n"},
		"a file, refused":                   {CGI{}, "/page.html", 403, ""},
		"a file, refused by word":           {CGI{Static: "refuse"}, "/page.html", 403, ""},
		"a file, served":                    {CGI{Static: "serve"}, "/page.html", 200, "file /cgi /page.html"},
		"a nested file, served":             {CGI{Static: "serve"}, "/sub/deep/style.css", 200, "file /cgi /sub/deep/style.css"},
		"a file with a path behind":         {CGI{Static: "serve"}, "/page.html/x", 404, ""},
		"an index that is a file":           {CGI{Static: "serve", Index: "index.html"}, "/sub/", 200, "file /cgi /sub/index.html"},
		"a script beside files":             {CGI{Static: "serve"}, "/run.cgi", 200, "run /cgi/run.cgi|\n"},
		"a script without its bit":          {CGI{Static: "serve"}, "/lost", 403, ""},
		"a script by extension beside them": {CGI{Static: "serve", Interpreters: interpreters}, "/plain.sh", 200, "by extension /cgi/plain.sh|\n"},
		"a hidden slash before a file":      {CGI{Static: "serve"}, "/sub%2Findex.html", 404, ""},
		"a file in a nested directory":      {CGI{}, "/sub/run.cgi", 200, "sub /cgi/sub/run.cgi|\n"},
	} {
		c.options.Root, c.options.Files = root, files
		res := do(t, build(t, c.options), ask{root: "/cgi", target: "/cgi" + c.target})
		if res.err != nil || res.status != c.status || c.body != "" && res.body != c.body {
			t.Errorf("%s: %d %q %v, want %d %q", name, res.status, res.body, res.err, c.status, c.body)
		}
	}
	script := build(t, CGI{Script: filepath.Join(root, "plain.sh"), Interpreters: interpreters})
	if res := do(t, script, ask{target: "/x"}); res.body != "by extension |/x\n" {
		t.Errorf("a single script by extension: %+v", res)
	}
	script = build(t, CGI{Script: filepath.Join(root, "run.cgi"), PathInfo: no})
	if res := do(t, script, ask{target: "/x"}); res.status != 404 {
		t.Errorf("a single script, a path behind: %+v", res)
	}
}

func TestDirectoriesHaveOptionsOfTheirOwn(t *testing.T) {
	show := "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n%s %s %s %s' \"$A\" \"$B\" \"$HTTP_AUTHORIZATION\" \"$SERVER_ADMIN\"\n"
	root := testkit.Tree(t, map[string]string{
		"show.cgi": show, "admin/show.cgi": show, "admin/reports/show.cgi": show, "administrator/show.cgi": show,
		"slow.cgi": show, "admin/plain.sh": strings.TrimPrefix(show, "#!/bin/sh\n"), "admin/reports/index": show,
	})
	application := build(t, CGI{
		Root: root, Env: map[string]string{"A": "1", "B": "1"}, ServerAdmin: "all@example.org",
		Directories: []Directory{
			{Path: "/admin/reports", CGI: CGI{Env: map[string]string{"B": "3"}, Index: "index", PathInfo: new(true)}},
			{Path: "/admin", CGI: CGI{Env: map[string]string{"B": "2"}, Authorization: true, PathInfo: new(false), Interpreters: map[string]string{".sh": "/bin/sh"}}},
			{Path: "/slow.cgi", CGI: CGI{ServerAdmin: "slow@example.org"}},
		},
	})
	for target, want := range map[string]string{
		"/show.cgi":                 "1 1  all@example.org",
		"/show.cgi/x":               "1 1  all@example.org",
		"/administrator/show.cgi":   "1 1  all@example.org",
		"/admin/show.cgi":           "1 2 Basic x all@example.org",
		"/%61dmin/show.cgi":         "1 2 Basic x all@example.org",
		"/admin/plain.sh":           "1 2 Basic x all@example.org",
		"/admin/reports/show.cgi/x": "1 3 Basic x all@example.org",
		"/admin/reports/":           "1 3 Basic x all@example.org",
		"/slow.cgi":                 "1 1  slow@example.org",
		"/slow.cgi/admin":           "1 1  slow@example.org",
		"/admin/show.cgi/x":         "Not Found\n",
		"/admin/":                   "Not Found\n",
	} {
		res := do(t, application, ask{target: target, headers: pagi.NewHeaders("authorization", "Basic x")})
		if res.err != nil || res.body != want {
			t.Errorf("%s: %q, want %q; %v", target, res.body, want, res.err)
		}
	}
}

func TestABadDirectoryIsNamedWhenTheAppIsBuilt(t *testing.T) {
	for name, c := range map[string]struct {
		directories []Directory
		want        string
	}{
		"no path":            {[]Directory{{}}, "path: must be"},
		"the mount":          {[]Directory{{Path: "/"}}, "path: must be"},
		"a relative path":    {[]Directory{{Path: "sub"}}, "path: must be"},
		"a slash at its end": {[]Directory{{Path: "/sub/"}}, "path: must be"},
		"a path that climbs": {[]Directory{{Path: "/sub/../sub"}}, "path: must be"},
		"one that is not":    {[]Directory{{Path: "/none"}}, "/none: path: "},
		"one twice":          {[]Directory{{Path: "/sub"}, {Path: "/sub"}}, "path: is there twice"},
		"a root":             {[]Directory{{Path: "/sub", CGI: CGI{Root: scripts}}}, "belong to the mount"},
		"a document root":    {[]Directory{{Path: "/sub", CGI: CGI{DocumentRoot: scripts}}}, "belong to the mount"},
		"a bad option":       {[]Directory{{Path: "/sub", CGI: CGI{KillAfter: -1}}}, "directories: /sub: kill_after: "},
		"a bad variable":     {[]Directory{{Path: "/sub", CGI: CGI{Env: map[string]string{"": "x"}}}}, "directories: /sub: env: "},
	} {
		_, err := CGI{Root: scripts, Directories: c.directories}.Build()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := (CGI{Script: scripts + "/hello.cgi", Directories: []Directory{{Path: "/x"}}}).Build(); err == nil {
		t.Error("directories of a single script")
	}
}
