//go:build unix

package cgi

import (
	"errors"
	"io/fs"
	"os"
	"sync/atomic"
	"syscall"
)

// root keeps a directory open between requests.
type root struct {
	current atomic.Pointer[openRoot]
}

// openRoot is one directory. The garbage collector closes it, because requests may still use it when another has replaced it.
type openRoot struct {
	*os.Root
	info fs.FileInfo
}

// open returns the directory that is called name now. It is opened anew when its name leads to another directory, or its
// owner or mode has changed.
func (r *root) open(name string) (*os.Root, error) {
	cur := r.current.Load()
	if cur != nil {
		if info, err := os.Stat(name); err == nil && isUnchanged(cur.info, info) {
			return cur.Root, nil
		}
	}
	opened, err := os.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	info, err := opened.Stat(".")
	if err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	r.current.Store(&openRoot{opened, info})
	return opened, nil
}

// forget lets the directory be closed.
func (r *root) forget() { r.current.Store(nil) }

// isUnchanged reports whether two descriptions are of the same directory with the same permissions.
func isUnchanged(then, now fs.FileInfo) bool {
	a, b := then.Sys().(*syscall.Stat_t), now.Sys().(*syscall.Stat_t)
	return os.SameFile(then, now) && a.Mode == b.Mode && a.Uid == b.Uid && a.Gid == b.Gid
}
