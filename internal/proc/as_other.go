//go:build unix && !linux

package proc

import (
	"errors"
	"syscall"
)

// As is explained in as_linux.go. Other systems have no user for a thread.
func As(*syscall.Credential, func()) error { return errors.ErrUnsupported }
