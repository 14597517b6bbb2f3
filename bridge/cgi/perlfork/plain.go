//go:build unix

package perlfork

import (
	"errors"
	"os"
	"syscall"
)

// openPlain opens a regular file for reading. Another kind of file, which could keep us waiting, is an error.
func openPlain(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, f.Close(), errors.New(name+" is no regular file"))
	}
	return f, nil
}
