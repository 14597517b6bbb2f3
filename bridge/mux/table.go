package mux

import (
	"fmt"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// table are the open streams of a connection.
type table struct {
	mu     sync.RWMutex
	open   map[uint32]*stream
	last   uint32 // the highest number so far
	closed bool

	// The streams whose inbox is patient, by their age: those that were opened since the timer was started, and those before.
	young, older []uint32
	aging        *time.Timer // nudges the older ones; nil until the first stream
}

// nudgeTime is how old a request becomes, or twice that, before the end of its context is noticed at once.
const nudgeTime = 50 * time.Millisecond

func (t *table) init() { t.open = map[uint32]*stream{} }

func (t *table) get(id uint32) *stream {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.open[id]
}

// isKnown reports whether a stream has had this number.
func (t *table) isKnown(id uint32) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return id > 0 && id <= t.last
}

func (t *table) len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.open)
}

// oldest returns the stream of a request that has been open for the longest time, nil for none.
func (t *table) oldest() (first *stream) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for id, s := range t.open {
		if s.kind != pagi.TypeLifespan && (first == nil || id < first.id) {
			first = s
		}
	}
	return first
}

func (t *table) remove(id uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, id)
}

// openNext opens a stream with the next number. There are at most limit.
func (t *table) openNext(limit int, make func(id uint32) *stream) (*stream, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed, t.last == 1<<32-1:
		return nil, ErrClosed
	case len(t.open) >= limit:
		return nil, ErrBusy
	}
	t.last++
	s := make(t.last)
	t.open[s.id] = s
	if s.in.patient {
		t.ageLocked(s.id)
	}
	return s, nil
}

// ageLocked has a stream nudged when it gets older.
func (t *table) ageLocked(id uint32) {
	if t.aging == nil {
		t.aging = time.AfterFunc(nudgeTime, t.age)
	} else if len(t.young)+len(t.older) == 0 {
		t.aging.Reset(nudgeTime)
	}
	t.young = append(t.young, id)
}

// age nudges the older streams that are still open.
func (t *table) age() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range t.older {
		if s := t.open[id]; s != nil {
			s.in.nudge()
		}
	}
	t.young, t.older = t.older[:0], t.young
	if len(t.older) > 0 && !t.closed {
		t.aging.Reset(nudgeTime)
	}
}

// giveBack undoes openNext, before another stream was opened.
func (t *table) giveBack(s *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, s.id)
	t.last--
}

// openAs opens a stream whose number the other side has chosen.
func (t *table) openAs(id uint32, limit int, s *stream) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return ErrClosed
	case id <= t.last:
		return fmt.Errorf("%w: stream %d after stream %d", ErrProtocol, id, t.last)
	case len(t.open) >= limit:
		return fmt.Errorf("%w: more than %d streams", ErrProtocol, limit)
	}
	t.last = id
	t.open[id] = s
	return nil
}

// all returns the open streams.
func (t *table) all() []*stream {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.listLocked()
}

// closeAll returns the open streams, and lets no other be opened.
func (t *table) closeAll() []*stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.aging != nil {
		t.aging.Stop()
	}
	return t.listLocked()
}

func (t *table) listLocked() []*stream {
	list := make([]*stream, 0, len(t.open))
	for _, s := range t.open {
		list = append(list, s)
	}
	return list
}
