package apps

import (
	"errors"
	"io/fs"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/pagi-go/pagi-bridge/internal/httpfile"
)

// open opens name for reading in one step (openat2, Linux 5.6), in which the kernel keeps name from
// leading out of the root. It does not wait for a writer when name is a named pipe.
func (r *openRoot) open(name string) (*httpfile.File, error) {
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
	return httpfile.FromDescriptor(name, fd)
}
