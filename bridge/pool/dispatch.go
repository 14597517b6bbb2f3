package pool

import (
	"fmt"
	"slices"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

// Do gives a request to a worker, now or when one is free, and returns the answer
// to be read. The error is ErrQueueFull, ErrNoWorkers or ErrClosed; what goes wrong
// later, Answer.Next reports.
func (p *Pool) Do(req *Request) (*Answer, error) {
	x := newExchange(p, req)
	p.mu.Lock()
	if !p.started || p.closing {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	if w := p.popIdleLocked(); w != nil {
		err := p.assignLocked(w, x)
		if err != nil {
			p.idle = append(p.idle, w)
		}
		p.mu.Unlock()
		if err != nil {
			return nil, err
		}
		w.sendBatch()
		return &x.answer, nil
	}
	defer p.mu.Unlock()
	if p.circuitLocked() != Closed {
		return nil, ErrNoWorkers
	}
	if p.queue.len() >= p.opt.QueueSize {
		return nil, ErrQueueFull
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

// maxBatchSize is how many bytes of requests a worker is given at once, unless a
// single one is larger. It is well below what a socket takes: the goroutine that
// reads a worker's answers also writes its next batch, and must never have to wait
// for a worker that waits to be read.
const maxBatchSize = 64 << 10

// assignLocked puts x on w's list and its frame into w's outgoing batch. The worker
// must be free of anything but what this dispatch gives it.
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
	if len(w.inflight) == 0 {
		w.begun = w.progress
	}
	x.stream, x.worker, x.queued, x.more = p.stream, w, false, false
	if place := x.names.Place; w.names[place] != x.names {
		w.names[place] = x.names
		w.batch = append(w.batch, x.names.Frame...)
	}
	if w.lastFrame > 0 && p.isSteady() {
		wire.SetFlag(w.batch[w.lastFrame-1:], wire.FlagMore)
		w.inflight[len(w.inflight)-1].more = true
	}
	if w.firstStream == 0 {
		w.firstStream = p.stream
	}
	w.lastFrame = len(w.batch) + 1
	w.batch = append(w.batch, frame...)
	w.inflight = append(w.inflight, x)
	w.state = Busy
	return nil
}

// isSteady reports whether the application has been answering quickly for so long
// that a worker may keep the answer to a request until it has the next one's.
func (p *Pool) isSteady() bool { return p.steady >= steadyRequests }

// freeLocked gives a worker that has nothing to do its next work and reports
// whether there is a batch to be sent, which the caller does without the lock.
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
		w.retire()
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

// refillBelow is how few requests a worker has left when it gets its next ones, so
// that it need not wait for them.
const refillBelow = 4

// refillLocked gives more to a worker that will soon have answered what it has, and
// reports whether there is a batch to be sent. A worker that is to be replaced gets
// nothing, so that there is a moment when it has no request.
func (p *Pool) refillLocked(w *worker) (send bool) {
	n := len(w.inflight)
	if n == 0 || n > refillBelow || p.queue.len() == 0 || !p.isSteady() {
		return false
	}
	if w.state != Busy || w.cleaning || w.successor != nil || w.weigh || w.limit > 0 && w.served+n >= w.limit {
		return false
	}
	return p.loadLocked(w)
}

// loadLocked moves requests from the queue to a worker and reports whether it did.
func (p *Pool) loadLocked(w *worker) bool {
	before := len(w.inflight)
	share := (p.queue.len() + len(p.workers) - 1) / len(p.workers)
	for x := p.queue.peek(); x != nil && w.takesLocked(x, share); x = p.queue.peek() {
		p.queue.pop()
		x.queued = false
		if err := p.assignLocked(w, x); err != nil {
			x.fail(err)
		}
	}
	if len(w.inflight) > 1 {
		w.armStall()
	}
	return len(w.inflight) > before
}

// takesLocked reports whether x may join the batch that is being made for w: any
// request may be the first, and further ones where the whole batch is safe, small,
// and for a worker that is quick, up to its share of the queue.
func (w *worker) takesLocked(x *exchange, share int) bool {
	n := len(w.inflight)
	if n == 0 {
		return true
	}
	return n < share && n < w.pool.opt.MaxBatch && w.isQuick() && len(w.batch) < maxBatchSize &&
		x.safe && !x.alone && w.inflight[0].safe && !w.inflight[0].alone
}

// requeueLocked puts exchanges back at the front of the queue, first one first, and
// gives them to idle workers where there are any; these must be sent to.
func (p *Pool) requeueLocked(list []*exchange) (send []*worker) {
	now := time.Now()
	for _, x := range slices.Backward(list) {
		x.worker = nil
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

// abandon is called when nobody waits for x any more.
func (p *Pool) abandon(x *exchange) {
	p.mu.Lock()
	w := x.worker
	x.dropped = true
	if x.queued {
		p.queue.removeIf(func(other *exchange) bool { return other == x })
		p.checkDrainedLocked()
	}
	first := w != nil && len(w.inflight) > 0 && w.inflight[0] == x
	stream := x.stream
	p.mu.Unlock()
	if first {
		w.write(wire.AppendFrame(nil, wire.Cancel, 0, stream, nil))
	}
}

// nudgeTime is about how long a request goes on before the end of its context is
// noticed at once.
const nudgeTime = 50 * time.Millisecond

// watch looks every now and then after requests that wait or run too long and
// workers that take too long to start.
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
	p.queue.each((*exchange).nudge)
	var send []*worker
	for w := range p.workers {
		for _, x := range w.inflight {
			x.nudge()
		}
		why := w.overdueLocked(now)
		if why == "" || w.killed {
			continue
		}
		w.killed = true
		if w.state == Starting {
			w.failure = why
			p.unlinkLocked(w)
		}
		log := w.logger()
		if w.cleaning {
			log = about(log, w.cleanedUp, w.cleanedID)
		} else if w.runsFirstLocked() {
			log = about(log, w.inflight[0].label, w.inflight[0].id)
			w.inflight[0].worker = nil
			w.inflight[0].fail(ErrTimeout)
			w.inflight = w.inflight[1:]
		}
		send = append(send, p.requeueLocked(w.inflight)...)
		w.inflight = nil
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
	if len(send) > 0 { // a worker that does not read must not keep the watch waiting
		p.tasks.Go(func() {
			for _, w := range send {
				w.sendBatch()
			}
		})
	}
}

// overdueLocked says which of the time limits a worker has passed, "" for none.
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
		if now.Sub(w.left) > opt.KillGrace && !w.paused {
			return fmt.Sprintf("it was told to go, or had said that it goes, and has not gone for %v", opt.KillGrace)
		}
	case w.cleaning:
		if limited {
			return fmt.Sprintf("cleaning up after %s took longer than %v", w.cleanedUp, opt.RequestTimeout)
		}
	case w.unsure || len(w.inflight) > 0 && !w.runsFirstLocked():
		if limited {
			return fmt.Sprintf("one of several requests ran into its time limit: no sign of life for %v", opt.RequestTimeout)
		}
	case len(w.inflight) > 0:
		if limited {
			return fmt.Sprintf("%s ran into its time limit: no sign of life for %v", w.inflight[0].label, opt.RequestTimeout)
		}
	case w.state == Draining:
		if silent > opt.KillGrace {
			return fmt.Sprintf("it was told to go and has not gone for %v", opt.KillGrace)
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

// removeIf takes out what condition holds for and returns it, in order.
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
