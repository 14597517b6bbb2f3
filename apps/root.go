package apps

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// rootCheck is how often a root directory is looked up again.
const rootCheck = time.Second

// root keeps a directory open from which no name, dot-dot or symbolic link leads
// out (os.Root). It notices within rootCheck that another directory has taken the
// name, as happens when a deployment swaps a symbolic link.
type root struct {
	current atomic.Pointer[openRoot]
}

// openRoot is one directory. It is closed by the garbage collector, because
// requests may still use it when it has been replaced.
type openRoot struct {
	*os.Root
	info    fs.FileInfo
	checked atomic.Int64 // when the name was last looked up, in Unix nanoseconds
}

// open returns the directory called dir.
func (r *root) open(dir string) (*os.Root, error) {
	now := time.Now().UnixNano()
	cur := r.current.Load()
	if cur != nil && now-cur.checked.Load() < int64(rootCheck) {
		return cur.Root, nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if cur != nil && os.SameFile(cur.info, info) {
		cur.checked.Store(now)
		return cur.Root, nil
	}
	opened, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	next := &openRoot{Root: opened, info: info}
	next.checked.Store(now)
	r.current.Store(next)
	return opened, nil
}

// openFile opens name for reading without waiting for a writer should it be a
// named pipe, and returns it with what the open file, not the name, is.
func openFile(r *os.Root, name string) (*os.File, fs.FileInfo, error) {
	f, err := r.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// statusOf returns the response status that tells a client of an error from
// openFile: 404 for what is not there, 403 for what must not be read or leads out
// of the root, and 0 where the machine failed rather than the request.
func statusOf(err error) int {
	var errno syscall.Errno
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ENXIO):
		return 404
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ELOOP):
		return 403
	case errors.As(err, &errno):
		return 0
	}
	return 403 // os.Root's own refusals carry no system error
}

// checkDir says why dir cannot be a root.
func checkDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	return nil
}
