//go:build unix

package proc

import (
	"errors"
	"syscall"
	"time"
)

// pollEnd waits until no process has this number, or for the given time, and reports which. A process that has not been
// reaped counts as one that runs.
func pollEnd(pid int, patience time.Duration) bool {
	for deadline := time.Now().Add(patience); ; time.Sleep(lookAgain) {
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}
