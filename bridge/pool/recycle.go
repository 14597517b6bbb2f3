package pool

import (
	"math/rand/v2"
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

// drawLimits draws a new worker's limits: how many requests it serves and how old it gets.
func (w *worker) drawLimits() {
	opt := &w.pool.opt
	jitter := max(opt.MaxRequestsJitter, 0)
	if n := opt.MaxRequests; n > 0 {
		w.limit = max(1, n-rand.IntN(int(float64(n)*jitter)+1))
	}
	if opt.MaxAge > 0 {
		w.expires = w.since.Add(opt.MaxAge - time.Duration(rand.Float64()*jitter*float64(opt.MaxAge)))
	}
}

// recycleLocked starts a successor for w. w serves until the successor is ready, and is never
// interrupted in a request. At most a quarter of the workers, and at least one, wait for their
// successors at a time; for the others recycleLocked is called again.
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
	w.due = why
	w.logger().Debug("a worker is due to be replaced", "reason", why)
}

// makeWay retires a worker whose successor serves. It logs a worker that was due. It does not log
// workers that a reload replaces, because the reload has its own record.
func (w *worker) makeWay() {
	w.blameLocked(causeOf(w.due))
	if w.due != "" {
		w.logger().Info("a worker is replaced", "reason", w.due, "by", w.successor.id, "served", w.served,
			"age", time.Since(w.since).Round(time.Millisecond), "rss", w.rss)
	}
	w.retire()
}

// recycleOldLocked recycles the workers that have reached their age limit.
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

// weigh checks the memory of the idle workers. It marks the busy ones to be checked when they have
// finished, because memory that a request needs only for a moment does not count.
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
		rss, err := proc.Resident(w.pid)
		p.mu.Lock()
		if w.state == Ready && w.progress.Before(now) { // it has been idle all the time
			p.weighedLocked(w, rss, err)
		}
		p.mu.Unlock()
	}
}

// weighBetween checks the memory of a worker between two requests and then frees it. freeLocked
// calls it in a goroutine of its own.
func (w *worker) weighBetween() {
	p := w.pool
	rss, err := proc.Resident(w.pid)
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
		w.logger().Debug("cannot read the worker's memory", "error", err) // the process has just ended
		return
	}
	w.rss = rss
	if rss > p.opt.MaxRSS && w.isServing() {
		p.recycleLocked(w, dueMemory)
	}
}
