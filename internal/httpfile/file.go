// Package httpfile answers requests for open files as HTTP wants it: validators and conditional
// requests, ranges, media types.
//
// It may import package pagi, and internal/reply for answers without a file. Files: file.go opens,
// validators.go compares a client's copy, ranges.go reads Range headers, types.go and mime.go know
// media types, deliver.go sends.
package httpfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// File is an open file, with its size and times when it was opened. They describe the file itself,
// not what its name leads to later. The owner of a File closes it.
type File struct {
	Name     string
	Dir      bool
	Regular  bool
	Size     int64
	Modified time.Time
	Changed  time.Time // when its entry was changed; zero: not known

	fd     int      // the descriptor until there is a handle, then -1
	handle *os.File // nil until it is asked for
}

// Open opens the file target, which the log and errors call name. It does not wait for a writer when
// target is a named pipe.
func Open(target, name string) (*File, error) {
	handle, err := os.OpenFile(target, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return New(name, handle)
}

// New describes an open file. It closes the handle where that fails.
func New(name string, handle *os.File) (*File, error) {
	info, err := handle.Stat()
	if err != nil {
		return nil, errors.Join(err, handle.Close())
	}
	return &File{Name: name, fd: -1, handle: handle,
		Dir: info.IsDir(), Regular: info.Mode().IsRegular(), Size: info.Size(), Modified: info.ModTime(), Changed: changedAt(info)}, nil
}

// Handle returns the os.File, for callers that need more than the bytes: sendfile, for example.
func (f *File) Handle() *os.File {
	if f.handle == nil {
		f.handle, f.fd = os.NewFile(uintptr(f.fd), f.Name), -1
	}
	return f.handle
}

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, offset int64) (int, error) {
	if f.handle != nil {
		return f.handle.ReadAt(p, offset)
	}
	read := 0
	for read < len(p) {
		n, err := syscall.Pread(f.fd, p[read:], offset+int64(read))
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return read, &fs.PathError{Op: "read", Path: f.Name, Err: err}
		case n == 0:
			return read, io.EOF
		default:
			read += n
		}
	}
	return read, nil
}

// Close implements io.Closer.
func (f *File) Close() error {
	if f.handle != nil {
		return f.handle.Close()
	}
	return syscall.Close(f.fd)
}
