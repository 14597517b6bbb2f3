package command

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// pidFile holds the number of a running process. It is locked as long as that runs, so
// that one left behind is told from one in use whatever process has the number now.
type pidFile struct {
	path string
	file *os.File // nil: a predecessor has it still
}

// claimPidFile makes sure that no other gateway uses the file. Where it is that of the
// process whose place is taken, it stays that until write. The file
// becomes the user's.
func claimPidFile(path string, from *takeover, user *identity) (*pidFile, error) {
	file, err := openPidFile(path)
	if err != nil {
		return nil, fmt.Errorf("pid file: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil && !isAt(file, path) { // its owner has just removed it
		_ = file.Close() // only locked
		return claimPidFile(path, from, user)
	}
	if err == nil {
		if err := user.own(file); err != nil {
			return nil, fmt.Errorf("pid file: %w", errors.Join(err, file.Close()))
		}
		return &pidFile{path, file}, nil
	}
	text, readErr := io.ReadAll(io.LimitReader(file, 32))
	if closeErr := file.Close(); closeErr != nil || readErr != nil {
		return nil, fmt.Errorf("pid file: %w", errors.Join(readErr, closeErr))
	}
	owner := strings.TrimSpace(string(text))
	switch {
	case !errors.Is(err, syscall.EWOULDBLOCK):
		return nil, fmt.Errorf("pid file %s: %w", path, err)
	case from.replaces() && owner == strconv.Itoa(from.Predecessor):
		return &pidFile{path: path}, nil
	}
	return nil, fmt.Errorf("pid file %s: process %s is running already", path, owner)
}

// openPidFile opens a file that is to be overwritten, which one that a link leads to, or
// a device, is not.
func openPidFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o644)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s is a symbolic link", path)
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", path)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// write puts this process's number into the file.
func (p *pidFile) write() error {
	if p == nil {
		return nil
	}
	if p.file == nil {
		return p.replace()
	}
	if err := p.file.Truncate(0); err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	if _, err := p.file.WriteAt(ownNumber(), 0); err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	return nil
}

func ownNumber() []byte { return []byte(strconv.Itoa(os.Getpid()) + "\n") }

// replace puts another file in the place of a predecessor's.
func (p *pidFile) replace() error {
	file, err := os.CreateTemp(filepath.Dir(p.path), "."+filepath.Base(p.path)+".*")
	if err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	_, err = file.Write(ownNumber())
	if err == nil {
		err = file.Chmod(0o644)
	}
	if err == nil {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err == nil {
		err = os.Rename(file.Name(), p.path)
	}
	if err != nil {
		return fmt.Errorf("pid file: %w", errors.Join(err, file.Close(), os.Remove(file.Name())))
	}
	p.file = file
	return nil
}

// release removes the file, unless it is another process's now, or in a directory where
// this process may not: unlocked, it is no hindrance.
func (p *pidFile) release() error {
	if p == nil || p.file == nil {
		return nil
	}
	var failed error
	if isAt(p.file, p.path) {
		failed = os.Remove(p.path)
	}
	if errors.Is(failed, fs.ErrPermission) {
		failed = p.file.Truncate(0)
	}
	return errors.Join(failed, p.file.Close())
}

// isAt reports whether a path leads to a file.
func isAt(file *os.File, path string) bool {
	mine, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(mine, there)
}
