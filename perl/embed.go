// Package perl holds the Perl side of the bridge: the runtime a worker process
// runs. It is embedded in the program, so that serving needs no installation, and
// written to a private directory before perl is started.
package perl

import (
	"embed"
	"errors"
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

// LoopWorkerScript is that of the program for workers with an event loop.
const LoopWorkerScript = "bin/pagi-loop-worker.pl"

// Extract writes the runtime below dir, which must exist. Files that are there
// already with the right content are left alone, so that it can be called again
// to mend a directory somebody has tidied. It may be called several times at once:
// whoever reads a file meanwhile sees all of it.
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
		return replace(target, content)
	})
	if err != nil {
		return fmt.Errorf("write the perl runtime: %w", err)
	}
	return nil
}

// replace writes a file under another name first, mode 0600.
func replace(target string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(target), filepath.Base(target)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the first error is the one that matters
		}
	}()
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), target)
}
