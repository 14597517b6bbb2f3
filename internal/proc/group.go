//go:build unix

package proc

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// Group is a process group, by the number of the process that leads it.
type Group int

// Signal sends sig to all processes of the group. It does nothing for 1, 0 and less, which kill takes for all
// processes or for this process's group.
func (g Group) Signal(sig syscall.Signal) {
	if g <= 1 {
		return
	}
	// ESRCH says that the group is empty; EPERM, on some systems, that only a zombie is left. Then the work is done.
	_ = syscall.Kill(-int(g), sig)
}

// Exists reports whether a process of the group is left. A zombie counts.
func (g Group) Exists() bool { return g > 1 && !errors.Is(syscall.Kill(-int(g), 0), syscall.ESRCH) }

// lookAgain is how long EndsWithin waits before it looks again whether the group is empty. The system does not tell.
const lookAgain = 20 * time.Millisecond

// End ends the group: TERM now, and KILL after grace, or when hurry is closed, for what is left of it. It returns when the
// group is empty or was killed, and then waits for leaderEnded, which is closed when the leader has ended; nil stands for a
// leader that has.
func (g Group) End(grace time.Duration, hurry, leaderEnded <-chan struct{}) {
	g.Signal(syscall.SIGTERM)
	if !g.EndsWithin(grace, hurry, leaderEnded) {
		g.Signal(syscall.SIGKILL)
	}
	if leaderEnded != nil {
		<-leaderEnded
	}
}

// EndsWithin waits until the group is empty, for patience at most, or until hurry is closed. It reports whether the group
// is empty. It looks at once when leaderEnded is closed.
func (g Group) EndsWithin(patience time.Duration, hurry, leaderEnded <-chan struct{}) bool {
	late := time.NewTimer(patience)
	defer late.Stop()
	for g.Exists() {
		select {
		case <-leaderEnded:
			leaderEnded = nil // from now on look only at the clock
		case <-time.After(lookAgain):
		case <-late.C:
			return false
		case <-hurry:
			return false
		}
	}
	return true
}

// LeadsGroup reports whether a process leads a group of its own, as every process of Start does, or has gone. Only a
// process number for which it is true is safe to be used as a Group.
func LeadsGroup(pid int) bool {
	if pid <= 1 {
		return false
	}
	group, err := syscall.Getpgid(pid)
	return errors.Is(err, syscall.ESRCH) || err == nil && group == pid && pid != os.Getpid()
}
