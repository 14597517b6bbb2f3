package pool

import "time"

// growAfter is how long a request must have been waiting before workers are added.
const growAfter = 100 * time.Millisecond

// scaling is the state that is kept from one look at the load to the next.
type scaling struct {
	step   int       // how many workers were added last, 0 if no request waits
	queued int       // how many requests waited at that time
	grown  time.Time // the time of the last step
}

// load is the state of a pool at one moment, from which the number of workers is decided.
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

// scaleLocked makes the number of workers follow the load. It also ends surplus workers, which a
// failed reload may have left, one at a time.
func (p *Pool) scaleLocked(now time.Time) (send []*worker) {
	l := load{
		now: now, want: p.want, min: p.least, max: p.most,
		idle: len(p.idle), queued: p.queue.len(), failing: p.failures > 0, idleTimeout: p.opt.IdleTimeout,
	}
	serving := 0
	for w := range p.workers {
		if w.state == Starting {
			l.starting++
		}
		if w.state <= Busy && w.successor == nil {
			serving++
		}
	}
	if first := p.queue.peek(); first != nil {
		l.oldest = now.Sub(first.since)
	}
	if len(p.idle) > 0 {
		l.coldest = now.Sub(p.idle[0].progress)
	}
	var change int
	p.scale, change = p.scale.next(l)
	p.want += change
	switch {
	case change > 0:
		p.log.Info("workers are added", "reason", "requests wait", "added", change, "workers", p.want, "queued", l.queued)
	case change < 0:
		p.log.Info("a worker goes", "reason", "idle", "workers", p.want)
	}
	if serving > p.want && len(p.idle) > 0 && p.idle[0].successor == nil {
		coldest := p.idle[0]
		coldest.blameLocked(causeSurplus)
		coldest.retire()
		send = append(send, coldest)
	}
	return send
}

// Resize changes the number of workers by n, to one at least. New workers are started soon; surplus
// ones go when they are idle. With MinWorkers and MaxWorkers, both change. Resize returns how many
// workers the pool keeps when the load does not ask for more.
func (p *Pool) Resize(n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n = max(n, 1-p.least)
	p.least += n
	p.most += n
	p.want = min(max(p.want+n, p.least), p.most)
	return p.want
}
