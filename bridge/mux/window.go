package mux

import (
	"context"
	"fmt"
	"sync"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

const (
	// maxPiece is the most that a stream writes before another one has its turn.
	maxPiece = 16 << 10
	// maxBody is the most body in an event that is one piece: the event has 8 bytes more.
	maxBody = maxPiece - 8
	// minPiece is the least for which a sender of a longer event waits, so that a window that opens
	// slowly does not cut the event into many small frames.
	minPiece = 1 << 10
)

// window is what a stream may still send. One goroutine at a time takes from it.
type window struct {
	mu     sync.Mutex
	credit int64
	shut   bool              // the stream has ended: nothing needs to be sent any more
	meter  *engine.FlowMeter // counts what is sent and not granted again; may be nil
	tasks  *sync.WaitGroup   // of the meter's callbacks

	wake chan struct{} // capacity 1; nil until take waits
}

func (w *window) init(credit int) {
	w.credit = int64(credit)
}

// add grants credit.
func (w *window) add(bytes uint32) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.credit+int64(bytes) > wire.MaxCredit {
		return fmt.Errorf("%w: CREDIT beyond %d", ErrProtocol, int64(wire.MaxCredit))
	}
	w.credit += int64(bytes)
	w.signal()
	w.countLocked(-int(bytes))
	return nil
}

// countLocked has the meter count. Its callbacks run on a goroutine of their own: the caller may be the
// connection's reader, which must not wait.
func (w *window) countLocked(n int) {
	if w.meter == nil {
		return
	}
	if w.meter.Count(n); w.meter.IsDue() {
		w.tasks.Go(w.meter.CallDue)
	}
}

// count has a meter count from now on. It is called before anything is sent.
func (w *window) count(meter *engine.FlowMeter, tasks *sync.WaitGroup) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.meter, w.tasks = meter, tasks
}

// take waits until a frame with at least a piece of an event of want bytes may be sent. It returns
// how long the piece may be, and takes its cost. ok is false if nothing needs to be sent any more.
func (w *window) take(ctx context.Context, want int) (n int, ok bool, err error) {
	least := int64(min(want, minPiece) + wire.EventCost)
	for {
		w.mu.Lock()
		shut, credit := w.shut, w.credit
		if !shut && credit >= least {
			n = int(min(int64(min(want, maxPiece)), credit-wire.EventCost))
			w.credit -= int64(n + wire.EventCost)
			w.countLocked(n + wire.EventCost)
		} else if !shut && w.wake == nil {
			w.wake = make(chan struct{}, 1)
		}
		wake := w.wake
		w.mu.Unlock()
		switch {
		case shut:
			return 0, false, nil
		case credit >= least:
			return n, true, nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return 0, false, context.Cause(ctx)
		}
	}
}

// spend takes the cost of a piece of n bytes, for which there is room: it is the first one.
func (w *window) spend(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.credit -= int64(n + wire.EventCost)
}

// close lets the sender go on without sending.
func (w *window) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shut = true
	w.signal()
}

// signal wakes take. A send to a nil channel is never chosen.
func (w *window) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}
