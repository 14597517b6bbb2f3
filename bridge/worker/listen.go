package worker

import (
	"errors"
	"os"
)

// What a keeper tells gateways of a worker that listens, with Options.Listen.

// PID returns the number of the process. It takes the group's lock.
func (w *Process) PID() int {
	w.group.mu.Lock()
	defer w.group.mu.Unlock()
	return w.made.pid
}

// Generation counts the reloads before the worker was started, from 1.
func (w *Process) Generation() int { return w.generation }

// Address returns the path of the socket at which the worker listens for gateways, and the token that they must say.
func (w *Process) Address() (path, token string) { return w.address, w.token }

// Quota returns how many requests the worker is still to answer before another one takes its place. Limited is false
// where there is no MaxRequests.
func (w *Process) Quota() (left int, limited bool) {
	if w.term.limit == 0 {
		return 0, false
	}
	return max(0, w.term.limit-int(w.term.served.Load())), true
}

// removeAddress removes the socket of a worker that has ended.
func (w *Process) removeAddress() {
	if w.address == "" {
		return
	}
	if err := os.Remove(w.address); err != nil && !errors.Is(err, os.ErrNotExist) {
		w.logger().Debug("cannot remove the socket of a worker that has ended", "error", err)
	}
}
