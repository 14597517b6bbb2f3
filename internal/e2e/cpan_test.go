package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"
)

// cpan makes a mirror of CPAN with one distribution, Local-Greeting-1.00, and returns its directory.
func cpan(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var dist bytes.Buffer
	w := tar.NewWriter(&dist)
	for _, f := range []struct{ name, text string }{
		{"MANIFEST", "MANIFEST\nMakefile.PL\nlib/Local/Greeting.pm\n"},
		{"Makefile.PL", "use ExtUtils::MakeMaker;\nWriteMakefile(NAME => 'Local::Greeting', VERSION_FROM => 'lib/Local/Greeting.pm');\n"},
		{"lib/Local/Greeting.pm", "package Local::Greeting;\nuse strict;\nuse warnings;\nour $VERSION = '1.00';\nsub text { 'from the local library' }\n1;\n"},
	} {
		err := w.WriteHeader(&tar.Header{Name: "Local-Greeting-1.00/" + f.name, Mode: 0o644, Size: int64(len(f.text))})
		if err == nil {
			_, err = w.Write([]byte(f.text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	index := "File: 02packages.details.txt\nDescription: Package names found in directory $CPAN/authors/id/\n" +
		"Columns: package name, version, path\nLine-Count: 1\n\nLocal::Greeting 1.00 L/LO/LOCAL/Local-Greeting-1.00.tar.gz\n"
	for name, text := range map[string][]byte{
		"authors/id/L/LO/LOCAL/Local-Greeting-1.00.tar.gz": dist.Bytes(),
		"modules/02packages.details.txt.gz":                []byte(index),
	} {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, err := z.Write(text)
		if err == nil {
			err = z.Close()
		}
		file := filepath.Join(dir, name)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(file), 0o755)
		}
		if err == nil {
			err = os.WriteFile(file, packed.Bytes(), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
