package pool

import (
	"fmt"
	"slices"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

// Do gives a request to a worker, now or when one is free, and returns the answer to be read. The
// error is ErrQueueFull, ErrNoWorkers or ErrClosed. Answer.Next reports later failures.
func (p *Pool) Do(req *Request) (*Answer, error) {
	x := newExchange(p, req)
	p.mu.Lock()
	p.totals.requests++
	if !p.started || p.closing {
		p.mu.Unlock()
		return nil, p.countError(ErrClosed)
	}
	if w := p.popIdleLocked(); w != nil {
		err := p.assignLocked(w, x)
		if err != nil {
			p.idle = append(p.idle, w)
		}
		p.mu.Unlock()
		if err != nil {
			return nil, p.countError(err)
		}
		p.pause(afterAssignment, w, 0)
		w.sendBatch()
		return &x.answer, nil
	}
	defer p.mu.Unlock()
	if p.circuitLocked() != Closed {
		return nil, p.countError(ErrNoWorkers)
	}
	if p.queue.len() >= p.opt.QueueSize {
		return nil, p.countError(ErrQueueFull)
	}
	x.queued, x.since = true, time.Now()
	p.queue.push(x)
	return &x.answer, nil
}

func (p *Pool) popIdleLocked() *worker {
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	w := p.idle[n-1]
	p.idle = p.idle[:n-1]
	return w
}

func (p *Pool) removeIdleLocked(w *worker) {
	p.idle = slices.DeleteFunc(p.idle, func(idle *worker) bool { return idle == w })
}

// maxBatchSize is how many bytes of requests a worker is given at once, unless a single one is
// larger. It is well below the buffer of a socket. The goroutine that reads a worker's answers also
// writes its next batch. It must never wait for a worker that itself waits to be read.
const maxBatchSize = 64 << 10

// assignLocked makes x a duty of w and adds its frame to w's outgoing batch. The worker may have no
// other duties than those of the same batch.
func (p *Pool) assignLocked(w *worker, x *exchange) error {
	p.stream++
	if p.stream == 0 {
		p.stream = 1
	}
	frame, err := x.frame(p.stream)
	if err != nil {
		return err
	}
	w.progress = time.Now()
	if len(w.duties) == 0 {
		w.busySince, w.begun = w.progress, w.progress
	}
	x.stream, x.worker, x.queued = p.stream, w, false
	if place := x.names.Place; w.names[place] != x.names {
		w.names[place] = x.names
		w.batch = append(w.batch, x.names.Frame...)
	}
	if w.firstStream == 0 {
		w.firstStream = p.stream
	}
	w.batch = append(w.batch, frame...)
	w.duties = append(w.duties, duty{subject: x.subject, stream: p.stream, x: x})
	w.state = Busy
	return nil
}

// freeLocked gives an idle worker its next requests. It reports whether there is a batch, which the
// caller must send after it has released the lock.
func (p *Pool) freeLocked(w *worker) (send bool) {
	if w.state != Busy && w.state != Starting {
		return false
	}
	if w.weigh {
		w.weigh = false
		p.tasks.Go(w.weighBetween)
		return false
	}
	w.state = Ready
	if w.successor != nil && w.successor.isServing() {
		w.makeWay()
		return true // DRAIN
	}
	if w.limit > 0 && w.served >= w.limit {
		p.recycleLocked(w, dueRequests)
	}
	if !p.loadLocked(w) {
		p.idle = append(p.idle, w)
		p.checkDrainedLocked()
		return false
	}
	return true
}

// loadLocked moves requests from the queue to a worker that has none. It reports whether it moved
// any.
func (p *Pool) loadLocked(w *worker) bool {
	share := (p.queue.len() + len(p.workers) - 1) / len(p.workers)
	for x := p.queue.peek(); x != nil && w.takesLocked(x, share); x = p.queue.peek() {
		p.queue.pop()
		x.queued = false
		if err := p.assignLocked(w, x); err != nil {
			x.fail(err)
			continue
		}
		p.waitedLocked(x, w.progress)
	}
	if len(w.duties) > 1 {
		w.armStall()
	}
	return len(w.duties) > 0
}

// takesLocked reports whether x may join the batch that is being made for w. Any request may be the
// first. Further ones may join a quick worker's batch while the whole batch is safe, small and
// within the worker's share of the queue.
func (w *worker) takesLocked(x *exchange, share int) bool {
	n := len(w.duties)
	if n == 0 {
		return true
	}
	return n < share && n < w.pool.opt.MaxBatch && w.isQuick() && len(w.batch) < maxBatchSize &&
		x.safe && !x.alone && w.duties[0].x.safe && !w.duties[0].x.alone
}

// requeueLocked puts exchanges that were taken from their worker back at the front of the queue, in
// their order. It gives them to idle workers, if any, and returns these workers; the caller must
// send their batches.
func (p *Pool) requeueLocked(list []*exchange) (send []*worker) {
	now := time.Now()
	for _, x := range slices.Backward(list) {
		if !x.dropped {
			x.queued, x.alone, x.since = true, true, now
			p.queue.pushFront(x)
		}
	}
	for p.queue.len() > 0 {
		w := p.popIdleLocked()
		if w == nil {
			break
		}
		w.state = Busy
		if p.freeLocked(w) {
			send = append(send, w)
		}
	}
	return send
}

// abandon takes x out of the pool when the client has closed its answer.
func (p *Pool) abandon(x *exchange) {
	p.mu.Lock()
	w := x.worker
	x.dropped = true
	if x.queued {
		p.waitedLocked(x, time.Now())
		p.queue.removeIf(func(other *exchange) bool { return other == x })
		p.checkDrainedLocked()
	}
	first := w != nil && w.duties[0].x == x
	if first {
		w.batch = wire.AppendFrame(w.batch, wire.Cancel, 0, x.stream, nil)
	}
	p.mu.Unlock()
	p.pause(afterAbandoning, w, x.stream)
	if first {
		w.sendBatch()
	}
}

// nudgeTime is about how old a request must be for the end of its context to be noticed at once.
const nudgeTime = 50 * time.Millisecond

// watch looks regularly for requests that wait or run for too long, and for workers that take too
// long to start.
func (p *Pool) watch() {
	interval := min(p.opt.QueueTimeout/4, p.opt.StartTimeout/4, nudgeTime)
	if p.opt.RequestTimeout > 0 {
		interval = min(interval, p.opt.RequestTimeout/4)
	}
	ticker := time.NewTicker(max(interval, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-p.quit:
			return
		case now := <-ticker.C:
			p.inspect(now)
			p.weigh(now)
		}
	}
}

func (p *Pool) inspect(now time.Time) {
	p.mu.Lock()
	expired := p.queue.removeIf(func(x *exchange) bool { return now.Sub(x.since) > p.opt.QueueTimeout })
	for _, x := range expired {
		p.waitedLocked(x, now)
	}
	p.queue.each((*exchange).nudge)
	var send []*worker
	for w := range p.workers {
		for _, d := range w.duties {
			if d.x != nil {
				d.x.nudge()
			}
		}
		why := w.overdueLocked(now)
		if why == "" || w.killed {
			continue
		}
		w.killed = true
		w.blameLocked(causeTimedOut)
		if w.state == Starting {
			w.failure = why
			p.unlinkLocked(w)
		}
		log := w.logger()
		waiting := 0
		if d := w.duties.current(); w.cleaning {
			log = w.last.on(log)
		} else if d != nil {
			log = d.on(log)
			if x := d.release(); x != nil {
				x.fail(ErrTimeout)
			}
			waiting = 1
		}
		taken, _ := w.duties.releaseFrom(waiting)
		send = append(send, p.requeueLocked(taken)...)
		if w.state != Starting {
			log.Error("a worker is killed", "reason", why)
		}
		w.leave(now)
		p.tasks.Go(w.kill)
	}
	p.settleLocked(now)
	send = append(send, p.scaleLocked(now)...)
	p.recycleOldLocked(now)
	p.remains.prune()
	p.topUpLocked()
	p.checkDrainedLocked()
	p.mu.Unlock()
	for _, x := range expired {
		x.fail(ErrQueueTimeout)
	}
	if len(send) > 0 { // a worker that does not read must not block the watch
		p.tasks.Go(func() {
			for _, w := range send {
				w.sendBatch()
			}
		})
	}
}

// overdueLocked returns the time limit that a worker has passed, in words; "" for none.
func (w *worker) overdueLocked(now time.Time) string {
	opt := &w.pool.opt
	silent := now.Sub(w.progress)
	limited := opt.RequestTimeout > 0 && !w.paused && silent > opt.RequestTimeout
	switch {
	case w.state == Starting:
		if now.Sub(w.since) > opt.StartTimeout {
			return fmt.Sprintf("it was not ready after %v", opt.StartTimeout)
		}
	case w.state == Exiting:
		if now.Sub(w.left) > opt.KillAfter && !w.paused {
			return fmt.Sprintf("it was told to go, or had said that it goes, and has not gone for %v", opt.KillAfter)
		}
	case w.cleaning:
		if limited {
			return fmt.Sprintf("cleaning up after %s took longer than %v", w.last.label, opt.RequestTimeout)
		}
	case len(w.duties) > 0:
		if limited {
			return fmt.Sprintf("%s ran into its time limit: no sign of life for %v", w.duties[0].label, opt.RequestTimeout)
		}
	case w.state == Draining:
		if silent > opt.KillAfter {
			return fmt.Sprintf("it was told to go and has not gone for %v", opt.KillAfter)
		}
	}
	return ""
}

// queue is a first-in, first-out list of waiting exchanges.
type queue struct {
	list []*exchange
	head int
}

func (q *queue) len() int { return len(q.list) - q.head }

func (q *queue) peek() *exchange {
	if q.len() == 0 {
		return nil
	}
	return q.list[q.head]
}

func (q *queue) push(x *exchange) {
	if q.head > 0 && len(q.list) == cap(q.list) {
		n := copy(q.list, q.list[q.head:])
		clear(q.list[n:])
		q.list, q.head = q.list[:n], 0
	}
	q.list = append(q.list, x)
}

func (q *queue) pushFront(x *exchange) {
	if q.head == 0 {
		grown := make([]*exchange, len(q.list)+8, 2*len(q.list)+16)
		copy(grown[8:], q.list)
		q.list, q.head = grown, 8
	}
	q.head--
	q.list[q.head] = x
}

func (q *queue) pop() *exchange {
	x := q.peek()
	if x != nil {
		q.list[q.head] = nil
		if q.head++; q.head == len(q.list) {
			q.list, q.head = q.list[:0], 0
		}
	}
	return x
}

func (q *queue) each(f func(*exchange)) {
	for _, x := range q.list[q.head:] {
		f(x)
	}
}

// removeIf takes out the exchanges for which condition holds, and returns them in order.
func (q *queue) removeIf(condition func(*exchange) bool) (removed []*exchange) {
	kept := slices.DeleteFunc(q.list[q.head:], func(x *exchange) bool {
		if !condition(x) {
			return false
		}
		x.queued = false
		removed = append(removed, x)
		return true
	})
	q.list = q.list[:q.head+len(kept)]
	return removed
}

func (q *queue) takeAll() []*exchange {
	return q.removeIf(func(*exchange) bool { return true })
}
