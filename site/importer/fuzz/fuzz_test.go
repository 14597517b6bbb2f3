// Package fuzz_test has the fuzz tests of the importer. They stand apart from its other tests, which import the whole site: with
// the instruments of a fuzz test that takes minutes to compile.
package fuzz_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"golang.org/x/tools/txtar"

	"github.com/pagi-go/pagi-bridge/site/importer"
)

// The parsers must neither panic nor run without end, whatever a file has in it. What they make must be a site file that can
// be read, or else an error.
func FuzzApache(f *testing.F)   { fuzz(f, importer.Apache) }
func FuzzHtaccess(f *testing.F) { fuzz(f, importer.Htaccess) }
func FuzzNginx(f *testing.F)    { fuzz(f, importer.Nginx) }
func FuzzUWSGI(f *testing.F)    { fuzz(f, importer.UWSGI) }
func FuzzUnit(f *testing.F)     { fuzz(f, importer.Unit) }
func FuzzCommand(f *testing.F)  { fuzz(f, importer.Command) }
func FuzzProcfile(f *testing.F) { fuzz(f, importer.Procfile) }

// importLimit is far above what a text of some kilobytes takes, also on a busy machine.
const importLimit = 10 * time.Second

func fuzz(f *testing.F, format importer.Format) {
	for _, text := range seeds(f, format) {
		f.Add(text)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 8<<10 || includesFar(text) {
			return
		}
		file := filepath.Join(dir, "x.conf")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		result, err := importer.Import([]string{file}, format)
		if took := time.Since(begun); took > importLimit {
			t.Errorf("it took %s", took)
		}
		if err != nil {
			return
		}
		var read map[string]any
		if err := yaml.Unmarshal([]byte(result.Site), &read); err != nil {
			t.Errorf("%v in\n%s", err, result.Site)
		}
		for _, n := range result.Notes {
			if n.Advice == "" || n.Line < 0 {
				t.Errorf("a note without advice: %v", n)
			}
		}
	})
}

// includesFar reports whether a text names files of this machine: the result would depend on them, and import would walk
// through directories.
func includesFar(text string) bool {
	if strings.Contains(strings.ToLower(text), "include") {
		return true
	}
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\r\n\"'<>;{}=:,()|\\^$~", r) }) {
		if _, err := os.Stat(word); err == nil {
			return true
		}
	}
	return false
}

// seeds returns the configurations of testdata that have a format.
func seeds(f *testing.F, format importer.Format) (texts []string) {
	f.Helper()
	files, err := filepath.Glob("../testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, in := range archive.Files {
			text := string(in.Data)
			if in.Name != "site.yaml" && in.Name != "notes" && in.Name != "files" && importer.Guess(filepath.Base(in.Name), text) == format {
				texts = append(texts, strings.ReplaceAll(text, "DIR", "/nowhere"))
			}
		}
	}
	if len(texts) == 0 {
		f.Fatalf("testdata has no configuration for %s", format)
	}
	return texts
}
