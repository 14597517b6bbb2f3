package worker

import "time"

// growAfter is how long a request must have been waiting before workers are added.
const growAfter = 100 * time.Millisecond

// scaling is the state that is kept from one look at the load to the next.
type scaling struct {
	step   int       // how many workers were added last, 0 if no request waits
	queued int       // how many requests waited at that time
	grown  time.Time // the time of the last step
}

// load is the state of a group at one moment, from which the number of workers is decided.
type load struct {
	now            time.Time
	want, min, max int           // numbers of workers
	starting       int           // how many workers are starting
	idle           int           // how many workers are idle
	coldest        time.Duration // how long the worker that is idle the longest has been idle
	queued         int           // how many requests wait
	oldest         time.Duration // how long the first of them has been waiting
	failing        bool          // workers cannot be started
	idleTimeout    time.Duration
}

// next returns how many workers are to be added; -1: one is to go.
//
// Workers are added when a request has been waiting for growAfter while all workers are busy and
// none is being started. The first step adds one worker. While the queue keeps growing, each
// further step adds twice as many as the last one. A worker goes when it was idle for the idle
// timeout and none was added for as long.
func (s scaling) next(l load) (scaling, int) {
	if l.queued == 0 {
		s.step = 0
	}
	switch {
	case l.want < l.max && l.oldest >= growAfter && l.idle == 0 && l.starting == 0 && !l.failing:
		if s.step > 0 && l.queued > s.queued {
			s.step *= 2
		} else {
			s.step = 1
		}
		s.queued, s.grown = l.queued, l.now
		return s, min(s.step, l.max-l.want)
	case l.want > l.min && l.coldest >= l.idleTimeout && l.now.Sub(s.grown) >= l.idleTimeout:
		return s, -1
	}
	return s, 0
}

// size is how many workers there should be. Group.mu guards it.
type size struct {
	want  int // at this moment
	least int // MinWorkers, until Resize
	most  int // MaxWorkers, until Resize
	scale scaling
}

// scaleLocked makes the number of workers follow the load. It also has surplus workers go, which a
// failed reload may have left, one at a time. It returns such a worker, or nil. The caller tells its station, without the
// lock.
func (g *Group) scaleLocked(now time.Time, of Load) (surplus *Process) {
	l := load{
		now: now, want: g.size.want, min: g.size.least, max: g.size.most,
		idle: of.Idle, coldest: of.IdleFor, queued: of.Queued, oldest: of.Oldest,
		failing: g.starts.isFailing(), idleTimeout: g.opt.IdleTimeout,
	}
	staying := 0
	for w := range g.workers {
		if w.State() == Starting {
			l.starting++
		}
		if w.staysLocked() {
			staying++
		}
	}
	var change int
	g.size.scale, change = g.size.scale.next(l)
	g.size.want += change
	switch {
	case change > 0:
		g.log.Info("workers are added", "reason", "requests wait", "added", change, "workers", g.size.want, "queued", l.queued)
	case change < 0:
		g.log.Info("a worker goes", "reason", "idle", "workers", g.size.want)
	}
	w, _ := of.Coldest.(*Process)
	if staying <= g.size.want || w == nil || w.State() != Serving || !w.staysLocked() {
		return nil
	}
	w.blameLocked(causeSurplus)
	w.term.relieved.Store(true)
	return w
}

// Resize changes the number of workers by n, to one at least. New workers are started soon; surplus
// ones go when they are idle. With MinWorkers and MaxWorkers, both change. Resize returns how many
// workers the group keeps when the load does not ask for more.
func (g *Group) Resize(n int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := &g.size
	n = max(n, 1-s.least)
	s.least += n
	s.most += n
	s.want = min(max(s.want+n, s.least), s.most)
	return s.want
}
