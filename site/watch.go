package site

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/internal/watch"
)

// perlSuffixes are the ends of the names of files that are watched below the
// directories of -I. Tests (.t) are not: the application does not load them.
var perlSuffixes = []string{".pm", ".pl", ".psgi"}

// watchedFiles are what a PSGI mount is made of: its file, what is below its -I
// directories, and, as its workers tell, what it has loaded.
func watchedFiles(o *psgi.PSGI) *watch.Files {
	var files []string
	if o.App != "" {
		files = append(files, o.App)
	}
	return watch.New(o.Include, perlSuffixes, files)
}

// Watch reloads each PSGI mount when a file it is made of has changed, if Settings
// say so by Reload. It returns when ctx ends. The applications must be running.
// begun is called before each reload, and what it returns with the reload's outcome;
// warn with what goes wrong in watching one directory. A mount whose files cannot be
// watched at all makes an error.
func (s *Site) Watch(ctx context.Context, begun func(mount string, changed []string) func(error), warn func(error)) error {
	var group sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, m := range s.Mounts {
		app, ok := m.app.(reloader)
		if m.files == nil || !ok {
			continue
		}
		group.Go(func() {
			err := m.files.Watch(ctx, func(changed []string) {
				begun(m.Name(), changed)(app.Reload(ctx))
			}, warn)
			if err != nil {
				mu.Lock()
				errs = append(errs, fmt.Errorf("%s: %w", m.Name(), err))
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}
