package httpfile

import (
	"errors"
	"io/fs"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// FromDescriptor describes the file with an open descriptor, which the File owns then. It closes the
// descriptor where that fails.
func FromDescriptor(name string, fd int) (*File, error) {
	f := &File{Name: name, fd: fd}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, errors.Join(&fs.PathError{Op: "stat", Path: name, Err: err}, f.Close())
	}
	f.Dir, f.Regular = st.Mode&unix.S_IFMT == unix.S_IFDIR, st.Mode&unix.S_IFMT == unix.S_IFREG
	f.Size, f.Modified, f.Changed = st.Size, time.Unix(st.Mtim.Unix()), time.Unix(st.Ctim.Unix())
	return f, nil
}

// changedAt returns when the system last changed the entry of a file. It is zero where that is not
// known.
func changedAt(info fs.FileInfo) time.Time {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(st.Ctim.Unix())
	}
	return time.Time{}
}
