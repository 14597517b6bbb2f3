package pool

import (
	"math/rand/v2"
	"time"
)

// Why a worker is replaced, as the log says it.
const (
	dueRequests = "max_requests"
	dueAge      = "max_age"
	dueMemory   = "max_rss"
)

// weighEvery is how often the memory of the workers is looked at.
const weighEvery = time.Second

// drawLimits gives a new worker its own share of life.
func (w *worker) drawLimits() {
	opt := &w.pool.opt
	jitter := max(opt.Jitter, 0)
	if n := opt.MaxRequests; n > 0 {
		w.limit = max(1, n-rand.IntN(int(float64(n)*jitter)+1))
	}
	if opt.MaxAge > 0 {
		w.expires = w.since.Add(opt.MaxAge - time.Duration(rand.Float64()*jitter*float64(opt.MaxAge)))
	}
}

// recycleLocked starts a successor for w, which serves until that is ready and is
// never interrupted in a request. At most a quarter of the workers, and at least
// one, wait for their successors at a time; for the others it is called again.
func (p *Pool) recycleLocked(w *worker, why string) {
	if w.successor != nil || !p.mayLaunchLocked() {
		return
	}
	replacing := 0
	for other := range p.workers {
		if other.successor != nil && other.successor.state == Starting {
			replacing++
		}
	}
	if replacing >= max(1, p.want/4) {
		return
	}
	p.launchLocked(w)
	w.logger().Info("a worker is replaced", "reason", why, "served", w.served,
		"age", time.Since(w.since).Round(time.Millisecond), "rss", w.rss)
}

// recycleOldLocked looks after the workers' age.
func (p *Pool) recycleOldLocked(now time.Time) {
	if p.opt.MaxAge == 0 {
		return
	}
	for w := range p.workers {
		if w.isServing() && now.After(w.expires) {
			p.recycleLocked(w, dueAge)
		}
	}
}

// weigh looks at the memory of the workers that are idle, and makes the others be
// looked at when they have finished what they have: what a request needs for a
// moment does not count.
func (p *Pool) weigh(now time.Time) {
	if p.opt.MaxRSS == 0 || now.Sub(p.weighed) < weighEvery {
		return
	}
	p.weighed = now
	var idle []*worker
	p.mu.Lock()
	for w := range p.workers {
		if w.isServing() {
			w.weigh = w.state == Busy
			if !w.weigh {
				idle = append(idle, w)
			}
		}
	}
	p.mu.Unlock()
	for _, w := range idle {
		rss, err := Resident(w.pid)
		p.mu.Lock()
		if w.state == Ready && w.progress.Before(now) { // it has been idle all the time
			p.weighedLocked(w, rss, err)
		}
		p.mu.Unlock()
	}
}

// weighBetween looks at the memory of a worker between two requests and then frees
// it. freeLocked calls it in a goroutine of its own.
func (w *worker) weighBetween() {
	p := w.pool
	rss, err := Resident(w.pid)
	p.mu.Lock()
	p.weighedLocked(w, rss, err)
	send := w.state == Busy && p.freeLocked(w)
	p.checkDrainedLocked()
	p.mu.Unlock()
	if send {
		w.sendBatch()
	}
}

func (p *Pool) weighedLocked(w *worker, rss int64, err error) {
	if err != nil {
		w.logger().Debug("cannot read the worker's memory", "error", err) // it has just ended
		return
	}
	w.rss = rss
	if rss > p.opt.MaxRSS && w.isServing() {
		p.recycleLocked(w, dueMemory)
	}
}
