package worker

import (
	"testing"
	"time"
)

// A start that has failed is forgotten when no worker is missing any more: no further start would
// end the row, and the pool would never grow again.
func TestFailedStartsAreForgottenWhenNoneIsMissing(t *testing.T) {
	s := start(t, Options{Processes: Processes{MinWorkers: 1, MaxWorkers: 3}})
	failed := func(due string) (failures int) {
		s.mu.Lock()
		now := time.Now()
		s.starts.failures, s.starts.failedAt, s.starts.nextTry = 1, now, now.Add(-time.Millisecond)
		for w := range s.workers {
			w.term.due = due
		}
		s.settleLocked(now)
		failures = s.starts.failures
		s.starts.failures = 0
		s.mu.Unlock()
		return failures
	}
	if n := failed(""); n != 0 {
		t.Errorf("%d failed starts are remembered while no worker is missing", n)
	}
	if n := failed(dueAge); n != 1 {
		t.Errorf("%d failed starts are remembered while a worker is to be replaced", n)
	}
}
