package sysio

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// pipeCapacity is how many bytes a pipe holds at most when it is enlarged as far as Linux allows.
const pipeCapacity = 1 << 20

// PipeReader reads from a pipe that does not block. When its deadline has passed, it still returns
// the bytes that are in the pipe already, up to 1 MiB, and then os.ErrDeadlineExceeded, even if a
// process goes on writing. File.Read would return none of these bytes, so that a reader which is
// scheduled late would lose them. A PipeReader is for one goroutine at a time.
type PipeReader struct {
	File *os.File
	late int // bytes that were read after the deadline
}

// Read implements io.Reader.
func (r *PipeReader) Read(b []byte) (int, error) {
	n, err := r.File.Read(b)
	switch {
	case err == nil:
		r.late = 0
		return n, nil
	case !errors.Is(err, os.ErrDeadlineExceeded) || len(b) == 0 || r.late >= pipeCapacity:
		return n, err
	}
	conn, rawErr := r.File.SyscallConn()
	if rawErr != nil {
		return 0, rawErr
	}
	var readErr error
	rawErr = conn.Control(func(fd uintptr) {
		for readErr = syscall.EINTR; errors.Is(readErr, syscall.EINTR); {
			n, readErr = syscall.Read(int(fd), b) // it does not wait
		}
	})
	switch {
	case rawErr != nil:
		return 0, rawErr
	case n > 0:
		r.late += n
		return n, nil
	case readErr == nil:
		return 0, io.EOF
	}
	return 0, err
}
