package apps

import (
	"errors"
	"io/fs"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// open opens name for reading in one step (openat2, Linux 5.6), in which the kernel keeps name from
// leading out of the root. It does not wait for a writer when name is a named pipe.
func (r *openRoot) open(name string) (*file, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	}
	fd, err := unix.Openat2(int(r.self.Fd()), name, &how)
	runtime.KeepAlive(r)
	switch {
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM), // an old kernel; a filter of calls that does not know this one
		errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR): // something was renamed meanwhile
		return r.openSlowly(name)
	case err != nil:
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	f := &file{name: name, fd: fd}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, errors.Join(&fs.PathError{Op: "stat", Path: name, Err: err}, f.Close())
	}
	f.dir, f.regular = st.Mode&unix.S_IFMT == unix.S_IFDIR, st.Mode&unix.S_IFMT == unix.S_IFREG
	f.size, f.modified, f.changed = st.Size, time.Unix(st.Mtim.Unix()), time.Unix(st.Ctim.Unix())
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
