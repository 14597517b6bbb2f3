package worker

import (
	"errors"
	"os"
	"time"
)

// What a keeper tells gateways of a worker that listens, with Options.Listen.

// PID implements Worker.
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

// KillBroken ends a worker that has broken the protocol towards a gateway, for that reason. It reports false if the worker
// is going already. It takes the group's lock.
func (w *Process) KillBroken(reason string) bool {
	g := w.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := w.State(); s != Serving && s != Draining {
		return false
	}
	w.blameLocked(causeDied)
	w.failure = reason
	w.leaveLocked(time.Now())
	g.unlinkLocked(w)
	g.topUpLocked()
	g.tasks.Go(w.kill)
	return true
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
