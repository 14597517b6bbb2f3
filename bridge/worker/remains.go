package worker

import (
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/proc"
)

// remains are the process groups of workers that have ended and left a child behind, such as a job
// in the background. The child may run as long as the group of workers does. A process that is to outlive the
// gateway makes itself a daemon, in a process group of its own. Guarded by Group.mu.
type remains map[int]struct{}

// add remembers the process group of a worker whose process has ended, if the process group still has a process.
func (l remains) add(pid int) {
	if pid != 0 && proc.Group(pid).Exists() {
		l[pid] = struct{}{}
	}
}

// prune forgets the process groups that have ended meanwhile. It is called so often that the system cannot
// have given the number to another one.
func (l remains) prune() {
	for pid := range l {
		if !proc.Group(pid).Exists() {
			delete(l, pid)
		}
	}
}

// goneTime is how long the processes of a process group may take to vanish after KILL. One that
// waits for a file system that does not answer takes longer.
const goneTime = 500 * time.Millisecond

// endRemains ends the process groups that are left: TERM, then KILL after the kill grace or when the group
// is in a hurry. No other goroutine of the group runs at that time.
func (g *Group) endRemains() {
	g.remains.prune()
	var wg sync.WaitGroup
	for pid := range g.remains {
		g.log.Info("ending what a worker has left behind", "pid", pid)
		wg.Go(func() {
			left := proc.Group(pid)
			left.End(g.opt.KillAfter, g.hurry, nil)
			left.EndsWithin(goneTime, nil, nil)
		})
	}
	wg.Wait()
}
