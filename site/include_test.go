package site_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/site"
)

// loadTree loads site.yaml of a directory with the given files. In the error it replaces the
// directory's name by DIR.
func loadTree(t *testing.T, files map[string]string, env map[string]string) (*site.Site, string) {
	t.Helper()
	dir := testkit.Tree(t, files)
	lookup := func(name string) (string, bool) {
		value, set := env[name]
		return value, set
	}
	s, err := site.Loader{LookupEnv: lookup}.Load(filepath.Join(dir, "site.yaml"))
	if err == nil {
		return s, ""
	}
	return nil, strings.ReplaceAll(err.Error(), dir+"/", "")
}

func TestAnIncludedFileIsPartOfTheSite(t *testing.T) {
	files := map[string]string{
		"site.yaml":            "include: [tls.yaml, conf.d/*.yaml]\nworkers: 3\ntls: {min_version: 1.3}\nmounts: [{not_found: x}]\n",
		"tls.yaml":             "tls: {cert: a.pem, key: a.key}\n",
		"conf.d/b.yaml":        "mounts: [{path: /b, psgi: ../b.psgi}]\n",
		"conf.d/a.yaml":        "include: deep/c.yml\nmounts: [{path: /a, psgi: a.psgi, lib: [lib], sendfile: files}]\nlib: common\n",
		"conf.d/deep/c.yml":    "access_log: c.log\nlisten: ./s,mode=0600\n",
		"conf.d/.#b.yaml":      "not a site file",
		"conf.d/b.yaml~":       "not a site file",
		"conf.d/empty.yaml":    "",
		"conf.d/nothing.d/.no": "",
	}
	s, problem := loadTree(t, files, nil)
	if s == nil {
		t.Fatal(problem)
	}
	dir := filepath.Dir(s.File)
	var names []string
	for _, m := range s.Mounts {
		names = append(names, m.Name())
	}
	if diff := cmp.Diff([]string{"/a", "/b", "/"}, names); diff != "" {
		t.Errorf("mounts: %s", diff)
	}
	set, a := s.Settings, s.Mounts[0].Options.(*psgi.PSGI)
	got := []string{set.TLS.Cert, set.TLS.MinVersion, set.AccessLog, set.Listen[0], set.Lib[0], a.App, a.Lib[0], s.Mounts[0].SendFile[0], s.Mounts[1].Options.(*psgi.PSGI).App}
	want := []string{dir + "/a.pem", "1.3", dir + "/conf.d/deep/c.log", "unix:" + dir + "/conf.d/deep/s,mode=0600", dir + "/conf.d/common",
		dir + "/conf.d/a.psgi", dir + "/conf.d/lib", dir + "/conf.d/files", dir + "/b.psgi"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names of files are meant from the directory of the file they stand in: %s", diff)
	}
	var read []string
	for _, need := range s.Needs() {
		if need.Option == "" {
			read = append(read, strings.TrimPrefix(need.Path, dir+"/"))
		}
	}
	if diff := cmp.Diff([]string{"site.yaml", "tls.yaml", "conf.d/a.yaml", "conf.d/deep/c.yml", "conf.d/b.yaml", "conf.d/empty.yaml"}, read); diff != "" {
		t.Errorf("files that are read again at HUP: %s", diff)
	}
}

func TestADirectoryOfIncludedFilesIsNeededLater(t *testing.T) {
	s, problem := loadTree(t, map[string]string{"site.yaml": "include: conf.d/*.yaml\nmounts: [{file: .}]\n", "conf.d/a.yaml": ""}, nil)
	if s == nil {
		t.Fatal(problem)
	}
	want := site.Need{Option: "include", Path: filepath.Join(filepath.Dir(s.File), "conf.d"), Access: site.List, Why: "at HUP"}
	if !slices.Contains(s.Needs(), want) {
		t.Errorf("%v is not among %v", want, s.Needs())
	}
}

func TestADirectoryOfIncludedFilesThatCannotBeReadIsAProblem(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(dir string) error
		want  string
	}{
		"its permissions forbid it":     {func(dir string) error { return os.Chmod(dir, 0) }, "permission denied"},
		"its name leads back to itself": {func(dir string) error { return errors.Join(os.RemoveAll(dir), os.Symlink(filepath.Base(dir), dir)) }, "too many levels of symbolic links"},
	} {
		t.Run(name, func(t *testing.T) {
			if os.Geteuid() == 0 && tt.want == "permission denied" {
				t.Skip("root may read everything")
			}
			dir := testkit.Tree(t, map[string]string{"site.yaml": "include: conf.d/*.yaml\nmounts: [{file: .}]\n", "conf.d/a.yaml": ""})
			included := filepath.Join(dir, "conf.d")
			if err := tt.spoil(included); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Chmod(included, 0o700) }) // so that it can be removed
			_, err := site.Load(filepath.Join(dir, "site.yaml"))
			if err == nil || !strings.HasSuffix(err.Error(), "conf.d: "+tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAnIncludedFileThatChangesMakesAnotherSite(t *testing.T) {
	files := map[string]string{"site.yaml": "include: conf.d/*.yaml\nmounts: [{file: .}]\n", "conf.d/a.yaml": "workers: 3\n"}
	dir := testkit.Tree(t, files)
	load := func() *site.Site {
		s, err := site.Load(filepath.Join(dir, "site.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := load()
	if !before.SameFile(load()) {
		t.Error("a site differs from itself")
	}
	write("conf.d/b.yaml", "lifespan: auto\n")
	added := load()
	if before.SameFile(added) {
		t.Error("a file that is new makes no difference")
	}
	write("conf.d/a.yaml", "workers: 4\n")
	if added.SameFile(load()) {
		t.Error("a file that has changed makes no difference")
	}
}

func TestProblemsOfIncludedFilesNameTheFile(t *testing.T) {
	const mount = "mounts: [{file: .}]\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"an unknown key": {
			map[string]string{"site.yaml": "include: a.yaml\n" + mount, "a.yaml": "\nworker: 3\n"},
			`a.yaml:2:1: unknown key "worker" in the site; did you mean "workers"?`,
		},
		"a mount's option": {
			map[string]string{"site.yaml": "include: a.yaml\nworkers: x\n", "a.yaml": "mounts:\n  - file: .\n    index: {a: b}\n"},
			"a.yaml:3:12: index: must be a list, is a mapping\nsite.yaml:2:10: workers: must be a whole number or \"auto\", is \"x\"",
		},
		"what is no YAML": {
			map[string]string{"site.yaml": "include: a.yaml\n" + mount, "a.yaml": "a: [1\n"}, "a.yaml:1:4: sequence end token ']' not found",
		},
		"a file that is missing": {
			map[string]string{"site.yaml": "include: [a.yaml, gone.yaml]\n" + mount, "a.yaml": ""},
			"site.yaml:1:19: include: gone.yaml: no such file or directory",
		},
		"a pattern in a directory that is missing": {
			map[string]string{"site.yaml": "include: [confd/*.yaml]\n" + mount}, "site.yaml:1:11: include: confd: no such file or directory",
		},
		"a pattern in what is no directory": {
			map[string]string{"site.yaml": "include: [a/*.yaml]\n" + mount, "a": ""}, "site.yaml:1:11: include: a: not a directory",
		},
		"a broken pattern": {
			map[string]string{"site.yaml": "include: ['[.yaml']\n" + mount}, `site.yaml:1:11: include: "[.yaml": syntax error in pattern`,
		},
		"a file below a pattern that another directory lacks": {
			map[string]string{"site.yaml": "include: '*/a.yaml'\n" + mount, "b/a.yaml": "x: 1\n", "c/b.yaml": "y: 1\n"},
			`b/a.yaml:1:1: unknown key "x" in the site`,
		},
		"a key that is given twice": {
			map[string]string{"site.yaml": "workers: 3\ninclude: a.yaml\n" + mount, "a.yaml": "max_age: 3\nworkers: 4\n"},
			"a.yaml:2:1: workers: is given already at site.yaml:1:10",
		},
		"a key in a mapping that is given twice": {
			map[string]string{"site.yaml": "include: a.yaml\n" + mount + "tls: {cert: x}\n", "a.yaml": "tls:\n  cert: y\n"},
			"site.yaml:3:7: tls.cert: is given already at a.yaml:2:9",
		},
		"middleware that is given twice": {
			map[string]string{"site.yaml": "include: a.yaml\nmiddleware: head\n" + mount, "a.yaml": "middleware: head\n"},
			"site.yaml:2:1: middleware: is given already at a.yaml:1:13",
		},
		"a file that includes itself": {
			map[string]string{"site.yaml": "include: ./site.yaml\n" + mount}, "site.yaml:1:10: include: site.yaml includes itself: site.yaml, site.yaml",
		},
		"files that include each other": {
			map[string]string{"site.yaml": "include: d/a.yaml\n" + mount, "d/a.yaml": "include: [b.yaml]\n", "d/b.yaml": "\ninclude: ../d/a.yaml\n"},
			"d/b.yaml:2:10: include: d/a.yaml includes itself: d/a.yaml, d/b.yaml, d/a.yaml",
		},
		"a file that is included twice": {
			map[string]string{"site.yaml": "include: [a.yaml, '*.yaml']\n" + mount, "a.yaml": ""},
			"site.yaml:1:19: include: a.yaml is included already\nsite.yaml:1:19: include: site.yaml includes itself: site.yaml, site.yaml",
		},
		"a directory among files": {
			map[string]string{"site.yaml": "include: [a.yaml, lib]\n" + mount, "a.yaml": ""},
			`site.yaml:1:19: include: must be names of site files, which end in .yaml or .yml, is "lib"; directories of Perl modules belong to "lib"`,
		},
		"no mounts at all": {
			map[string]string{"site.yaml": "include: a.yaml\n", "a.yaml": ""}, "site.yaml:1:1: mounts: is missing; a site needs at least one mount",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, got := loadTree(t, c.files, nil)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAValueThatOnlyBuildRefusesIsFoundInItsFile(t *testing.T) {
	s, problem := loadTree(t, map[string]string{
		"site.yaml": "include: a.yaml\nmounts: [{path: /, file: .}]\n",
		"a.yaml":    "socket_mode: 9\nmounts:\n  - {path: /, not_found: x}\n",
	}, nil)
	if s == nil {
		t.Fatal(problem)
	}
	_, err := s.Build()
	dir := filepath.Dir(s.File) + "/"
	want := `a.yaml:1:14: socket_mode: must be an octal mode like 0660, is "9"` + "\n" + `site.yaml:2:26: / is mounted already at a.yaml:3:26`
	if err == nil || strings.ReplaceAll(err.Error(), dir, "") != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
