package shared

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
)

// errTooManyLocks is an error that reaches the application.
var errTooManyLocks = errors.New("too many locks are held, or waited for")

// lookAgain is how often one who waits for a lock looks whether the process that holds it is still there.
const lookAgain = 200 * time.Millisecond

// owner is who holds locks: a connection.
type owner interface {
	// hasDied reports whether the process of the connection has ended. A child of it may keep the connection open.
	hasDied() bool
}

// locks are the locks of a space.
//
//	free --acquire--> held --release, releaseAll, the end of hold--> held by the first that waits, or free
type locks struct {
	mu      sync.Mutex
	next    uint64 // the id of the next hold
	held    map[string]*hold
	waiting int
}

// hold is a lock that is held, with those who wait for it.
type hold struct {
	name  string
	id    uint64
	by    owner
	timer *time.Timer
	queue []*waiter
}

// waiter is one who waits for a lock. got is closed with id set once the waiter holds it.
type waiter struct {
	by   owner
	most time.Duration
	id   uint64
	got  chan struct{}
}

func newLocks() *locks { return &locks{held: map[string]*hold{}} }

// acquire takes a lock for the given time at most, and returns the id of the hold. ok is false if it was not free within
// wait. Those who wait get it in the order in which they came.
func (l *locks) acquire(ctx context.Context, by owner, name string, wait, most time.Duration) (id uint64, ok bool, err error) {
	l.mu.Lock()
	h := l.held[name]
	if h != nil && h.by.hasDied() {
		l.passLocked(h)
		h = l.held[name]
	}
	switch {
	case h == nil && len(l.held) >= maxLocks, h != nil && wait > 0 && l.waiting >= maxLocks:
		l.mu.Unlock()
		return 0, false, errTooManyLocks
	case h == nil:
		h = &hold{name: name}
		l.held[name] = h
		id = l.giveLocked(h, by, most)
		l.mu.Unlock()
		return id, true, nil
	case wait <= 0:
		l.mu.Unlock()
		return 0, false, nil
	}
	w := &waiter{by: by, most: most, got: make(chan struct{})}
	h.queue = append(h.queue, w)
	l.waiting++
	l.mu.Unlock()
	return l.await(ctx, h, w, wait)
}

func (l *locks) await(ctx context.Context, h *hold, w *waiter, wait time.Duration) (id uint64, ok bool, err error) {
	late := time.NewTimer(wait)
	defer late.Stop()
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	for {
		select {
		case <-w.got:
			return w.id, true, nil
		case <-look.C:
			l.mu.Lock()
			if l.held[h.name] == h && h.by.hasDied() {
				l.passLocked(h)
			}
			l.mu.Unlock()
			continue
		case <-late.C:
		case <-ctx.Done():
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if i := slices.Index(h.queue, w); i >= 0 {
			h.queue = slices.Delete(h.queue, i, i+1)
			l.waiting--
			return 0, false, nil
		}
		return w.id, true, nil // it was given at this moment
	}
}

// giveLocked gives a lock to by.
func (l *locks) giveLocked(h *hold, by owner, most time.Duration) uint64 {
	l.next++
	id := l.next
	h.id, h.by = id, by
	h.timer = time.AfterFunc(most, func() { l.release(by, id, h.name) })
	return id
}

// passLocked takes a lock from its holder, and gives it to the first that waits.
func (l *locks) passLocked(h *hold) {
	h.timer.Stop()
	if len(h.queue) == 0 {
		delete(l.held, h.name)
		return
	}
	w := h.queue[0]
	h.queue = h.queue[1:]
	l.waiting--
	w.id = l.giveLocked(h, w.by, w.most)
	close(w.got)
}

// release ends a hold, and reports whether it had not ended before.
func (l *locks) release(by owner, id uint64, name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.held[name]
	if h == nil || h.by != by || h.id != id {
		return false
	}
	l.passLocked(h)
	return true
}

// releaseAll ends all holds of an owner that has gone. None of its calls waits any more.
func (l *locks) releaseAll(by owner) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.held {
		if h.by == by {
			l.passLocked(h)
		}
	}
}

func (l *locks) describe(s *status.Space) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Locks, s.Waiting = len(l.held), l.waiting
}
