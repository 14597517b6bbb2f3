//go:build unix

package cgi

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// limiter hands out places to run in. A nil limiter has no limit.
type limiter struct {
	places   chan struct{}
	option   string // that says how many there are
	queue    int64  // how many may wait
	waiting  atomic.Int64
	counters *counters // of the mount
}

// newLimiter returns a limiter of n places, nil where n is no limit.
func newLimiter(n, queue int, option string, c *counters) *limiter {
	if n <= 0 {
		return nil
	}
	return &limiter{places: make(chan struct{}, n), option: option, queue: int64(queue), counters: c}
}

var (
	errBusy      = errors.New("no place became free")
	errQueueFull = errors.New("requests wait already")
)

// acquire waits for a place until deadline. The error is a 503, or why ctx ended.
func (l *limiter) acquire(ctx context.Context, deadline time.Time) error {
	if l == nil {
		return nil
	}
	select {
	case l.places <- struct{}{}:
		return nil
	default:
	}
	defer l.waiting.Add(-1)
	if l.waiting.Add(1) > l.queue {
		return unavailable(fmt.Errorf("cgi: %d scripts are running (option %s) and %d %w (option queue_size)", cap(l.places), l.option, l.queue, errQueueFull))
	}
	begin := time.Now()
	defer l.counters.wait(begin)()
	timer := time.NewTimer(deadline.Sub(begin))
	defer timer.Stop()
	select {
	case l.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cgi: while waiting for a place to run: %w", context.Cause(ctx))
	case <-timer.C:
		return unavailable(fmt.Errorf("cgi: %d scripts are running (option %s) and after %v %w (option queue_timeout)",
			cap(l.places), l.option, max(deadline.Sub(begin), 0).Round(time.Millisecond), errBusy))
	}
}

func (l *limiter) release() {
	if l != nil {
		<-l.places
	}
}

// admission is how many scripts may run at the same time, in a mount or a directory of one.
type admission struct {
	places  *limiter       // nil: there are those of outer only
	scripts *scriptLimiter // for each script
	outer   *admission     // of what encloses the directory; nil for the mount
}

// acquire waits for a place for a script, for patience at most: first among the runs of the same script, then in
// the directories that enclose it, in the mount last. So a request that waits for a narrow place holds no wide one. The
// places are given back by release.
func (a *admission) acquire(ctx context.Context, file string, patience time.Duration) error {
	deadline := time.Now().Add(max(patience, 0))
	script := a.scripts.take(file)
	if err := script.acquire(ctx, deadline); err != nil {
		a.scripts.leave(file)
		return err
	}
	for at := a; at != nil; at = at.outer {
		if err := at.places.acquire(ctx, deadline); err != nil {
			a.releaseTo(at, file, script)
			return err
		}
	}
	return nil
}

// release gives back the places of a run of a script.
func (a *admission) release(file string) { a.releaseTo(nil, file, a.scripts.of(file)) }

// releaseTo gives back what was acquired before the place in end.
func (a *admission) releaseTo(end *admission, file string, script *limiter) {
	for at := a; at != end; at = at.outer {
		at.places.release()
	}
	script.release()
	a.scripts.leave(file)
}

// scriptLimiter has a limiter for every script that runs or waits.
type scriptLimiter struct {
	places   int // 0: no limit
	queue    int
	counters *counters // of the mount

	mu  sync.Mutex
	all map[string]*scriptPlaces
}

type scriptPlaces struct {
	limiter *limiter
	users   int
}

// take returns the script's limiter, nil for none. It stays until as many calls of
// leave.
func (l *scriptLimiter) take(file string) *limiter {
	if l.places == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[string]*scriptPlaces{}
	}
	p := l.all[file]
	if p == nil {
		p = &scriptPlaces{limiter: newLimiter(l.places, l.queue, "script_concurrency", l.counters)}
		l.all[file] = p
	}
	p.users++
	return p.limiter
}

// of returns the limiter of a script that was taken.
func (l *scriptLimiter) of(file string) *limiter {
	if l.places == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all[file].limiter
}

func (l *scriptLimiter) leave(file string) {
	if l.places == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.all[file]
	if p.users--; p.users == 0 {
		delete(l.all, file)
	}
}

// unavailable is a 503 that asks the client to come again.
func unavailable(err error) error {
	return &pagi.StatusError{
		Status:  503,
		Message: "The server is busy. Please try again in a moment.",
		Headers: pagi.NewHeaders("retry-after", "1"),
		Err:     err,
	}
}
