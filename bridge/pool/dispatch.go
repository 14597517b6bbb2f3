package pool

import (
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
		p.mu.Unlock()
		if err != nil {
			return nil, err
		}
		w.sendBatch()
		return &x.answer, nil
	}
	defer p.mu.Unlock()
	if len(p.workers) == 0 {
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

// assignLocked puts x on w's list and its frame into w's outgoing batch. The worker
// must be free of anything but what this dispatch gives it.
func (p *Pool) assignLocked(w *worker, x *exchange) error {
	p.stream++
	if p.stream == 0 {
		p.stream = 1
	}
	frame, err := x.req.Frame(p.stream)
	if err != nil {
		if len(w.inflight) == 0 {
			p.idle = append(p.idle, w)
		}
		return err
	}
	w.progress = time.Now()
	if len(w.inflight) == 0 {
		w.begun = w.progress
	}
	x.stream, x.worker, x.queued = p.stream, w, false
	w.batch = append(w.batch, frame...)
	w.inflight = append(w.inflight, x)
	w.state = Busy
	return nil
}

// freeLocked gives a worker that has nothing to do its next work and reports
// whether there is a batch to be sent, which the caller does without the lock.
func (p *Pool) freeLocked(w *worker) (send bool) {
	if w.state != Busy && w.state != Starting {
		return false
	}
	w.state = Ready
	if w.successor != nil && w.successor.state != Starting {
		w.retire()
		return true // DRAIN
	}
	if p.opt.MaxRequests > 0 && w.served >= p.opt.MaxRequests && w.successor == nil && p.mayLaunchLocked() {
		p.launchLocked(w) // w goes on until the other is ready
	}
	n := 1
	if first := p.queue.peek(); first == nil {
		p.idle = append(p.idle, w)
		p.checkDrainedLocked()
		return false
	} else if first.req.Safe && !first.alone && w.isQuick() {
		n = min(p.opt.MaxBatch, (p.queue.len()+len(p.workers)-1)/len(p.workers))
	}
	for i := 0; i < n; i++ {
		x := p.queue.peek()
		if x == nil || i > 0 && (!x.req.Safe || x.alone) {
			break
		}
		p.queue.pop()
		if err := p.assignLocked(w, x); err != nil {
			x.fail(err)
			if len(w.inflight) == 0 { // assignLocked has made it idle; take it back
				p.idle = p.idle[:len(p.idle)-1]
				return p.freeLocked(w)
			}
		}
	}
	if len(w.inflight) > 1 {
		w.armStall()
	}
	return true
}

// requeueLocked puts exchanges back at the front of the queue, first one first, and
// gives them to idle workers where there are any; these must be sent to.
func (p *Pool) requeueLocked(list []*exchange) (send []*worker) {
	now := time.Now()
	for i := len(list) - 1; i >= 0; i-- {
		x := list[i]
		x.worker = nil
		if x.dropped {
			continue
		}
		x.queued, x.alone = true, true
		if x.since.IsZero() {
			x.since = now
		}
		p.queue.pushFront(x)
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
		p.queue.remove(x)
		x.queued = false
		p.checkDrainedLocked()
	}
	first := w != nil && len(w.inflight) > 0 && w.inflight[0] == x
	stream := x.stream
	p.mu.Unlock()
	if first {
		w.write(wire.AppendFrame(nil, wire.Cancel, 0, stream, nil))
	}
}

// watch looks every now and then after requests that wait or run too long and
// workers that take too long to start.
func (p *Pool) watch() {
	interval := min(p.opt.QueueTimeout, p.opt.StartTimeout, time.Second)
	if p.opt.RequestTimeout > 0 {
		interval = min(interval, p.opt.RequestTimeout)
	}
	ticker := time.NewTicker(max(interval/4, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-p.quit:
			return
		case now := <-ticker.C:
			p.inspect(now)
		}
	}
}

func (p *Pool) inspect(now time.Time) {
	p.mu.Lock()
	var expired []*exchange
	for x := p.queue.peek(); x != nil && now.Sub(x.since) > p.opt.QueueTimeout; x = p.queue.peek() {
		p.queue.pop()
		x.queued = false
		expired = append(expired, x)
	}
	var late []*worker
	var send []*worker
	for w := range p.workers {
		switch {
		case w.state == Starting && now.Sub(w.since) > p.opt.StartTimeout && w.failure == "":
			w.failure = "it was not ready after " + p.opt.StartTimeout.String()
			w.state = Exiting
			late = append(late, w)
		case w.state != Exiting && len(w.inflight) > 0 && p.opt.RequestTimeout > 0 && !w.paused &&
			now.Sub(w.progress) > p.opt.RequestTimeout:
			x := w.inflight[0]
			send = append(send, p.requeueLocked(w.inflight[1:])...)
			w.inflight = nil
			w.state = Exiting
			x.worker = nil
			x.fail(ErrTimeout)
			w.logger().Error("a request ran into its time limit; the worker is killed",
				"request", x.req.Label, "limit", p.opt.RequestTimeout)
			late = append(late, w)
		}
	}
	p.topUpLocked()
	p.checkDrainedLocked()
	p.mu.Unlock()
	for _, x := range expired {
		x.fail(ErrQueueTimeout)
	}
	for _, w := range late {
		p.tasks.Go(w.kill)
	}
	for _, w := range send {
		w.sendBatch()
	}
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

func (q *queue) remove(x *exchange) {
	for i := q.head; i < len(q.list); i++ {
		if q.list[i] == x {
			q.list = append(q.list[:i], q.list[i+1:]...)
			return
		}
	}
}

func (q *queue) takeAll() []*exchange {
	all := q.list[q.head:]
	q.list, q.head = nil, 0
	for _, x := range all {
		x.queued = false
	}
	return all
}
