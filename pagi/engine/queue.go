package engine

import (
	"errors"
	"sync"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// errGivenUp is what a queue is lost by when its request has ended.
var errGivenUp = errors.New("the request has ended")

// keptBuffer is how large a buffer may be that an empty queue keeps.
const keptBuffer = 4 << 10

// queue is what an application sent of a response that streams and the network has
// not taken yet. It comes into being when the application first looks at its
// Transport; without one, Send writes by itself.
//
// While there is something to be written, one goroutine writes it and has the stream to
// itself. Another goroutine that wants to write, and holds the exchange's mu for it, calls wait
// first. The writing goroutine ends when all is written; finish waits for that.
type queue struct {
	x     *exchange
	meter *FlowMeter

	mu      sync.Mutex
	waiting []byte          // to be written
	dirty   bool            // there is something to be written, or at least flushed
	writing bool            // the goroutine is writing to the stream
	lost    *connectionLost // nothing is written any more: a write failed, or the request has ended
	changed chan struct{}   // closed at the next change; nil: no goroutine waits for it

	out []byte // the writing goroutine's
}

// appTransport is the Transport an application gets.
type appTransport exchange

func (t *appTransport) meter() *FlowMeter { return (*exchange)(t).outbound().meter }

// BufferedAmount implements Transport.
func (t *appTransport) BufferedAmount() int { return t.meter().BufferedAmount() }

// HighWaterMark implements Transport.
func (t *appTransport) HighWaterMark() int { return t.meter().HighWaterMark() }

// LowWaterMark implements Transport.
func (t *appTransport) LowWaterMark() int { return t.meter().LowWaterMark() }

// OnHighWater implements Transport.
func (t *appTransport) OnHighWater(f func()) { t.meter().OnHighWater(f) }

// OnDrain implements Transport.
func (t *appTransport) OnDrain(f func()) { t.meter().OnDrain(f) }

// outbound returns the queue, and makes it where there is none.
func (x *exchange) outbound() *queue {
	if q := x.queue.Load(); q != nil {
		return q
	}
	x.queue.CompareAndSwap(nil, &queue{x: x, meter: NewFlowMeter(x.h.HighWaterMark, x.h.LowWaterMark)})
	return x.queue.Load()
}

// put takes a copy of p over, to be written and flushed. The exchange's mu is held;
// settle follows when it is not any more.
func (q *queue) put(p []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.lost != nil {
		return // the request's end is on its way
	}
	q.waiting = append(q.waiting, p...)
	q.dirty = true
	q.meter.Count(len(p))
	if !q.writing {
		go q.run()
	}
}

// settle runs the callbacks of a mark that put has reached, and waits while there is
// too much in the queue. The caller must not hold the exchange's mu.
func (q *queue) settle(done <-chan struct{}) {
	q.meter.CallDue()
	ended := q.x.end.overSignal()
	for {
		q.mu.Lock()
		if q.lost != nil || !q.meter.IsAbove() {
			q.mu.Unlock()
			return
		}
		changed := q.change()
		q.mu.Unlock()
		select {
		case <-changed:
		case <-ended:
			return
		case <-done:
			return
		}
	}
}

// wait returns when nothing is left to be written, or with the error of a write
// after which nothing will be. The exchange's mu is held.
func (q *queue) wait() error {
	for {
		q.mu.Lock()
		if !q.writing && (q.lost != nil || !q.dirty) {
			lost := q.lost
			q.mu.Unlock()
			if lost != nil {
				return lost
			}
			return nil
		}
		changed := q.change()
		q.mu.Unlock()
		<-changed
	}
}

// verdict waits for the write that goes on, if any, and returns why it failed; "" where
// it did not.
func (q *queue) verdict() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.writing {
		changed := q.change()
		q.mu.Unlock()
		<-changed
		q.mu.Lock()
	}
	return q.failureLocked()
}

// failure returns why a write has failed; "" where none has.
func (q *queue) failure() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.failureLocked()
}

func (q *queue) failureLocked() string {
	if q.lost != nil {
		return q.lost.reason
	}
	return ""
}

// change returns a channel that is closed at the next change. mu is held.
func (q *queue) change() <-chan struct{} {
	if q.changed == nil {
		q.changed = make(chan struct{})
	}
	return q.changed
}

// tell wakes the goroutines that wait for a change. mu is held.
func (q *queue) tell() {
	if q.changed != nil {
		close(q.changed)
		q.changed = nil
	}
}

// isWriting reports whether the network is slow to take something.
func (q *queue) isWriting() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.writing || q.dirty && q.lost == nil
}

// giveUp ends the queue, breaks off a write that goes on, and returns how many bytes
// were left. The exchange's mu is held.
func (q *queue) giveUp() int {
	q.mu.Lock()
	if q.lost == nil {
		q.lost = &connectionLost{pagi.ReasonServerError, errGivenUp}
	}
	writing := q.writing
	q.mu.Unlock()
	if writing {
		q.x.stream.Abort()
		_ = q.wait() // known
	}
	return q.meter.BufferedAmount()
}

// run writes until there is nothing left. Between two writes the stream is free, so that a
// callback may send and wait for the queue like any other goroutine. Another goroutine may then
// take the writing over.
func (q *queue) run() {
	for q.begin() {
		err := q.write()
		q.end(err)
		if q.meter.IsDue() { // a callback may wait for a goroutine that waits for the queue
			go q.run()
		}
		q.meter.CallDue()
		if err != nil {
			q.x.end.disconnect(q.x.goneReason(err.reason))
			return
		}
	}
}

// begin takes over the bytes to be written and reports whether there are any.
func (q *queue) begin() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.writing || !q.dirty || q.lost != nil {
		return false
	}
	q.writing, q.dirty = true, false
	q.out, q.waiting = q.waiting, q.out[:0]
	return true
}

// end is called after every write.
func (q *queue) end(err *connectionLost) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.writing = false
	if err != nil && q.lost == nil {
		q.lost = err
	}
	if !q.dirty && cap(q.out) > keptBuffer {
		q.out = nil
	}
	q.tell()
}

// write writes out, piece by piece, each under a deadline of its own.
func (q *queue) write() *connectionLost {
	for p := q.out; ; {
		piece := p[:min(len(p), writePiece)]
		p = p[len(piece):]
		if err := q.writePiece(piece); err != nil {
			return err
		}
		q.meter.Count(-len(piece))
		if len(p) == 0 {
			return nil
		}
		q.mu.Lock()
		q.tell()
		q.mu.Unlock()
	}
}

func (q *queue) writePiece(p []byte) *connectionLost {
	x := q.x
	x.setWriteDeadline()
	q.mu.Lock()
	lost := q.lost
	q.mu.Unlock()
	if lost != nil { // giveUp sets lost first, and a deadline then
		return lost
	}
	if len(p) > 0 {
		_, err := x.stream.Write(p)
		x.armed = false
		if err != nil {
			return asLost(writeLost(err))
		}
	}
	if err := x.flush(); err != nil {
		return asLost(err)
	}
	x.touch()
	return nil
}
