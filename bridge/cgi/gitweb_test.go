//go:build unix

package cgi

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// gitweb returns the path of Debian's gitweb.
func gitweb(t *testing.T) string {
	t.Helper()
	for _, file := range []string{"/usr/share/gitweb/gitweb.cgi", "/usr/lib/cgi-bin/gitweb.cgi"} {
		if _, err := os.Stat(file); err != nil {
			continue
		}
		if exec.Command("perl", "-MCGI", "-e", "1").Run() == nil {
			return file
		}
	}
	t.Skip("gitweb is not installed (apt-get install gitweb libcgi-pm-perl)")
	return ""
}

// repository makes a git repository with two commits.
func repository(t *testing.T, dir string) (head string, files map[string]string) {
	t.Helper()
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
			"GIT_AUTHOR_NAME=Ann Author", "GIT_AUTHOR_EMAIL=ann@example.org", "GIT_COMMITTER_NAME=Ann Author", "GIT_COMMITTER_EMAIL=ann@example.org")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	write := func(name, text string) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	git("init", "-q", "-b", "main")
	write("README", "A quiet place\n")
	git("add", ".")
	git("commit", "-q", "-m", "Found the village")
	files = map[string]string{"README": "A quiet place\nwith a well\n", "src/größe.txt": strings.Repeat("zwölf Boxkämpfer\n", 5000)}
	for name, text := range files {
		write(name, text)
	}
	git("add", ".")
	git("commit", "-q", "-m", "Dig a <well> & measure it")
	return git("rev-parse", "HEAD"), files
}

func TestGitweb(t *testing.T) {
	script := gitweb(t)
	dir := t.TempDir()
	head, files := repository(t, filepath.Join(dir, "repos", "village"))
	config := filepath.Join(dir, "gitweb.conf")
	text := "$projectroot = '" + dir + "/repos';\n$git_temp = '" + dir + "';\n$feature{'snapshot'}{'default'} = ['tgz'];\n1;\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log := &testkit.Log{}
	application := build(t, CGI{Script: script, Logger: log.Logger(), Env: map[string]string{
		"GITWEB_CONFIG": config, "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
	}})
	get := func(query string) *result {
		t.Helper()
		res := do(t, application, ask{root: "/git", target: "/git" + query})
		if res.err != nil || res.status != 200 || !res.complete {
			t.Fatalf("%s: %d, %v\n%s\n%s", query, res.status, res.err, res.body, log)
		}
		return res
	}
	const project = "?p=village/.git"
	for name, c := range map[string]struct{ query, want string }{
		"project list":             {"", "village/.git"},
		"summary":                  {project + ";a=summary", "Dig a &lt;well&gt; &amp; measure it"},
		"log":                      {project + ";a=log", "Found the village"},
		"diff":                     {project + ";a=commitdiff;h=" + head, "+with&nbsp;a&nbsp;well"},
		"file with UTF-8":          {project + ";a=blob;hb=HEAD;f=src/gr%C3%B6%C3%9Fe.txt", "zwölf"},
		"project in the path info": {"/village/.git/shortlog", "Found the village"},
	} {
		res := get(c.query)
		if !strings.Contains(res.body, c.want) || !strings.HasPrefix(res.headers.Get("content-type"), "application/xhtml+xml") && !strings.HasPrefix(res.headers.Get("content-type"), "text/html") {
			t.Errorf("%s: no %q in\n%s", name, c.want, res.body)
		}
	}
	if res := do(t, application, ask{root: "/git", target: "/git?p=none.git"}); res.err != nil || res.status != 404 {
		t.Errorf("a project that does not exist: %d, %v", res.status, res.err)
	}

	res := get(project + ";a=snapshot;h=" + head + ";sf=tgz")
	got := unpack(t, res.body)
	for name, want := range files {
		if got[name] != want {
			t.Errorf("snapshot: %s has %d bytes, want %d", name, len(got[name]), len(want))
		}
	}
	if len(got) != len(files) {
		t.Errorf("snapshot: %d files, want %d", len(got), len(files))
	}
}

// unpack returns the files of a tarball, without their first directory.
func unpack(t *testing.T, archive string) map[string]string {
	t.Helper()
	unzipped, err := gzip.NewReader(strings.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(unzipped); ; {
		entry, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if entry.Typeflag != tar.TypeReg {
			continue
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(entry.Name, "/")
		files[name] = string(text)
	}
}
