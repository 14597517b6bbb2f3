//go:build linux && (amd64 || arm64 || riscv64)

package perlfork

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// maxSpare is how many processes wait for the next requests of a script at most:
	// one in the beginning, and one more whenever a request had to wait.
	maxSpare = 6
	// replaceAtOnce is how many processes are ordered together while some are left.
	replaceAtOnce = 3
)

// supply hands the processes that a zygote forks to the requests that wait for one, in their order. It orders processes
// ahead of time. Whenever requests wait, at least as many processes are on order.
type supply struct {
	order func(n int) // asks for n processes; must not wait
	most  int         // how many processes there may be at a time, in use or not; 0: any number

	mu      sync.Mutex
	idle    []*child
	waiting []chan *child // each takes one process, or nil
	ordered int           // processes that were asked for and have neither come nor been refused
	since   time.Time     // when the last process came, or the first of ordered was asked for
	count   int           // where most is set: the processes that exist or were asked for
	spare   int           // how many idle processes are to be kept ready
	closed  bool
}

// take returns a process. It returns nil if none comes within patience or before ctx ends, or if none can be forked.
func (s *supply) take(ctx context.Context, patience time.Duration) *child {
	s.mu.Lock()
	if last := len(s.idle) - 1; last >= 0 && !s.closed {
		c := s.idle[last] // the one whose memory is the most likely to be near
		s.idle = s.idle[:last]
		s.fillLocked()
		s.mu.Unlock()
		return c
	}
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	ticket := make(chan *child, 1)
	s.waiting = append(s.waiting, ticket)
	s.spare = min(s.spare+1, maxSpare)
	s.fillLocked()
	s.mu.Unlock()

	timer := time.NewTimer(max(patience, 0))
	defer timer.Stop()
	select {
	case c := <-ticket:
		return c
	case <-timer.C:
	case <-ctx.Done():
	}
	s.mu.Lock()
	if i := slices.Index(s.waiting, ticket); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	}
	s.mu.Unlock()
	select {
	case c := <-ticket: // it came in the same moment
		return c
	default:
		return nil
	}
}

// fillLocked orders the processes that are missing.
func (s *supply) fillLocked() {
	spare := s.spare
	if s.most > 0 {
		spare = 0
	}
	missing := len(s.waiting) + spare - len(s.idle) - s.ordered
	if s.most > 0 {
		missing = min(missing, s.most-s.count)
	}
	if missing <= 0 || s.closed {
		return
	}
	if missing < replaceAtOnce && len(s.idle)+s.ordered > len(s.waiting) {
		return // several are ordered together, later
	}
	if s.ordered == 0 {
		s.since = time.Now()
	}
	s.ordered += missing
	s.count += missing
	s.order(missing)
}

// begin orders the first one.
func (s *supply) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spare = 1
	s.fillLocked()
}

// arrived takes in a process that was forked. asked says whether it was on order, taken whether it is of use.
func (s *supply) arrived(c *child) (asked, taken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ordered == 0 {
		return false, false
	}
	s.ordered--
	s.since = time.Now()
	return true, s.giveLocked(c)
}

// refused is called when a process could not be forked. The request that has waited longest goes without.
func (s *supply) refused() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ordered > 0 {
		s.ordered--
		s.count--
		s.since = time.Now()
	}
	if len(s.waiting) > 0 {
		s.waiting[0] <- nil
		s.waiting = s.waiting[1:]
	}
}

// give takes back a process that is ready for another request, and reports whether
// there can be one.
func (s *supply) give(c *child) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.giveLocked(c)
}

func (s *supply) giveLocked(c *child) bool {
	switch {
	case s.closed:
		return false
	case len(s.waiting) > 0:
		s.waiting[0] <- c
		s.waiting = s.waiting[1:]
	default:
		s.idle = append(s.idle, c)
	}
	return true
}

// lost is called when a process that was in use does not come back: it has ended, or is about to.
func (s *supply) lost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count--
	s.fillLocked()
}

// overdue reports whether processes are on order and none has come for d.
func (s *supply) overdue(d time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ordered > 0 && time.Since(s.since) > d
}

// shrink returns the idle processes but for one. They have not been needed lately; the caller ends them.
func (s *supply) shrink() []*child {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spare = min(s.spare, 1)
	if len(s.idle) < 2 {
		return nil
	}
	rest := slices.Clone(s.idle[1:])
	s.idle = s.idle[:1]
	s.count -= len(rest)
	return rest
}

// close sends away all requests that wait, and returns the idle processes, which the caller ends.
func (s *supply) close() []*child {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, ticket := range s.waiting {
		ticket <- nil
	}
	rest := s.idle
	s.waiting, s.idle = nil, nil
	return rest
}

// state returns how many processes there are, where their number is limited, and how many of all wait for a request.
func (s *supply) state() (count, idle int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.most > 0 {
		count = s.count
	}
	return count, len(s.idle)
}
