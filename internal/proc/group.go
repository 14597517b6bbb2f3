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

// lookAgain is how long End waits before it looks again whether the group is empty. The system does not tell.
const lookAgain = 20 * time.Millisecond

// End ends the group: TERM now, and KILL after grace, or when hurry is closed, for what is left of it. It returns when the
// group is empty or was killed, and then waits for leaderEnded, which is closed when the leader has ended.
func (g Group) End(grace time.Duration, hurry, leaderEnded <-chan struct{}) {
	g.Signal(syscall.SIGTERM)
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	late := func() bool {
		for ended := leaderEnded; g.Exists(); {
			select {
			case <-ended:
				ended = nil // from now on look only at the clock
			case <-time.After(lookAgain):
			case <-deadline.C:
				return true
			case <-hurry:
				return true
			}
		}
		return false
	}
	if late() {
		g.Signal(syscall.SIGKILL)
	}
	<-leaderEnded
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
