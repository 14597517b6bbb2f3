package boltstore

import (
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"
)

// file is an open database that several Stores may share. bbolt locks its file against other
// processes, and so against a second opening by this one.
type file struct {
	path  string
	db    *bbolt.DB
	users int
}

// files are the open files by absolute path.
var files = struct {
	sync.Mutex
	open map[string]*file
}{open: map[string]*file{}}

func openFile(path string, timeout time.Duration) (*file, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	files.Lock()
	defer files.Unlock()
	f := files.open[path]
	if f == nil {
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: timeout, FreelistType: bbolt.FreelistMapType})
		if err != nil {
			return nil, err
		}
		if err := db.Update(makeTables); err != nil {
			_ = db.Close()
			return nil, err
		}
		f = &file{path: path, db: db}
		files.open[path] = f
	}
	f.users++
	return f, nil
}

func (f *file) close() error {
	files.Lock()
	defer files.Unlock()
	if f.users--; f.users > 0 {
		return nil
	}
	delete(files.open, f.path)
	return f.db.Close()
}
