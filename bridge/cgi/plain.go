//go:build unix

package cgi

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// openPlain opens a file that is nothing that would keep us waiting. flags are more of
// those of open(2).
func openPlain(name string, flags int) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|flags, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, f.Close(), errors.New(name+" is no regular file"))
	}
	return f, nil
}

// readPlain reads such a file, if it is not a link, up to limit bytes.
func readPlain(name string, limit int64) ([]byte, error) {
	f, err := openPlain(name, syscall.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer f.Close() // opened for reading
	return io.ReadAll(io.LimitReader(f, limit))
}
