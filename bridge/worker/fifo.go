//go:build unix

package worker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// openFIFO makes a FIFO for the output of a process that cannot inherit a pipe from the gateway.
// The FIFO lies in the group's directory, which only the gateway's user can enter. It is removed
// once the process has said HELLO, because then the process has it open.
func (x *peer) openFIFO() (*output, error) {
	path := filepath.Join(x.group.home.dir, fmt.Sprintf("output-%d", x.id))
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		return nil, fmt.Errorf("make a FIFO for the worker's output: %s: %w", path, err)
	}
	o := &output{path: path, done: make(chan struct{})}
	var err error
	// Without O_NONBLOCK, opening one end waits for the other. This process holds both ends, so
	// that the reader sees no end of file before the worker has opened the FIFO.
	if o.read, err = os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0); err == nil {
		o.write, err = os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
		if err != nil {
			err = errors.Join(err, o.read.Close())
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the worker's output: %w", err), os.Remove(path))
	}
	x.group.tasks.Go(func() { o.pass(x) })
	return o, nil
}
