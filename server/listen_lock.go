//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package server

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// dirLock is how long to wait for other servers that add or remove sockets in the same directory.
const dirLock = 5 * time.Second

// lockDir keeps other servers from changing which socket a name in dir stands for. A directory that
// cannot be opened or locked stays unlocked, without an error.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return func() {}, nil
	}
	for deadline := time.Now().Add(dirLock); ; time.Sleep(5 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case !errors.Is(err, syscall.EWOULDBLOCK): // ours, or without locks
			return func() { _ = f.Close() }, nil
		case time.Now().After(deadline):
			_ = f.Close() // it was only to be locked
			return nil, fmt.Errorf("another process keeps the directory %s locked", dir)
		}
	}
}
