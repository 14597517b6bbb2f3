package pool

import "time"

// growAfter is how long a request must have been waiting before workers are added.
const growAfter = 100 * time.Millisecond

// scaling is what is remembered from one look at the load to the next.
type scaling struct {
	step   int       // how many workers were added last, 0 when nothing waits
	queued int       // how many requests waited then
	grown  time.Time // when that was
}

// load is what the number of workers follows: a pool at one moment.
type load struct {
	now            time.Time
	want, min, max int           // workers
	starting       int           // of them
	idle           int           // of them
	coldest        time.Duration // how long one of these has had nothing to do
	queued         int           // requests
	oldest         time.Duration // how long the first of these has waited
	failing        bool          // workers cannot be started
	idleTimeout    time.Duration
}

// next says how many workers are to be added (or -1: one is to go).
//
// Workers are added when a request has been waiting for growAfter while all workers
// are busy and none is being started: one, and as long as the queue has grown since,
// twice as many as the last time. One goes when it has had nothing to do for the idle
// timeout and nothing was added for as long.
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

// scaleLocked makes the number of workers follow the load, and lets go of one too
// many, of which a reload that failed may have left some.
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
		coldest.retire()
		send = append(send, coldest)
	}
	return send
}

// Resize has the pool keep n workers more, or -n fewer, than it does; one at least. They
// are started soon, and go when they have nothing to do. Where there are MinWorkers and
// MaxWorkers, both change. It returns how many there are to be, as far as the load does
// not ask for more.
func (p *Pool) Resize(n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n = max(n, 1-p.least)
	p.least += n
	p.most += n
	p.want = min(max(p.want+n, p.least), p.most)
	return p.want
}
