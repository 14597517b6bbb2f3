//go:build unix

package cgi

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"
)

// errStopped is why a script that was still running was killed.
var errStopped = errors.New("the gateway stops and waits no longer")

// afterwards knows the runs there are, those whose answer is complete and whose script works
// on among them. Of these it owns the goroutine, the place and the buffer.
type afterwards struct {
	mu   sync.Mutex
	runs map[*run]chan struct{} // closed when the run has ended
}

// add takes note of a run; ended must be called once nothing of it is left.
func (l *afterwards) add(r *run) (ended func()) {
	done := make(chan struct{})
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.runs == nil {
		l.runs = map[*run]chan struct{}{}
	}
	l.runs[r] = done
	return func() {
		l.mu.Lock()
		delete(l.runs, r)
		l.mu.Unlock()
		close(done)
	}
}

// goneTime is how long runs may take to end that were killed. What keeps one longer is not
// its script.
const goneTime = 2 * time.Second

// wait waits for the runs there are. When ctx ends it kills them.
func (l *afterwards) wait(ctx context.Context) error {
	l.mu.Lock()
	runs := maps.Clone(l.runs)
	l.mu.Unlock()
	for _, done := range runs {
		select {
		case <-done:
			continue
		case <-ctx.Done():
		}
		break
	}
	late := time.NewTimer(goneTime)
	defer late.Stop()
	for r, done := range runs {
		if isClosed(done) {
			continue
		}
		r.end(errStopped)
		r.kill()
	}
	for _, done := range runs {
		select {
		case <-done:
		case <-late.C:
			return errors.New("scripts that were killed have not ended")
		}
	}
	return nil
}
