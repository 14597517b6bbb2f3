//go:build unix && !linux

package proc

import (
	"syscall"
	"time"
)

// Handle stands for a process that need not be a child of this one.
type Handle struct{ pid int }

// Open returns a handle, which must be closed.
func Open(pid int) *Handle { return &Handle{pid} }

// EndsWithin waits for the end of the process, for the given time at most, and reports whether it has ended. A zombie
// counts as running.
func (h *Handle) EndsWithin(patience time.Duration) bool { return pollEnd(h.pid, patience) }

// Signal does nothing: the number could be another process's.
func (h *Handle) Signal(syscall.Signal) {}

// Close closes the handle.
func (h *Handle) Close() {}
