package pool

import (
	"slices"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
)

// Do gives a request to a worker, now or when one is free, and returns the answer to be read. The
// error is ErrQueueFull, ErrNoWorkers or ErrClosed. Answer.Next reports later failures.
func (p *Pool) Do(req *Request) (*Answer, error) {
	x := newExchange(p, req)
	req.Running.Queued()
	p.mu.Lock()
	p.totals.requests++
	if !p.started || p.closing {
		p.mu.Unlock()
		return nil, p.countError(ErrClosed)
	}
	w := p.anotherLocked()
	if w != nil && p.queue.len() > 0 { // others have waited for longer
		x.queued, x.since = true, time.Now()
		p.queue.push(x)
		send := p.freeLocked(w)
		p.mu.Unlock()
		if send {
			w.process.Flush()
		}
		return &x.answer, nil
	}
	if w != nil {
		err := p.assignLocked(w, x)
		if err != nil {
			p.restLocked(w)
		}
		p.mu.Unlock()
		if err != nil {
			return nil, p.countError(err)
		}
		p.pause(afterAssignment, w, 0)
		w.process.Flush()
		return &x.answer, nil
	}
	defer p.mu.Unlock()
	if p.group.Circuit() != worker.Closed {
		return nil, p.countError(ErrNoWorkers)
	}
	if p.queue.len() >= p.opt.QueueSize {
		return nil, p.countError(ErrQueueFull)
	}
	x.queued, x.since = true, time.Now()
	p.queue.push(x)
	p.watchLocked()
	return &x.answer, nil
}

// anotherLocked takes an idle worker for a request; nil: there is none, or the request waits for one that is busy.
func (p *Pool) anotherLocked() *station {
	if p.isCrowdedLocked() {
		return nil
	}
	return p.popIdleLocked()
}

// isCrowdedLocked reports whether requests wait although a worker may be idle. None is refused for that: with a full queue
// all workers have requests.
func (p *Pool) isCrowdedLocked() bool { return p.crowd.isFull() && p.queue.len() < p.opt.QueueSize }

// restLocked has a worker without requests wait for some.
func (p *Pool) restLocked(w *station) {
	w.leaveLocked()
	p.idle = append(p.idle, w)
	p.watchLocked()
}

func (p *Pool) popIdleLocked() *station {
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	w := p.idle[n-1]
	p.idle = p.idle[:n-1]
	return w
}

func (p *Pool) removeIdleLocked(w *station) {
	p.idle = slices.DeleteFunc(p.idle, func(idle *station) bool { return idle == w })
}

// maxBatchSize is how many bytes of requests a worker is given at once, unless a single one is
// larger. It is well below the buffer of a socket. The goroutine that reads a worker's answers also
// writes its next batch. It must never wait for a worker that itself waits to be read.
const maxBatchSize = 64 << 10

// assignLocked makes x a duty of w and queues its frame.
func (p *Pool) assignLocked(w *station, x *exchange) error {
	p.stream++
	if p.stream == 0 {
		p.stream = 1
	}
	frame, err := x.req.Frame(p.stream)
	if err != nil {
		return err
	}
	w.progress = time.Now()
	w.joinLocked()
	if len(w.duties) == 0 {
		w.busySince, w.begun = w.progress, w.progress
	}
	x.stream, x.station, x.queued = p.stream, w, false
	if turn := x.req.Turn; turn != nil {
		*turn = Turn{Worker: w.process.ID(), PID: w.process.PID(), Given: w.progress}
	}
	var names []byte
	if list := x.req.Names; w.names[list.Place] != list {
		w.names[list.Place] = list
		names = list.Frame
	}
	w.unsent = w.process.Queue(p.stream, names, frame)
	w.duties = append(w.duties, duty{subject: x.subject(), stream: p.stream, x: x})
	w.state = Busy
	if x.req.Running != nil {
		x.req.Running.Assigned(w.process.PID())
	}
	return nil
}

// freeLocked gives a worker without requests its next ones. It reports whether there is a batch, which the
// caller must flush after it has released the lock.
func (p *Pool) freeLocked(w *station) (send bool) {
	w.leaveLocked()
	if w.phase != employed {
		return false
	}
	if w.process.MustWeigh() {
		w.state = Busy
		p.tasks.Go(w.weighBetween)
		return false
	}
	w.state = Ready
	if !(p.closing && p.queue.len() > 0) && w.makeWayLocked() { // the last worker of a closing pool empties the queue
		return true // DRAIN
	}
	if p.isCrowdedLocked() || !p.loadLocked(w) {
		p.restLocked(w)
		p.checkDrainedLocked()
		return false
	}
	return true
}

// aheadLocked gives a worker that is at work on one of its last requests its next ones, so that it goes on without waiting
// for the gateway. It reports whether there are any, which the caller must flush after it has released the lock.
func (p *Pool) aheadLocked(w *station) bool {
	has := len(w.duties)
	if has > maxAhead || w.duties.requests() < has || w.average < aheadAverage || !p.crowd.computes() ||
		w.phase != employed || w.process.MustWeigh() || w.process.Relieved() {
		return false
	}
	p.loadLocked(w)
	if len(w.duties) == has {
		return false
	}
	w.waits.ahead++
	return true
}

// loadLocked moves requests from the queue to a worker. It reports whether the worker has any then.
func (p *Pool) loadLocked(w *station) bool {
	among := len(p.stations)
	if p.crowd.limit > 0 {
		among = min(among, p.crowd.limit)
	}
	share := (p.queue.len() + among - 1) / among
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

// takesLocked reports whether x may join what w has. Any request may be the first. Further ones may join while the whole
// batch is safe, small, within the worker's share of the queue and not more than what its pace allows.
func (w *station) takesLocked(x *exchange, share int) bool {
	n := len(w.duties)
	if n == 0 {
		return true
	}
	return n < share && n < w.pool.opt.MaxBatch && n < w.mostLocked() && w.unsent < maxBatchSize &&
		x.req.Safe && !x.alone && w.duties[0].x.req.Safe && !w.duties[0].x.alone
}

// mostLocked returns how many requests the worker may have by its pace.
func (w *station) mostLocked() int {
	most := 1
	if w.average > 0 && w.average < quickAverage {
		most = int(batchTime / w.average)
	}
	if w.average > 0 && w.average < briskAverage && w.pool.crowd.computes() {
		most = max(most, 1+maxAhead)
	}
	return most
}

// requeueLocked puts exchanges that were taken from their worker back at the front of the queue, in
// their order. It gives them to idle workers, if any, and returns these workers; the caller must
// flush their batches.
func (p *Pool) requeueLocked(list []*exchange) (send []*station) {
	now := time.Now()
	for _, x := range slices.Backward(list) {
		if !x.dropped {
			x.queued, x.alone, x.since = true, true, now
			p.queue.pushFront(x)
		}
	}
	return append(send, p.fillLocked()...)
}

// fillLocked gives waiting requests to idle workers, and returns these workers; the caller must flush their batches.
func (p *Pool) fillLocked() (send []*station) {
	for p.queue.len() > 0 {
		w := p.anotherLocked()
		if w == nil {
			break
		}
		if p.freeLocked(w) {
			send = append(send, w)
		}
	}
	p.watchLocked()
	return send
}

// abandon takes x out of the pool when the client has closed its answer.
func (p *Pool) abandon(x *exchange) {
	p.mu.Lock()
	w := x.station
	x.dropped = true
	if x.queued {
		p.waitedLocked(x, time.Now())
		p.queue.removeIf(func(other *exchange) bool { return other == x })
		p.checkDrainedLocked()
	}
	first := w != nil && w.duties[0].x == x
	if first {
		w.cancelLocked(x.stream)
	}
	p.mu.Unlock()
	p.pause(afterAbandoning, w, x.stream)
	if first {
		w.process.Flush()
	}
}
