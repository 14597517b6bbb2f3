package boltstore

import (
	"errors"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"
)

// file is an open database that several Stores may share. bbolt locks its file against other
// processes, and so against a second opening by this one.
type file struct {
	path  string
	users int // guarded by files

	opening sync.Once
	db      *bbolt.DB // nil: err says why
	err     error
}

// files are the open files by absolute path, and those that are being opened.
var files = struct {
	sync.Mutex
	open map[string]*file
}{open: map[string]*file{}}

// openFile opens a file, or joins those who have it open. Files do not wait for one another.
func openFile(path string, timeout time.Duration) (*file, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	files.Lock()
	f := files.open[path]
	if f == nil {
		f = &file{path: path}
		files.open[path] = f
	}
	f.users++
	files.Unlock()
	f.opening.Do(func() { f.db, f.err = openDB(path, timeout) })
	if f.err != nil {
		return nil, errors.Join(f.err, f.close())
	}
	return f, nil
}

func openDB(path string, timeout time.Duration) (*bbolt.DB, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: timeout, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, err
	}
	if err := db.Update(makeTables); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// close leaves the file, and closes it if nobody else has it open.
func (f *file) close() error {
	files.Lock()
	f.users--
	last := f.users == 0
	if last && files.open[f.path] == f {
		delete(files.open, f.path)
	}
	files.Unlock()
	if !last || f.db == nil {
		return nil
	}
	return f.db.Close()
}
