package worker

import (
	"fmt"
	"time"
)

// lookEvery is how often the group looks at most after its workers and their load.
const lookEvery = 50 * time.Millisecond

// watch looks regularly for workers that take too long to start or to go, and for those that are due.
func (g *Group) watch() {
	ticker := time.NewTicker(g.opt.LookEvery)
	defer ticker.Stop()
	var weighed time.Time // when the memory of the workers was last checked
	for {
		select {
		case <-g.quit:
			return
		case now := <-ticker.C:
			g.inspect(now)
			if g.opt.MaxRSS > 0 && now.Sub(weighed) >= weighEvery {
				weighed = now
				g.weigh()
			}
		}
	}
}

func (g *Group) inspect(now time.Time) {
	load := g.host.Look(now)
	g.mu.Lock()
	for w := range g.workers {
		if why := w.overdueLocked(now); why != "" {
			if w.State() == Starting {
				w.failure = why
				g.unlinkLocked(w)
			} else {
				w.logger().Error("a worker is killed", "reason", why)
			}
			w.killLocked(now, Overdue{Reason: why})
		}
	}
	g.settleLocked(now)
	surplus := g.scaleLocked(now, load)
	g.recycleOldLocked(now)
	g.remains.prune()
	g.topUpLocked()
	g.mu.Unlock()
	if surplus != nil { // a worker that does not read must not block the watch
		g.tasks.Go(surplus.station.Relieve)
	}
}

// overdueLocked returns the time limit that a worker has passed, in words; "" for none.
func (w *Process) overdueLocked(now time.Time) string {
	opt := &w.group.opt
	switch {
	case w.end.killed || w.hasExited():
	case w.State() == Starting:
		if now.Sub(w.since) > opt.StartTimeout {
			return fmt.Sprintf("it was not ready after %v", opt.StartTimeout)
		}
	case w.State() == Exiting:
		if now.Sub(w.end.left) > opt.KillAfter {
			return fmt.Sprintf("it was told to go, or had said that it goes, and has not gone for %v", opt.KillAfter)
		}
	}
	return ""
}
