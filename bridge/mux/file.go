package mux

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

// openPath opens the file that a worker of the same user has named. The file must be the one that the
// worker means.
func openPath(ref wire.FileRef) (*os.File, error) {
	f, err := os.OpenFile(ref.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // opening a FIFO must not block
	if err != nil {
		return nil, fmt.Errorf("the file of the answer: %w", err)
	}
	if err := checkRegular(f, &ref); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// checkRegular makes sure that f is a regular file, and the one of ref unless that is nil.
func checkRegular(f *os.File, ref *wire.FileRef) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("the file of the answer: %w", err)
	}
	if !info.Mode().IsRegular() {
		return errors.New("the file of the answer is no regular file")
	}
	if ref == nil {
		return nil
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || uint64(stat.Dev) != ref.Device || stat.Ino != ref.Inode {
		return fmt.Errorf("the file of the answer, %s, was replaced while it was being sent", ref.Path)
	}
	return nil
}
