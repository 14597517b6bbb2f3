// Package answerfile opens the files with which workers answer.
package answerfile

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

// Open opens the file that a worker of the gateway's own user has named. It must be a regular file, the very
// one that the worker had open, and hold what the worker wants to be sent.
func Open(ref wire.FileRef) (*os.File, error) {
	f, err := os.OpenFile(ref.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // opening a FIFO must not block
	if err != nil {
		return nil, fmt.Errorf("the file of the answer: %w", err)
	}
	info, err := Check(f)
	if err == nil {
		stat, ok := info.Sys().(*syscall.Stat_t)
		switch {
		case !ok || uint64(stat.Dev) != ref.Device || stat.Ino != ref.Inode:
			err = fmt.Errorf("the file of the answer, %s, was replaced while it was being sent", ref.Path)
		case ref.Length > 0 && info.Size()-ref.Offset < ref.Length:
			err = fmt.Errorf("the file of the answer, %s, became shorter while it was being sent", ref.Path)
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Check makes sure that f is a regular file.
func Check(f *os.File) (os.FileInfo, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("the file of the answer: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("the file of the answer is no regular file")
	}
	return info, nil
}
