//go:build unix

package cgi

import (
	"context"
	"errors"
	"maps"
	"sync"
)

// errStopped is why a script that worked on after its answer was killed.
var errStopped = errors.New("the gateway stops and waits no longer")

// afterwards owns the runs whose answer is complete and whose script works on:
// their goroutines, their places and their buffers.
type afterwards struct {
	mu   sync.Mutex
	runs map[*run]chan struct{} // closed when the run has ended
}

// take calls finish, which ends r, in a goroutine of its own.
func (l *afterwards) take(r *run, finish func()) {
	done := make(chan struct{})
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.runs == nil {
		l.runs = map[*run]chan struct{}{}
	}
	l.runs[r] = done
	go func() {
		defer close(done)
		finish()
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.runs, r)
	}()
}

// wait waits for the runs there are. When ctx ends it kills them.
func (l *afterwards) wait(ctx context.Context) error {
	l.mu.Lock()
	runs := maps.Clone(l.runs)
	l.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		for r := range runs {
			r.end(errStopped)
			r.kill()
		}
	})
	defer stop()
	for _, done := range runs {
		<-done
	}
	return nil
}
