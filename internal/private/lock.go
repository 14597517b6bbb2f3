//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package private

import (
	"errors"
	"os"
	"syscall"
)

// canLock says that this system can tell which directories are in use.
const canLock = true

// flock is the system call; a test replaces it.
var flock = syscall.Flock

// lockDirectory opens the directory at path and locks it for as long as the returned file is open.
// It also returns the file with the error errNoLocks.
func lockDirectory(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errTaken
	}
	if err != nil {
		return nil, err
	}
	for {
		err = flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	mine, statErr := f.Stat()
	there, lstatErr := os.Lstat(path)
	switch {
	case errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.EINVAL):
		return f, errNoLocks
	case errors.Is(err, syscall.EWOULDBLOCK), errors.Is(lstatErr, os.ErrNotExist):
		err = errTaken
	case errors.Join(err, statErr, lstatErr) != nil:
		err = errors.Join(err, statErr, lstatErr)
	case !os.SameFile(mine, there):
		err = errTaken
	default:
		return f, nil
	}
	_ = f.Close() // it was only to be locked
	return nil, err
}
