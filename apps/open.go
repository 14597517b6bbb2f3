package apps

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// file is an open file, with its size and times when it was opened. They describe the file itself,
// not what its name leads to later. The owner of a file closes it.
type file struct {
	name     string
	fd       int      // the descriptor until there is a handle, then -1
	handle   *os.File // nil until it is asked for
	dir      bool
	regular  bool
	size     int64
	modified time.Time
	changed  time.Time // when its entry was changed; zero: not known
}

// openSlowly opens name step by step, which every system can do. It does not wait for a writer when
// name is a named pipe.
func (r *openRoot) openSlowly(name string) (*file, error) {
	handle, err := r.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return newFile(name, handle)
}

// newFile describes an open file. It closes the handle where that fails.
func newFile(name string, handle *os.File) (*file, error) {
	info, err := handle.Stat()
	if err != nil {
		return nil, errors.Join(err, handle.Close())
	}
	return &file{name: name, fd: -1, handle: handle,
		dir: info.IsDir(), regular: info.Mode().IsRegular(), size: info.Size(), modified: info.ModTime(), changed: changedAt(info)}, nil
}

// Handle returns the os.File, for callers that need more than the bytes: sendfile, for example.
func (f *file) Handle() *os.File {
	if f.handle == nil {
		f.handle, f.fd = os.NewFile(uintptr(f.fd), f.name), -1
	}
	return f.handle
}

// ReadAt implements io.ReaderAt.
func (f *file) ReadAt(p []byte, offset int64) (int, error) {
	if f.handle != nil {
		return f.handle.ReadAt(p, offset)
	}
	read := 0
	for read < len(p) {
		n, err := syscall.Pread(f.fd, p[read:], offset+int64(read))
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return read, &fs.PathError{Op: "read", Path: f.name, Err: err}
		case n == 0:
			return read, io.EOF
		default:
			read += n
		}
	}
	return read, nil
}

// Close implements io.Closer.
func (f *file) Close() error {
	if f.handle != nil {
		return f.handle.Close()
	}
	return syscall.Close(f.fd)
}
