package pool

import (
	"fmt"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
)

// nudgeTime is about how old a request must be for the end of its context to be noticed at once.
const nudgeTime = 50 * time.Millisecond

// Look implements worker.Host. It looks for requests that wait or run for too long.
func (p *Pool) Look(now time.Time) worker.Load {
	p.surveyCrowd(now)
	p.mu.Lock()
	expired := p.queue.removeIf(func(x *exchange) bool { return now.Sub(x.since) > p.opt.QueueTimeout })
	for _, x := range expired {
		p.waitedLocked(x, now)
	}
	p.queue.each((*exchange).nudge)
	var send []*station
	for w := range p.stations {
		for _, d := range w.duties {
			if d.x != nil {
				d.x.nudge()
			}
		}
		if why := w.overdueLocked(now); why != "" && w.process.Kill(worker.Overdue{Reason: why, Request: w.runningLocked()}) {
			send = append(send, w.giveUpLocked(why)...)
		}
	}
	load := p.loadOfLocked(now)
	p.checkDrainedLocked()
	p.mu.Unlock()
	for _, x := range expired {
		x.fail(ErrQueueTimeout)
	}
	if len(send) > 0 { // a worker that does not read must not block the group
		p.tasks.Go(func() { flush(send) })
	}
	return load
}

// giveUpLocked takes the requests of a worker that is being killed. The one that it is busy with fails, and the others go
// to other workers, which the caller flushes.
func (w *station) giveUpLocked(why string) (send []*station) {
	w.withdrawLocked()
	log := w.logger()
	waiting := 0
	if d := w.duties.current(); w.state == Cleaning {
		log = w.last.on(log)
	} else if d != nil {
		log = d.on(log)
		if x := d.release(); x != nil {
			x.fail(ErrTimeout)
		}
		waiting = 1
	}
	taken, _ := w.duties.releaseFrom(waiting)
	send = w.pool.requeueLocked(taken)
	log.Error("a worker is killed", "reason", why)
	return send
}

// loadOfLocked returns the load by which the number of workers is decided.
func (p *Pool) loadOfLocked(now time.Time) worker.Load {
	load := worker.Load{Queued: p.queue.len(), Idle: len(p.idle)}
	if first := p.queue.peek(); first != nil && !p.crowd.suffices(len(p.stations)) {
		load.Oldest = now.Sub(first.since)
	}
	if len(p.idle) > 0 {
		load.Coldest, load.IdleFor = p.idle[0].process, now.Sub(p.idle[0].progress)
	}
	return load
}

// overdueLocked returns the time limit that a worker has passed, in words; "" for none.
func (w *station) overdueLocked(now time.Time) string {
	opt := &w.pool.opt
	silent := now.Sub(w.progress)
	limited := opt.RequestTimeout > 0 && !w.process.Paused() && silent > opt.RequestTimeout
	process := w.process.State()
	switch {
	case process != worker.Serving && process != worker.Draining: // the group looks after it
	case w.state == Cleaning:
		if limited {
			return fmt.Sprintf("cleaning up after %s took longer than %v", w.last.label, opt.RequestTimeout)
		}
	case len(w.duties) > 0:
		if limited {
			return fmt.Sprintf("%s ran into its time limit: no sign of life for %v", w.duties[0].label, opt.RequestTimeout)
		}
	case process == worker.Draining:
		if silent > opt.KillAfter {
			return fmt.Sprintf("it was told to go and has not gone for %v", opt.KillAfter)
		}
	}
	return ""
}
