//go:build unix

package pool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// openFIFO makes a way for the output of a process that inherits none from here: a
// FIFO in the pool's directory, which only the gateway's user can enter. It is
// removed as soon as the process has said hello, and has it open.
func (x *peer) openFIFO() (*output, error) {
	path := filepath.Join(x.pool.dir, fmt.Sprintf("output-%d", x.id))
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		return nil, fmt.Errorf("make a FIFO for the worker's output: %s: %w", path, err)
	}
	o := &output{path: path, done: make(chan struct{})}
	var err error
	// Without O_NONBLOCK either end waits for the other one. That this process has
	// both keeps the reader from seeing an end before the worker has come.
	if o.read, err = os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0); err == nil {
		o.write, err = os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
		if err != nil {
			err = errors.Join(err, o.read.Close())
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the worker's output: %w", err), os.Remove(path))
	}
	x.pool.tasks.Go(func() { o.pass(x) })
	return o, nil
}
