package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"github.com/pagi-go/pagi-bridge/internal/private"
	"github.com/pagi-go/pagi-bridge/perl"
	"github.com/pagi-go/pagi-bridge/server"
)

// besideEnd returns a pipe that ends when this process has ended its services and jobs, for a process that is to take its
// place. Without a word, because this process may be killed.
func (g *gateway) besideEnd() (*os.File, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("a pipe for the services: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.besideOpen != nil {
		_ = g.besideOpen.Close() // that of a start that has failed
	}
	g.besideOpen = write
	return read, nil
}

// handOverBeside ends the services and jobs, so that the process that takes the place of this one can begin its own. Jobs
// may go on as long as requests may.
func (g *gateway) handOverBeside(ctx context.Context) {
	grace := g.current().Settings.Timeouts.WithDefaults().ShutdownTimeout
	g.ending.Go(func() {
		g.programs.Stop(max(0, grace), server.Forced(ctx))
		g.mu.Lock()
		defer g.mu.Unlock()
		_ = g.besideOpen.Close() // nothing was written
	})
}

// runJobOrder is an order: it runs a job of the site's cron now.
func (g *gateway) runJobOrder(_ context.Context, q url.Values) (string, error) {
	name := q.Get("job")
	if err := g.programs.Run(name); err != nil {
		return "", err
	}
	return "the job " + name + " is begun; its end is in the log and in the status", nil
}

// runtimeDir is where the Perl modules of the runtime are for jobs. The zero value has none yet.
type runtimeDir struct {
	mu  sync.Mutex
	dir *private.Dir
}

// path returns the directory with the modules.
func (r *runtimeDir) path() (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dir == nil {
		dir, err := private.Make("r")
		if err != nil {
			return "", err
		}
		if err := extractForAll(dir.Path()); err != nil {
			return "", errors.Join(err, dir.Remove())
		}
		r.dir = dir
	}
	return filepath.Join(r.dir.Path(), "lib"), nil
}

// extractForAll writes the runtime to a directory. If this process is root's, every user can read it then.
func extractForAll(dir string) error {
	if err := perl.Extract(dir); err != nil || os.Geteuid() != 0 {
		return err
	}
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if entry.IsDir() {
			mode = 0o755
		}
		return os.Chmod(path, mode)
	})
}

func (r *runtimeDir) remove() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dir == nil {
		return nil
	}
	return r.dir.Remove()
}
