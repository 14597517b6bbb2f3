// Package watch reports when files of a program under development change.
//
// The system's notifications (package fsnotify) only say when to look. A file has changed when its
// size, time or inode has. So all these cases are handled: an editor that writes a file anew or
// renames a new file over the old one, a directory that is moved away and back, and touch.
package watch

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// quietTime is how long files must stay unchanged before their changes are reported.
const quietTime = 250 * time.Millisecond

// Files are the files to be watched: some by their names, and those with certain endings below some
// directories. Names that begin with a dot are left out there. A file that does not exist yet
// counts as changed when it appears. Removing a file is not a change until the file comes back.
type Files struct {
	trees    []string
	whole    []string // every file below them counts
	suffixes []string
	added    chan struct{} // capacity 1

	mu    sync.Mutex
	names map[string]bool
}

// New returns Files with everything below trees that ends in one of suffixes (".pm"), and with
// files. All names must be absolute.
func New(trees, suffixes, files []string) *Files {
	f := &Files{trees: trees, suffixes: suffixes, added: make(chan struct{}, 1), names: map[string]bool{}}
	f.Add(files)
	return f
}

// AddTree adds every file below a directory, whatever its name ends in, except for the backups of
// editors (name~). The name must be absolute. It must not be called once Watch runs.
func (f *Files) AddTree(dir string) { f.whole = append(f.whole, filepath.Clean(dir)) }

// Add adds files. It may be called while Watch runs and does not block.
func (f *Files) Add(files []string) {
	f.mu.Lock()
	for _, name := range files {
		f.names[filepath.Clean(name)] = true
	}
	f.mu.Unlock()
	select {
	case f.added <- struct{}{}:
	default:
	}
}

// Watch calls changed with the sorted names of the files that have changed, each time after nothing
// has changed for quietTime. The next call has the files that change during a call. Watch returns
// nil when ctx ends, and an error when the system does not let it watch. It gives warn each error
// about a single directory once.
func (f *Files) Watch(ctx context.Context, changed func(files []string), warn func(error)) error {
	system, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer func() { _ = system.Close() }() // closing loses nothing
	w := &watcher{Files: f, system: system, warn: warn, warned: map[string]bool{}, seen: map[string]os.FileInfo{}}
	w.look()
	quiet := time.NewTimer(quietTime)
	quiet.Stop()
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.added:
			w.look() // new names are not changes; changes of other files are kept for later
			if len(w.pending) > 0 {
				quiet.Reset(quietTime)
			}
		case event, ok := <-system.Events:
			if !ok {
				return errors.New("the system has stopped to tell changes")
			}
			if w.concerns(event) {
				quiet.Reset(quietTime)
			}
		case err := <-system.Errors:
			warn(err)
			quiet.Reset(quietTime) // some events may be lost, so look
		case <-quiet.C:
			w.look()
			if list := slices.Sorted(maps.Keys(w.pending)); len(list) > 0 {
				w.pending = nil
				changed(list)
			}
		}
	}
}

// same reports whether a file looks unchanged: the same size, time and inode.
func same(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// watcher is one run of Watch.
type watcher struct {
	*Files
	system  *fsnotify.Watcher
	warn    func(error)
	warned  map[string]bool
	dirs    map[string]os.FileInfo // that are watched
	watched map[string]bool        // as the system had it when the look began
	seen    map[string]os.FileInfo // files
	pending map[string]bool        // changes that were not told yet
	looked  bool                   // the first look is over
}

// concerns reports whether an event may be about a watched file or its directory. Other files
// beside them, logs for example, do not count.
func (w *watcher) concerns(event fsnotify.Event) bool {
	w.mu.Lock()
	named := w.names[event.Name]
	w.mu.Unlock()
	if named || w.hasSuffix(event.Name) || w.isInWhole(event.Name) {
		return true
	}
	if event.Has(fsnotify.Write) || event.Has(fsnotify.Chmod) {
		return false
	}
	if w.dirs[event.Name] != nil {
		return true
	}
	info, err := os.Stat(event.Name)
	return err == nil && info.IsDir()
}

func (w *watcher) hasSuffix(name string) bool {
	return slices.ContainsFunc(w.suffixes, func(suffix string) bool { return strings.HasSuffix(name, suffix) })
}

// isInWhole reports whether a name is below a directory of which every file counts.
func (w *watcher) isInWhole(name string) bool {
	return !strings.HasPrefix(filepath.Base(name), ".") && !strings.HasSuffix(name, "~") &&
		slices.ContainsFunc(w.whole, func(dir string) bool { return strings.HasPrefix(name, dir+string(filepath.Separator)) })
}

// look makes the system watch all directories and notes the files that have changed since the last
// look. A new file below a tree counts as changed. A file that Add has just added does not.
func (w *watcher) look() {
	dirs := map[string]os.FileInfo{}
	w.watched = map[string]bool{}
	for _, dir := range w.system.WatchList() {
		w.watched[dir] = true
	}
	for _, tree := range slices.Concat(w.trees, w.whole) {
		w.watchDir(tree, dirs)
		_ = filepath.WalkDir(tree, func(path string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil: // it has just gone, or cannot be read
				return nil
			case path != tree && strings.HasPrefix(entry.Name(), "."):
				if entry.IsDir() {
					return filepath.SkipDir
				}
			case entry.IsDir():
				w.watchDir(path, dirs)
			case w.hasSuffix(path), w.isInWhole(path):
				w.compare(path, w.looked)
			}
			return nil
		})
	}
	w.mu.Lock()
	names := slices.Collect(maps.Keys(w.names))
	w.mu.Unlock()
	for _, name := range names {
		w.watchDir(filepath.Dir(name), dirs)
		w.compare(name, false)
		// A link that stays while the file behind it changes.
		if real, err := filepath.EvalSymlinks(name); err == nil && real != name {
			w.watchDir(filepath.Dir(real), dirs)
			w.mu.Lock()
			w.names[real] = true
			w.mu.Unlock()
			w.compare(real, false)
		}
	}
	w.dirs = dirs
	w.looked = true
}

// compare notes a change of a file. One not seen before has changed if isChange.
func (w *watcher) compare(name string, isChange bool) {
	info, err := os.Stat(name)
	if err != nil || info.IsDir() {
		return // the remembered state tells whether the file that comes back is another one
	}
	before, known := w.seen[name]
	w.seen[name] = info
	if known && !same(before, info) || !known && isChange {
		if w.pending == nil {
			w.pending = map[string]bool{}
		}
		w.pending[name] = true
	}
}

// watchDir makes the system watch a directory. While that does not exist, the system watches the
// nearest existing directory above it.
func (w *watcher) watchDir(dir string, dirs map[string]os.FileInfo) {
	for {
		if dirs[dir] != nil {
			return
		}
		info, err := os.Stat(dir)
		if err != nil {
			if up := filepath.Dir(dir); up != dir {
				dir = up
				continue
			}
			return
		}
		dirs[dir] = info
		if before := w.dirs[dir]; before != nil && os.SameFile(before, info) && w.watched[dir] {
			return
		}
		_ = w.system.Remove(dir) // this removes the watch of an earlier directory of that name, if there was one
		if err := w.system.Add(dir); err != nil && !w.warned[dir] {
			w.warned[dir] = true
			w.warn(err)
		}
		return
	}
}
