package command

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// pidFile holds the number of a running process, which keeps it locked. So a file left behind
// differs from one in use, even if another process has the number now. A successor gets the open
// file, and with it the lock, from the process that it replaces.
type pidFile struct {
	path        string
	file        *os.File
	predecessor int // the owner of the file until keep; 0: none
}

// claimPidFile makes sure that no other gateway uses the file, and gives it to the user. The file
// of a predecessor stays the predecessor's until write. claimPidFile returns nil for an empty path.
func claimPidFile(path string, from *takeover, user *identity) (*pidFile, error) {
	passed, predecessor := from.takePidFile()
	if passed != nil && path != "" && isAt(passed, path) {
		return &pidFile{path, passed, predecessor}, nil
	}
	if passed != nil {
		_ = passed.Close() // only locked, and by the predecessor too
	}
	if path == "" {
		return nil, nil
	}
	file, err := openPidFile(path)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil && !isAt(file, path) { // its owner has just removed the file
		_ = file.Close() // only locked
		return claimPidFile(path, nil, user)
	}
	if err == nil {
		if err := errors.Join(file.Truncate(0), user.own(file)); err != nil { // the old number does not matter
			return nil, errors.Join(err, file.Close())
		}
		return &pidFile{path: path, file: file}, nil
	}
	owner, readErr := (&pidFile{file: file}).owner()
	if closeErr := file.Close(); closeErr != nil || readErr != nil {
		return nil, errors.Join(readErr, closeErr)
	}
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return nil, fmt.Errorf("%s: process %s is running already", path, owner)
}

// openPidFile opens a file to be overwritten. It refuses a file that is reached by a link, and a
// device.
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

// locked returns the open file, nil for none.
func (p *pidFile) locked() *os.File {
	if p == nil {
		return nil
	}
	return p.file
}

// owner reads the number in the file.
func (p *pidFile) owner() (string, error) {
	text, err := io.ReadAll(io.NewSectionReader(p.file, 0, 32))
	return strings.TrimSpace(string(text)), err
}

// write puts this process's number into the file.
func (p *pidFile) write() error {
	if p == nil {
		return nil
	}
	return p.put(os.Getpid())
}

// keep makes the file this process's for good, because the predecessor will not go on.
func (p *pidFile) keep() {
	if p != nil {
		p.predecessor = 0
	}
}

// put writes a number. A process that reads the file meanwhile finds the old or the new one.
func (p *pidFile) put(number int) error {
	text := strconv.Itoa(number) + "\n"
	before, err := p.file.Stat()
	if err != nil {
		return err
	}
	padding := strings.Repeat("\n", max(0, int(before.Size())-len(text)))
	if _, err := p.file.WriteAt([]byte(text+padding), 0); err != nil {
		return err
	}
	return p.file.Truncate(int64(len(text)))
}

// release removes the file, unless it belongs to another process now. A file in a directory where
// this process may not remove it stays; without a lock it does no harm. The file of a predecessor
// gets the predecessor's number back.
func (p *pidFile) release() error {
	if p == nil {
		return nil
	}
	if p.predecessor != 0 {
		return errors.Join(p.put(p.predecessor), p.file.Close())
	}
	owner, failed := p.owner()
	if failed == nil && isAt(p.file, p.path) && (owner == strconv.Itoa(os.Getpid()) || owner == "") {
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
