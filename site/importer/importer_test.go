package importer_test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/site"
	"github.com/pagi-go/pagi-bridge/site/importer"
)

var update = flag.Bool("update", false, "write the site files and notes of testdata anew")

const (
	siteFile  = "site.yaml"
	notesFile = "notes"
	// filesFile lists what must be there for the site to be right, in the directory of the case.
	filesFile = "files"
)

// Each case of testdata is an archive with the configurations, and the site file and notes that come of
// them. DIR is the case's directory. The site file is loaded and built, as pagi-bridge -t does.
func TestImport(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) < 25 {
		t.Errorf("only %d cases", len(cases))
	}
	for _, file := range cases {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) { importCase(t, file) })
	}
}

// fixedDir returns a directory whose path has the same length on every machine, because long lines of a site file are broken.
func fixedDir(t *testing.T) string {
	t.Helper()
	const length = 120
	dir := t.TempDir()
	if len(dir) < length-1 {
		dir += "/" + strings.Repeat("d", length-1-len(dir))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func importCase(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := fixedDir(t)
	defer importer.SetPHP(filepath.Join(dir, "usr/bin/php-cgi"))()
	var inputs []string
	want := map[string]string{}
	for _, f := range archive.Files {
		text := string(f.Data)
		switch f.Name {
		case siteFile, notesFile:
			want[f.Name] = text
		case filesFile:
			for _, name := range strings.Fields(text) {
				makeFile(t, filepath.Join(dir, name), strings.HasSuffix(name, "/"))
			}
		default:
			path := filepath.Join(dir, f.Name)
			makeFile(t, path, false)
			if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o644); err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(f.Name, "included/") {
				inputs = append(inputs, path)
			}
		}
	}
	result, err := importer.Import(inputs, "")
	if err != nil {
		t.Fatal(err)
	}
	var notes strings.Builder
	for _, n := range result.Notes {
		notes.WriteString(n.String() + "\n")
	}
	got := map[string]string{siteFile: strings.ReplaceAll(result.Site, dir, "DIR"), notesFile: strings.ReplaceAll(notes.String(), dir, "DIR")}
	check(t, filepath.Join(dir, siteFile), result.Site)
	if *update {
		archive.Files = slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return f.Name == siteFile || f.Name == notesFile })
		archive.Files = append(archive.Files, txtar.File{Name: siteFile, Data: []byte(got[siteFile])}, txtar.File{Name: notesFile, Data: []byte(got[notesFile])})
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, name := range []string{siteFile, notesFile} {
		if diff := cmp.Diff(want[name], got[name]); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

// pairOf returns a certificate with its key, the same for all names within a case.
func pairOf(t *testing.T) *testkit.Pair {
	if pairs[t] == nil {
		pairs[t] = testkit.Certificate(t)
	}
	return pairs[t]
}

var pairs = map[*testing.T]*testkit.Pair{}

func makeFile(t *testing.T, path string, isDir bool) {
	t.Helper()
	dir := filepath.Dir(path)
	if isDir {
		dir = path
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if isDir {
		return
	}
	text := ""
	switch filepath.Ext(path) {
	case ".pem", ".key":
		pair := pairOf(t)
		from := map[string]string{".pem": pair.CertFile, ".key": pair.KeyFile}[filepath.Ext(path)]
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		text = string(data)
	}
	if strings.Contains(filepath.Base(path), "passwd") {
		text = "ann:$2a$05$ta1.JG5s.oTgVfoFBcfk2OP.jjHGqAOBDyNHUBX89lLILfPYa8g5q\n"
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// check loads a site file and builds the site, without starting anything.
func check(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := site.Load(file)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	s.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	if err := s.CheckPlaces(); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
	if _, err := s.Build(); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
	for _, w := range s.Warnings {
		t.Errorf("warning: %v", w)
	}
}

func TestGuess(t *testing.T) {
	for _, c := range []struct {
		file, text string
		want       importer.Format
	}{
		{"site.conf", "ScriptAlias /cgi-bin/ /usr/lib/cgi-bin/\n", importer.Apache},
		{"site.conf", "server {\n listen 80;\n}\n", importer.Nginx},
		{"x", "location /cgi-bin/ {\n fastcgi_pass unix:/run/fcgiwrap.socket;\n}", importer.Nginx},
		{"app.ini", "[uwsgi]\npsgi = app.psgi\n", importer.UWSGI},
		{"unit.json", `{"listeners": {}}`, importer.Unit},
		{"Procfile", "web: plackup -p $PORT\n", importer.Procfile},
		{"run.sh", "#!/bin/sh\nexec starman app.psgi\n", importer.Command},
		{".htaccess", "Require all denied\n", importer.Htaccess},
		{"README", "Read this.\n", ""},
		{"data.json", `{"a": 1}`, ""},
	} {
		if got := importer.Guess(c.file, c.text); got != c.want {
			t.Errorf("%s: %q, want %q", c.text, got, c.want)
		}
	}
}

func TestImportErrors(t *testing.T) {
	for text, want := range map[string]string{
		"<VirtualHost *:80>\nServerName a\n":                  "x.conf:1: <virtualhost> is not closed",
		"<Directory /a>\n</Location>\nAlias /a /b\n":          "x.conf:2: </Location> closes no section that is open",
		"ScriptAlias /a /b\n</Directory>\n":                   "x.conf:2: </Directory> closes no section that is open",
		"server {\n listen 80;\n":                             "x.conf:1: server is not closed",
		"server {\n listen 80\n}\n":                           "x.conf:2: listen has no semicolon",
		"server { listen 80; }\n}\n":                          "x.conf:2: } closes nothing",
		"server {\n root \"/a;\n}\n":                          "x.conf:2: a quote is not closed",
		"just some words\n":                                   "cannot tell whose configuration this is",
		"<Directory /srv>\nRequire all granted\n</Directory>": "there is nothing in it that a site could serve",
	} {
		file := filepath.Join(t.TempDir(), "x.conf")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := importer.Import([]string{file}, "")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := importer.Import([]string{filepath.Join(t.TempDir(), "missing")}, ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

// A file that includes itself, also by way of another one, is an error and not an endless import.
func TestFilesThatIncludeThemselves(t *testing.T) {
	for name, text := range map[string]string{
		"apache.conf": "ServerRoot DIR\nInclude other.conf\n", "nginx.conf": "events { }\nhttp { include other.conf; }\n",
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, name)
		back := "Include " + name + "\n"
		if name == "nginx.conf" {
			back = "include " + name + ";\n"
		}
		for path, content := range map[string]string{file: strings.ReplaceAll(text, "DIR", dir), filepath.Join(dir, "other.conf"): back} {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		format := importer.Format(strings.TrimSuffix(name, ".conf"))
		if _, err := importer.Import([]string{file}, format); err == nil || !strings.Contains(err.Error(), name+": includes itself") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// NGINX Unit cannot be asked for its answers here. So this site file was written by hand, from Unit's manual, and import must
// make the same of the configuration.
func TestUnitAsWrittenByHand(t *testing.T) {
	const unit = `{
		"listeners": {"*:8080": {"pass": "routes"}},
		"routes": [
			{"match": {"host": "old.example.org"}, "action": {"return": 301, "location": "https://shop.example.org$request_uri"}},
			{"match": {"uri": "/static/*"}, "action": {"share": "/srv/shop/public$uri", "fallback": {"return": 404}}},
			{"match": {"uri": "/api/*", "host": ["api.example.org", "api.example.net"]}, "action": {"proxy": "http://127.0.0.1:9000"}},
			{"action": {"pass": "applications/shop"}}
		],
		"applications": {"shop": {
			"type": "perl", "script": "/srv/shop/app.psgi", "working_directory": "/srv/shop", "processes": 4,
			"limits": {"timeout": 20, "requests": 1000}, "environment": {"SHOP_HOME": "/srv/shop/data"}
		}}
	}`
	const byHand = `
listen: [":8080"]
mounts:
  - {host: old.example.org, path: /, redirect: "https://shop.example.org", keep_path: true, status: 301}
  - {host: [api.example.org, api.example.net], path: /api, proxy: "http://127.0.0.1:9000/api"}
  - {path: /static, cascade: [{file: /srv/shop/public/static, follow_symlinks: true}, {not_found: Not Found, status: 404}]}
  - path: /
    psgi: /srv/shop/app.psgi
    dir: /srv/shop
    workers: 4
    request_timeout: 20
    max_requests: 1000
    env: {SHOP_HOME: /srv/shop/data}
`
	file := filepath.Join(t.TempDir(), "unit.json")
	if err := os.WriteFile(file, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	result, err := importer.Import([]string{file}, "")
	if err != nil {
		t.Fatal(err)
	}
	mounts := func(text string) (listen []string, list []string) {
		var s struct {
			Listen []string         `yaml:"listen"`
			Mounts []map[string]any `yaml:"mounts"`
		}
		if err := yaml.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		for _, m := range s.Mounts {
			list = append(list, fmt.Sprint(m))
		}
		slices.Sort(list)
		return s.Listen, list
	}
	wantListen, want := mounts(byHand)
	gotListen, got := mounts(result.Site)
	if diff := cmp.Diff(wantListen, gotListen) + cmp.Diff(want, got); diff != "" {
		t.Errorf("-by hand +imported\n%s\n%s", diff, result.Site)
	}
}
