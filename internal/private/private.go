// Package private makes the directories in which the gateway keeps its own files while it runs:
// sockets, the Perl side, spooled bodies. A process that is killed leaves its directories behind.
// Sweep, which the first Make also calls, removes those.
//
// The process that has made a directory locks it (flock). The kernel releases the lock when the
// process ends, so no process uses a directory that is not locked. The lock is not inherited by
// programs that the process starts.
package private

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
)

// prefix begins the names of the directories. Nothing that does not lock its directories may
// use it.
const prefix = "pagi-private-"

// named matches the name of a directory.
var named = regexp.MustCompile(`^` + prefix + `[a-z]+-[0-9]+$`)

// makeTries is how often Make tries again when a Sweep has removed the directory before it was
// locked.
const makeTries = 100

// Holds reports whether a file lies directly in a directory that Make has made below parent, by their names.
func Holds(parent, file string) bool {
	dir := filepath.Dir(file)
	return filepath.Dir(dir) == filepath.Clean(parent) && named.MatchString(filepath.Base(dir))
}

// Dir is a directory that only this process's user can enter (mode 0700).
type Dir struct {
	path string
	lock *os.File // the directory
}

// Make makes a directory below os.TempDir. kind says in its name what it is for, in
// lower case letters.
func Make(kind string) (*Dir, error) {
	sweepOnce()
	for range makeTries {
		path, err := os.MkdirTemp("", prefix+kind+"-") // mode 0700
		if err != nil {
			return nil, err
		}
		lock, err := lockDirectory(path)
		switch {
		case err == nil, errors.Is(err, errNoLocks):
			return &Dir{path, lock}, nil
		case errors.Is(err, errTaken): // another process is sweeping it as left behind
			continue
		}
		return nil, errors.Join(err, os.Remove(path))
	}
	return nil, fmt.Errorf("directories in %s vanish", os.TempDir())
}

// Path is the directory's name.
func (d *Dir) Path() string { return d.path }

// Lock is the file that locks the directory. A process that inherits it keeps the directory from being swept after this
// process has ended.
func (d *Dir) Lock() *os.File { return d.lock }

// Remove removes the directory and all that is in it.
func (d *Dir) Remove() error {
	err := os.RemoveAll(d.path)
	return errors.Join(err, d.lock.Close()) // last: any process of the user may remove it once it is unlocked
}

// sweepOnce sweeps at the first directory.
var sweepOnce = sync.OnceFunc(func() { _, _ = Sweep() }) // what cannot be removed stays

// Sweep removes the directories below os.TempDir that processes of this user have left behind, and
// returns their names. It follows no links. It leaves alone directories that are locked or belong
// to another user.
func Sweep() (removed []string, err error) {
	if !canLock {
		return nil, nil
	}
	dir, err := os.Open(os.TempDir())
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }() // only read from
	names, err := dir.Readdirnames(-1)
	errs := []error{err}
	for _, name := range names {
		if !named.MatchString(name) {
			continue
		}
		path := filepath.Join(os.TempDir(), name)
		done, err := sweep(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("remove %s, which a process has left behind: %w", path, err))
		}
		if done {
			removed = append(removed, path)
		}
	}
	return removed, errors.Join(errs...)
}

// sweep removes one directory, unless it is in use or not this user's.
func sweep(path string) (removed bool, err error) {
	if info, err := os.Lstat(path); err != nil || !info.IsDir() || !isOwn(info) {
		return false, nil
	}
	lock, err := lockDirectory(path)
	switch {
	case errors.Is(err, errTaken):
		return false, nil
	case errors.Is(err, errNoLocks): // no lock tells whether it is in use
		return false, lock.Close()
	case err != nil:
		return false, err
	}
	defer func() { _ = lock.Close() }() // nothing was written
	if err := empty(path, lock); err != nil {
		return false, err
	}
	err = os.Remove(path)
	return err == nil, err
}

// empty removes the content of a directory, if path leads to dir.
func empty(path string, dir *os.File) error {
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // nothing was written
	there, err := root.Stat(".")
	if err != nil {
		return err
	}
	if mine, err := dir.Stat(); err != nil || !os.SameFile(there, mine) || !isOwn(mine) {
		return errors.Join(err, errors.New("it is another directory now"))
	}
	names, err := dir.Readdirnames(-1)
	errs := []error{err}
	for _, name := range names {
		errs = append(errs, root.RemoveAll(name))
	}
	return errors.Join(errs...)
}

// isOwn reports whether a file belongs to the user of this process.
func isOwn(info os.FileInfo) bool {
	sys, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(sys.Uid) == os.Geteuid()
}

// errTaken is why a directory is not locked: another process has it, or it is gone.
var errTaken = errors.New("another process has it")

// errNoLocks is why a directory is not locked where its file system has no locks. Such a directory
// is used all the same, and never swept.
var errNoLocks = errors.New("the file system has no locks")
