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
	self    *os.File // the directory itself
	info    fs.FileInfo
	checked atomic.Int64 // when the name was last looked up, in Unix nanoseconds
}

// open returns the directory called dir.
func (r *root) open(dir string) (*openRoot, error) {
	now := time.Now().UnixNano()
	cur := r.current.Load()
	if cur != nil && now-cur.checked.Load() < int64(rootCheck) {
		return cur, nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if cur != nil && os.SameFile(cur.info, info) {
		cur.checked.Store(now)
		return cur, nil
	}
	opened, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	self, err := opened.Open(".")
	if err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	next := &openRoot{Root: opened, self: self, info: info}
	next.checked.Store(now)
	r.current.Store(next)
	return next, nil
}

// statusOf returns the response status that tells a client of an error from
// opening a file: 404 for what is not there, 403 for what must not be read or leads out
// of the root, and 0 where the machine failed rather than the request.
func statusOf(err error) int {
	var errno syscall.Errno
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ENXIO):
		return 404
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.EXDEV): // the last is openat2's "out of the root"
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
