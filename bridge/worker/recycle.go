package worker

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/proc"
)

// The reasons for which a worker is replaced, as the log gives them.
const (
	dueRequests = "max_requests"
	dueAge      = "max_age"
	dueMemory   = "max_rss"
)

// weighEvery is how often the memory of the workers is checked.
const weighEvery = time.Second

// term is how long a worker serves, and who comes after it. Group.mu guards its fields unless their comments say
// otherwise.
type term struct {
	limit     int          // how many requests the worker is to serve, 0 for any number; constant
	expires   time.Time    // when it is to be replaced, where there is a MaxAge; constant
	served    atomic.Int64 // how many requests it has answered
	mustWeigh atomic.Bool  // its memory must be checked when it has no work
	rss       int64        // its memory when it was last looked at
	due       string       // why it is to be replaced; "": it is not, or by a reload
	successor *Process     // takes over when it is ready
	// relieved: the successor serves, or there is one worker too many. It is written with Group.mu held.
	relieved atomic.Bool
}

// draw draws the limits of a worker that was started at that time: how many requests it serves and how old it gets.
func (t *term) draw(opt *Options, since time.Time) {
	jitter := max(opt.MaxRequestsJitter, 0)
	if n := opt.MaxRequests; n > 0 {
		t.limit = max(1, n-rand.IntN(int(float64(n)*jitter)+1))
	}
	if opt.MaxAge > 0 {
		t.expires = since.Add(opt.MaxAge - time.Duration(rand.Float64()*jitter*float64(opt.MaxAge)))
	}
}

// isServed reports whether the worker has answered as many requests as it is to.
func (t *term) isServed() bool { return t.limit > 0 && t.served.Load() >= int64(t.limit) }

// dueNow returns why a worker is to be replaced at a time, as far as that can be known without its memory; "": it is not.
func (t *term) dueNow(now time.Time) string {
	switch {
	case t.isServed():
		return dueRequests
	case !t.expires.IsZero() && now.After(t.expires):
		return dueAge
	}
	return ""
}

// Served implements Worker. With the first request, and from the one on after which the worker is to be replaced, it
// takes the group's lock.
func (w *Process) Served() { w.ServedMany(1) }

// ServedMany counts requests that the worker has answered, 1 at least, as Served does for each.
func (w *Process) ServedMany(n int) {
	first := w.term.served.Add(int64(n)) == int64(n)
	served := w.term.isServed()
	if !first && !served {
		return
	}
	g := w.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if first {
		g.provedLocked(w)
	}
	if served && w.State() == Serving {
		g.recycleLocked(w, dueRequests)
	}
}

// recycleLocked starts a successor for w. w serves until the successor is ready, and is never
// interrupted in a request. At most a quarter of the workers, and at least one, wait for their
// successors at a time; for the others recycleLocked is called again.
func (g *Group) recycleLocked(w *Process, why string) {
	if !w.staysLocked() || !g.mayLaunchLocked() {
		return
	}
	replacing := 0
	for other := range g.workers {
		if s := other.term.successor; s != nil && s.State() == Starting {
			replacing++
		}
	}
	if replacing >= max(1, g.size.want/4) {
		return
	}
	g.launchLocked(w)
	w.term.due = why
	w.logger().Debug("a worker is due to be replaced", "reason", why)
}

// recycleOldLocked recycles the workers that have served for long enough.
func (g *Group) recycleOldLocked(now time.Time) {
	for w := range g.workers {
		if w.State() == Serving {
			if why := w.term.dueNow(now); why != "" {
				g.recycleLocked(w, why)
			}
		}
	}
}

// relieveLocked relieves the workers that w replaces, and returns those of them that serve. The caller tells their
// stations, without the lock.
func (g *Group) relieveLocked(w *Process) (serving []*Process) {
	for other := range g.workers {
		if other.term.successor == w {
			other.term.relieved.Store(true)
			if other.State() == Serving {
				serving = append(serving, other)
			}
		}
	}
	return serving
}

// unlinkLocked removes w as the successor of other workers: they no longer wait for it.
func (g *Group) unlinkLocked(w *Process) {
	for other := range g.workers {
		if other.term.successor == w {
			other.term.successor = nil
			other.term.relieved.Store(false)
		}
	}
}

// MakeWay implements Worker. It queues DRAIN and takes the group's lock.
//
// MakeWay logs a worker that was due. It does not log workers that a reload replaces, because the reload has its own
// record.
func (w *Process) MakeWay() bool {
	g := w.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if !w.Relieved() || w.State() != Serving {
		return false
	}
	w.blameLocked(causeOf(w.term.due))
	if w.term.due != "" && w.term.successor != nil {
		w.logger().Info("a worker is replaced", "reason", w.term.due, "by", w.term.successor.id, "served", w.term.served.Load(),
			"age", time.Since(w.since).Round(time.Millisecond), "rss", w.term.rss)
	}
	w.retireLocked()
	w.Drain()
	return true
}

// weigh checks the memory of the idle workers. It marks the busy ones to be checked when they have
// finished, because memory that a request needs only for a moment does not count.
func (g *Group) weigh() {
	var serving []*Process
	g.mu.Lock()
	for w := range g.workers {
		if w.State() == Serving {
			serving = append(serving, w)
		}
	}
	g.mu.Unlock()
	for _, w := range serving {
		since, idle := w.station.Idle()
		w.term.mustWeigh.Store(!idle)
		if !idle {
			continue
		}
		rss, err := proc.Resident(w.made.pid)
		if again, idle := w.station.Idle(); idle && again.Equal(since) { // it has been idle all the time
			w.weighed(rss, err)
		}
	}
}

// MustWeigh implements Worker.
func (w *Process) MustWeigh() bool { return w.term.mustWeigh.Load() && w.term.mustWeigh.Swap(false) }

// Weigh implements Worker. It asks the system, and takes the group's lock.
func (w *Process) Weigh() { w.weighed(proc.Resident(w.made.pid)) }

func (w *Process) weighed(rss int64, err error) {
	if err != nil {
		w.logger().Debug("cannot read the worker's memory", "error", err) // the process has just ended
		return
	}
	g := w.group
	g.mu.Lock()
	defer g.mu.Unlock()
	w.term.rss = rss
	if rss > g.opt.MaxRSS && w.State() == Serving {
		g.recycleLocked(w, dueMemory)
	}
}
