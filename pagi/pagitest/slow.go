package pagitest

import (
	"context"
	"sync"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// SlowReader puts a buffer between the application and the test, as a network does. The
// application's Send returns at once until high bytes are in the buffer, and then waits until the
// test has taken so much that fewer than low are left. Scope.Transport tells of the buffer. 0
// stands for the marks of a server, 64 KiB and 16 KiB. The last event of a response waits until the
// test has taken all.
//
// The bytes are those of bodies, of event streams as on the wire, and of WebSocket messages. The
// test takes an event by Exchange.Next, EventStream.Next or WebSocket.Receive. Exchange.Finish
// takes all.
//
// The exchange stays in memory, whatever Client.Via is.
func SlowReader(high, low int) Option {
	return func(r *request) { r.slow, r.high, r.low = true, high, low }
}

// backlog is the buffer of a SlowReader.
type backlog struct {
	meter *engine.FlowMeter

	mu      sync.Mutex // guards the rest
	events  []buffered
	changed chan struct{} // closed and replaced when events change
}

type buffered struct {
	event pagi.Event
	size  int
}

func newBacklog(high, low int) *backlog {
	return &backlog{meter: engine.NewFlowMeter(high, low), changed: make(chan struct{})}
}

// change tells those that wait. The caller holds mu.
func (b *backlog) change() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// put adds an event.
func (b *backlog) put(ev pagi.Event, size int) {
	b.mu.Lock()
	b.events = append(b.events, buffered{ev, size})
	b.meter.Count(size)
	b.change()
	b.mu.Unlock()
	b.meter.CallDue()
}

// take returns the oldest event. ok is false if there is none; more is closed when that changes.
func (b *backlog) take() (ev pagi.Event, ok bool, more <-chan struct{}) {
	b.mu.Lock()
	if len(b.events) == 0 {
		defer b.mu.Unlock()
		return nil, false, b.changed
	}
	first := b.events[0]
	b.events = b.events[1:]
	b.meter.Count(-first.size)
	b.mu.Unlock()
	b.meter.CallDue() // before a Send that waits goes on
	b.mu.Lock()
	defer b.mu.Unlock()
	b.change()
	return first.event, true, nil
}

// settle waits while too much is in the buffer; after the last event, while anything is.
func (b *backlog) settle(ctx context.Context, last bool, gone <-chan struct{}) error {
	for {
		b.mu.Lock()
		waiting := b.meter.IsAbove() || last && len(b.events) > 0
		changed := b.changed
		b.mu.Unlock()
		if !waiting {
			return nil
		}
		select {
		case <-changed:
		case <-gone:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
