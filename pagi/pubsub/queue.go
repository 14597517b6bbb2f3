package pubsub

import (
	"context"
	"sync"
)

// Policy says what happens to a Queue that is full when a message comes.
type Policy uint8

const (
	// DropOldest drops the oldest messages of the Queue.
	DropOldest Policy = iota
	// Shed ends the Queue with ErrSlow and drops all of its messages.
	Shed
)

// Defaults of Limits.
const (
	DefaultQueueMessages = 256
	DefaultQueueBytes    = 1 << 20
)

// Limits bound a Queue.
type Limits struct {
	// Messages is how many messages may wait; 0 means DefaultQueueMessages.
	Messages int
	// Bytes is how many bytes of messages may wait, with 64 for each message besides its texts; 0
	// means DefaultQueueBytes. One message may always wait.
	Bytes int
	// Policy is for a Queue that is full.
	Policy Policy
	// Ended is called once when the Queue ends for another reason than its own Close, with the error
	// that Next returns. The publisher calls it, so it must not block nor use the Broker. A
	// context.CancelCauseFunc fits.
	Ended func(error)
}

// Queue holds the messages that a subscriber has not taken yet. Messages that were kept for a new
// subscriber do not count in its limits: the bounds of the History are theirs. Only one goroutine
// may call Next; the other methods are safe for concurrent use. Must not be copied.
type Queue struct {
	limits Limits
	ready  chan struct{} // has a token when there may be something for Next

	mu      sync.Mutex
	waiting []entry // from head on
	head    int
	count   int // of live entries
	bytes   int // of live entries
	dropped uint64
	end     error // nil: not ended
}

// entry is a message that waits. One that is not live was kept for the subscriber.
type entry struct {
	*Message
	live bool
}

// keptEntries is how many entries the array of an empty Queue may have.
const keptEntries = 16

// NewQueue returns an empty Queue.
func NewQueue(limits Limits) *Queue {
	if limits.Messages <= 0 {
		limits.Messages = DefaultQueueMessages
	}
	if limits.Bytes <= 0 {
		limits.Bytes = DefaultQueueBytes
	}
	return &Queue{limits: limits, ready: make(chan struct{}, 1)}
}

// Next returns the next message and waits for it. The error is the cause of ctx, ErrSlow, or
// ErrClosed. A Queue that its Broker has closed first gives what is in it.
func (q *Queue) Next(ctx context.Context) (Message, error) {
	for {
		if ctx.Err() != nil {
			return Message{}, context.Cause(ctx)
		}
		m, err := q.take()
		switch {
		case err != nil:
			return Message{}, err
		case m != nil:
			return *m, nil
		}
		select {
		case <-q.ready:
		case <-ctx.Done():
		}
	}
}

// take returns the next message, nil if there is none.
func (q *Queue) take() (*Message, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.head == len(q.waiting) {
		return nil, q.end
	}
	return q.pop(), nil
}

// pop removes the first entry. mu is held.
func (q *Queue) pop() *Message {
	e := q.waiting[q.head]
	q.waiting[q.head] = entry{}
	q.head++
	if e.live {
		q.count--
		q.bytes -= e.size()
	}
	if q.head == len(q.waiting) {
		q.head = 0
		if q.waiting = q.waiting[:0]; cap(q.waiting) > keptEntries {
			q.waiting = nil
		}
	}
	return e.Message
}

// Push adds a message, which must not change any more. It does not wait, and reports whether the
// Queue goes on. It is for Brokers.
func (q *Queue) Push(m *Message) bool {
	q.mu.Lock()
	if q.end != nil {
		q.mu.Unlock()
		return false
	}
	size := m.size()
	if q.isFull(size) && q.limits.Policy == Shed {
		q.finish(ErrSlow)
		q.mu.Unlock()
		q.tell(ErrSlow)
		return false
	}
	for q.isFull(size) {
		q.pop()
		q.dropped++
	}
	q.add(entry{m, true})
	q.count++
	q.bytes += size
	q.mu.Unlock()
	q.wake()
	return true
}

// isFull reports whether there is no room for a message. mu is held.
func (q *Queue) isFull(size int) bool {
	return q.count > 0 && (q.count >= q.limits.Messages || q.bytes+size > q.limits.Bytes)
}

// Replay adds messages that were kept for the subscriber. It is for Brokers.
func (q *Queue) Replay(messages []*Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.end != nil || len(messages) == 0 {
		return
	}
	for _, m := range messages {
		q.add(entry{m, false})
	}
	q.wake()
}

// add appends an entry, to the front part of the array if that is free. mu is held.
func (q *Queue) add(e entry) {
	if q.head > 0 && len(q.waiting) == cap(q.waiting) {
		n := copy(q.waiting, q.waiting[q.head:])
		clear(q.waiting[n:])
		q.waiting, q.head = q.waiting[:n], 0
	}
	q.waiting = append(q.waiting, e)
}

func (q *Queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// Close ends the Queue and drops its messages. Next returns ErrClosed then.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.end == nil {
		q.finish(ErrClosed)
	}
}

// finish ends the Queue without its messages. mu is held.
func (q *Queue) finish(err error) {
	q.end = err
	q.waiting, q.head, q.count, q.bytes = nil, 0, 0, 0
	q.wake()
}

// End ends the Queue behind its messages: Next returns err when it has returned them. It is for
// Brokers that close.
func (q *Queue) End(err error) {
	q.mu.Lock()
	first := q.end == nil
	if first {
		q.end = err
		q.wake()
	}
	q.mu.Unlock()
	if first {
		q.tell(err)
	}
}

func (q *Queue) tell(err error) {
	if q.limits.Ended != nil {
		q.limits.Ended(err)
	}
}

// Dropped returns how many messages DropOldest has dropped.
func (q *Queue) Dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// Len returns how many messages wait, and how many bytes they count in the limits. Messages that
// were kept for the subscriber count as messages.
func (q *Queue) Len() (messages, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting) - q.head, q.bytes
}
