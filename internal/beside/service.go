//go:build unix

package beside

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
)

// The pauses before a service that has ended is started again: they double with each end that follows soon.
const (
	firstPause   = 500 * time.Millisecond
	longestPause = time.Minute
	// settled is how long a service must run so that its next end counts as the first one.
	settled = 10 * time.Second
)

// service keeps a program running.
//
//	waiting --begin--> running --it ends--> paused --after a pause--> running
//	                      \--end--> stopping --> (gone)
type service struct {
	Service
	key  string
	log  *slog.Logger
	now  func() time.Time
	end  context.CancelFunc
	done chan struct{} // closed when it is gone

	mu       sync.Mutex
	state    string
	run      *run // nil: none
	restarts int
	exit     string
	next     time.Time
}

// serveLocked begins with a service once after is closed.
func (s *Set) serveLocked(spec Service, after <-chan struct{}) *service {
	ctx, end := context.WithCancel(s.ctx)
	one := &service{
		Service: spec, key: spec.key(), log: s.log.With("service", spec.Name), now: s.now, end: end, done: make(chan struct{}), state: "waiting",
	}
	s.tasks.Go(func() {
		defer end()
		defer close(one.done)
		select {
		case <-after:
		case <-ctx.Done():
			if after != (<-chan struct{})(s.begin) { // what it replaces must have ended
				<-after
			}
			return
		}
		one.keep(ctx)
	})
	return one
}

// keep runs the program again and again until ctx ends.
func (one *service) keep(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		began := one.now()
		how := one.once(ctx)
		if ctx.Err() != nil {
			break
		}
		if one.now().Sub(began) >= settled {
			pause = firstPause
		}
		one.mu.Lock()
		one.state, one.exit, one.next = "paused", how, one.now().Add(pause)
		one.mu.Unlock()
		one.log.Warn("a service has ended; it is started again", "exit", how, "in", pause.String())
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		pause = min(2*pause, longestPause)
		one.mu.Lock()
		one.restarts++
		one.mu.Unlock()
	}
	one.log.Info("the service is stopped")
}

// once runs the program once, and says how it ended.
func (one *service) once(ctx context.Context) string {
	r, err := one.start(one.log)
	if err != nil {
		return "it cannot be started: " + err.Error()
	}
	one.log.Info("the service runs", "pid", r.Pid())
	one.mu.Lock()
	one.state, one.run, one.next = "running", r, time.Time{}
	one.mu.Unlock()
	defer context.AfterFunc(ctx, func() {
		one.mu.Lock()
		defer one.mu.Unlock()
		one.state = "stopping"
	})()
	exit := r.finish(ctx.Done())
	one.mu.Lock()
	one.run = nil
	one.mu.Unlock()
	return exit.String()
}

// kill kills the program if it was told to end.
func (one *service) kill() {
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.run != nil {
		one.run.kill()
	}
}

func (one *service) status() status.Service {
	one.mu.Lock()
	defer one.mu.Unlock()
	s := status.Service{Service: one.Name, State: one.state, Restarts: one.restarts, LastExit: one.exit, NextStart: one.next}
	if one.run != nil {
		s.PID, s.Since = one.run.Pid(), one.run.since
	}
	return s
}
