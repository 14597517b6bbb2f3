package apps

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/httpfile"
)

// rootCheck is the time after which the name of a root directory is looked up again.
const rootCheck = time.Second

// root keeps a directory open. No name, dot-dot or symbolic link leads out of it (os.Root). Within
// rootCheck it notices that another directory has taken the name, as happens when a deployment
// swaps a symbolic link.
type root struct {
	current atomic.Pointer[openRoot]
}

// openRoot is one directory. The garbage collector closes it, because requests may still use it
// when another has replaced it.
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
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "open", Path: dir, Err: syscall.ENOTDIR}
	}
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

// openSlowly opens name step by step, which every system can do. It does not wait for a writer when
// name is a named pipe.
func (r *openRoot) openSlowly(name string) (*httpfile.File, error) {
	handle, err := r.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return httpfile.New(name, handle)
}

// statusOf returns the response status for an error from opening a file: 404 for a file that does
// not exist, 403 for one that must not be read or leads out of the root. It returns 0 where the
// machine failed rather than the request.
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
	return 403 // a refusal by os.Root itself carries no system error
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
