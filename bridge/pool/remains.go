package pool

import (
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/proc"
)

// remains are the process groups of workers that have ended and left a child behind, such as a job
// in the background. The child may run as long as the pool does. A process that is to outlive the
// pool makes itself a daemon, in a group of its own. Guarded by Pool.mu.
type remains map[int]struct{}

// add remembers the group of a worker whose process has ended, if the group still has a process.
func (l remains) add(pid int) {
	if pid != 0 && proc.Group(pid).Exists() {
		l[pid] = struct{}{}
	}
}

// prune forgets the groups that have ended meanwhile. It is called so often that the system cannot
// have given the number to another group.
func (l remains) prune() {
	for pid := range l {
		if !proc.Group(pid).Exists() {
			delete(l, pid)
		}
	}
}

// goneTime is how long the processes of a group may take to vanish after KILL. One that
// waits for a file system that does not answer takes longer.
const goneTime = 500 * time.Millisecond

// endRemains ends the groups that are left: TERM, then KILL after the kill grace or when the pool
// is in a hurry. No other goroutine of the pool runs at that time.
func (p *Pool) endRemains() {
	p.remains.prune()
	for pid := range p.remains {
		p.log.Info("ending what a worker has left behind", "pid", pid)
		proc.Group(pid).Signal(syscall.SIGTERM)
	}
	p.remains.await(p.opt.KillAfter, p.hurry)
	if len(p.remains) == 0 {
		return
	}
	for pid := range p.remains {
		proc.Group(pid).Signal(syscall.SIGKILL)
	}
	p.remains.await(goneTime, nil)
}

// await waits until all groups have ended, for patience at most, or until hurry is closed.
func (l remains) await(patience time.Duration, hurry <-chan struct{}) {
	late := time.NewTimer(patience)
	defer late.Stop()
	for l.prune(); len(l) > 0; l.prune() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-late.C:
			return
		case <-hurry:
			return
		}
	}
}
