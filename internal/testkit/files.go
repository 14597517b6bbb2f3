package testkit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Tree makes a directory with files and returns its path. A name that ends in "/"
// is a directory, content that begins with "-> " is a symbolic link to what follows,
// and content that begins with "#!" makes the file executable.
func Tree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		target, link := strings.CutPrefix(content, "-> ")
		switch {
		case err != nil:
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		case link:
			err = os.Symlink(target, path)
		case strings.HasPrefix(content, "#!"):
			err = os.WriteFile(path, []byte(content), 0o755)
		default:
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
