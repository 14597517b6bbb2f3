// Package perl holds the Perl side of the bridge: the runtime a worker process
// runs. It is embedded in the program, so that serving needs no installation, and
// written to a private directory before perl is started.
package perl

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

//go:embed bin/*.pl lib
var runtime embed.FS

// WorkerScript is the path of the worker program below the directory given to
// Extract.
const WorkerScript = "bin/pagi-worker.pl"

// Extract writes the runtime below dir, which must exist. Files that are there
// already with the right content are left alone, so that it can be called again
// to mend a directory somebody has tidied.
func Extract(dir string) error {
	err := fs.WalkDir(runtime, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(dir, filepath.FromSlash(path))
		if entry.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		content, err := runtime.ReadFile(path)
		if err != nil {
			return err
		}
		if old, err := os.ReadFile(target); err == nil && string(old) == string(content) {
			return nil
		}
		return os.WriteFile(target, content, 0o600)
	})
	if err != nil {
		return fmt.Errorf("write the perl runtime: %w", err)
	}
	return nil
}
