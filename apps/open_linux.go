package apps

import (
	"errors"
	"io/fs"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// open opens name for reading in one step, in which the kernel sees to it that it
// does not lead out of the root (openat2, Linux 5.6), and without waiting for a
// writer should it be a named pipe.
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
	f.size, f.modified = st.Size, time.Unix(st.Mtim.Unix())
	return f, nil
}
