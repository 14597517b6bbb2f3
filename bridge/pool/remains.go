package pool

import (
	"context"
	"time"
)

// remains are the process groups of workers that have ended while something they
// had started has not: a job in the background, or a child nobody thought of. It may
// go on as long as the pool does; what is to outlive that makes itself a daemon, in a
// group of its own. Guarded by Pool.mu.
type remains map[int]struct{}

// add keeps the group of a worker whose process has ended, if there is any left.
func (l remains) add(pid int) {
	if pid != 0 && groupExists(pid) {
		l[pid] = struct{}{}
	}
}

// prune forgets the groups that have ended meanwhile. It is called often, so that
// the system cannot have given the number to another one.
func (l remains) prune() {
	for pid := range l {
		if !groupExists(pid) {
			delete(l, pid)
		}
	}
}

// endRemains ends what is left: TERM, then KILL after the kill grace or when ctx
// ends. No other goroutine of the pool is left then.
func (p *Pool) endRemains(ctx context.Context) {
	p.remains.prune()
	for pid := range p.remains {
		p.log.Info("ending what a worker has left behind", "pid", pid)
		terminate(pid)
	}
	for deadline := time.After(p.opt.KillGrace); len(p.remains) > 0; p.remains.prune() {
		select {
		case <-time.After(20 * time.Millisecond):
			continue
		case <-ctx.Done():
		case <-deadline:
		}
		for pid := range p.remains {
			killGroup(pid)
		}
		return
	}
}
