package mux

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pagi-go/pagi-bridge/bridge/internal/buffer"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

// inbox holds the events of one stream that have come and were not taken yet. The connection's
// reader puts them in and never waits. The stream's own goroutine takes them out.
//
//	receiving ── end ──> ended: what is there can be taken, nothing more comes
//	    │                  │
//	    └────── drop ──────┴──> dropped: what is there and what comes is thrown away
type inbox struct {
	window  int // what the other side may send before it gets credit
	message int // the largest event

	mu      sync.Mutex
	items   []item
	few     [3]item // the memory of items, while they are few: those of a short answer
	parts   []byte  // of an event that is not complete
	used    int     // how much of the window is in use: by events that were not taken, by pending and owed
	pending int     // credit for events that were taken
	owed    int     // credit for parts that came while earlier events were not taken
	end     *ending
	onEnd   func(ending)
	dropped bool

	wake chan struct{} // capacity 1: something has come, or nudge was called

	// patient has next look at its context only after nudge. Watching a context costs more time than most answers take.
	patient bool
	nudged  atomic.Bool
}

// item is one event: its payload, the buffer of the frame that holds it unless it is nil, what its frames have cost, and its
// descriptor if it has one.
type item struct {
	payload []byte
	buffer  *[]byte
	cost    int
	file    *os.File
}

// ending is how the other side has ended its half of a stream: END or DISCONNECT.
type ending struct {
	// code is the kind of END, or the code of DISCONNECT.
	code int
	// text is the message or the reason.
	text string
	// err is set where the connection has ended, and the stream with it.
	err error
}

func (b *inbox) init(window, message int) {
	b.window, b.message = window, message
	b.wake = make(chan struct{}, 1)
}

// push takes an EVENT frame. It returns the credit that must be granted at once. That is for parts: their
// receiver must get the whole event before it can take it. While earlier events wait, parts wait for
// their credit, too, so that a stream holds one large event at a time. The error is a violation of the
// protocol.
func (b *inbox) push(frame wire.Frame, file *os.File) (grant int, err error) {
	cost := len(frame.Payload) + wire.EventCost
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+cost > b.window {
		closeFile(file)
		buffer.Put(frame.Buffer)
		return 0, fmt.Errorf("%w: an EVENT of %d bytes where the window has %d", ErrProtocol, cost, b.window-b.used)
	}
	if b.dropped || b.end != nil {
		closeFile(file)
		buffer.Put(frame.Buffer)
		return 0, nil // the other side has been told that the stream ends
	}
	b.used += cost
	if frame.Has(wire.FlagPart) || b.parts != nil {
		if len(b.parts)+len(frame.Payload) > b.message {
			closeFile(file)
			buffer.Put(frame.Buffer)
			return 0, fmt.Errorf("%w: an event of more than %d bytes", ErrProtocol, b.message)
		}
		b.parts = append(b.parts, frame.Payload...)
		buffer.Put(frame.Buffer)
		frame.Buffer = nil
		if frame.Has(wire.FlagPart) {
			closeFile(file) // a file's event is small; its descriptor comes with the last part
			b.owed += cost
			return b.payOwedLocked(), nil
		}
		frame.Payload, b.parts = b.parts, nil
	}
	if b.holdsTooMuch(frame) {
		whole := frame.Buffer
		frame.Payload, frame.Buffer = slices.Clone(frame.Payload), nil
		buffer.Put(whole)
	}
	if b.items == nil {
		b.items = b.few[:0]
	}
	b.items = append(b.items, item{frame.Payload, frame.Buffer, cost, file})
	b.signal()
	return 0, nil
}

// smallEvent is up to which size an event is copied out of its frame's buffer.
const smallEvent = 1 << 10

// holdsTooMuch reports whether the buffer of an event is much larger than the event, so that the window, which counts
// bytes of events, would not bound the memory of a stream whose receiver is behind.
func (b *inbox) holdsTooMuch(frame wire.Frame) bool {
	n := len(frame.Payload)
	return frame.Buffer != nil && 2*n < cap(*frame.Buffer) && (n <= smallEvent || len(b.items) > 0)
}

// payOwedLocked returns the credit for parts if all earlier events were taken.
func (b *inbox) payOwedLocked() (grant int) {
	if b.used > b.pending+b.owed {
		return 0
	}
	grant, b.owed = b.owed, 0
	b.used -= grant
	return grant
}

// finish tells that nothing more comes. Only the first ending counts; finish reports whether this one is it.
func (b *inbox) finish(e ending) bool {
	b.mu.Lock()
	onEnd, first := b.onEnd, b.end == nil
	if !first {
		onEnd = nil
	} else {
		b.end, b.parts = &e, nil
		b.signal()
	}
	b.mu.Unlock()
	if onEnd != nil {
		onEnd(e)
	}
	return first
}

// atEnd has f called with the ending, at once if it has come already. f must not wait.
func (b *inbox) atEnd(f func(ending)) {
	b.mu.Lock()
	end := b.end
	if end == nil {
		b.onEnd = f
	}
	b.mu.Unlock()
	if end != nil {
		f(*end)
	}
}

// ended returns how the other side has ended, or nil, without waiting.
func (b *inbox) ended() *ending {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.end
}

// next returns the next event, or the ending behind the last one. The error is that of ctx.
func (b *inbox) next(ctx context.Context) (item, *ending, error) {
	for {
		b.mu.Lock()
		if len(b.items) > 0 {
			it := b.items[0]
			b.items[0] = item{}
			if b.items = b.items[1:]; len(b.items) == 0 {
				b.items = nil
			}
			b.mu.Unlock()
			return it, nil, nil
		}
		end := b.end
		b.mu.Unlock()
		if end != nil {
			return item{}, end, nil
		}
		if b.patient && !b.nudged.Load() {
			<-b.wake
			continue
		}
		select {
		case <-b.wake:
		case <-ctx.Done():
			return item{}, nil, context.Cause(ctx)
		}
	}
}

// nudge has next look at its context from now on.
func (b *inbox) nudge() {
	if !b.nudged.Swap(true) {
		b.signal()
	}
}

// taken counts an event that the stream is done with. It returns the credit to be granted: when all
// that came was taken all that is due, else when half of the window is.
func (b *inbox) taken(it item) (grant int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pending += it.cost
	if b.end != nil || b.used > b.pending+b.owed && b.pending < b.window/2 {
		return 0
	}
	grant, b.pending = b.pending, 0
	b.used -= grant
	return grant + b.payOwedLocked()
}

// drop throws away what is there and what comes.
func (b *inbox) drop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dropped = true
	for _, it := range b.items {
		closeFile(it.file)
		buffer.Put(it.buffer)
	}
	clear(b.items) // they may be in few, which lives on
	b.items, b.parts = nil, nil
}

func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func closeFile(f *os.File) {
	if f != nil {
		_ = f.Close() // only received
	}
}
