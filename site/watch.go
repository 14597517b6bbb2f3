package site

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/pagi-go/pagi-bridge/internal/watch"
)

// perlSuffixes are the suffixes of the files that are watched below the directories of lib. Tests
// (.t) are not: the application does not load them.
var perlSuffixes = []string{".pm", ".pl", ".psgi"}

// watchedFiles returns the files of a mount of PSGI or Perl PAGI: its own file, the Perl files below its -I
// directories, and the files that its workers report as loaded. All files below the directories in
// whole are added.
func watchedFiles(app string, lib, whole []string) *watch.Files {
	var files []string
	if app != "" {
		files = append(files, app)
	}
	w := watch.New(lib, perlSuffixes, files)
	for _, dir := range whole {
		w.AddTree(absolute(dir))
	}
	return w
}

// Reloads reports whether PSGI mounts are reloaded when files change.
func (s *Settings) Reloads() bool { return s.Reload || len(s.ReloadDirs) > 0 }

// Watch reloads each PSGI mount when a file it is made of has changed, if Settings say so by Reload
// or ReloadDirs. It returns when ctx ends. The applications must be running. Watch calls begun
// before each reload, and the function that begun returns with the reload's outcome. It calls warn
// if one directory cannot be watched. A mount whose files cannot be watched at all is an error.
func (s *Site) Watch(ctx context.Context, begun func(mount string, changed []string) func(error), warn func(error)) error {
	var group sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, m := range s.All() {
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
