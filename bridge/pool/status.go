package pool

import (
	"errors"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/status"
)

// Status describes a pool at one moment. What is in it is part of what "pagi-bridge status --json" prints;
// docs/operations.md lists the fields.
type Status = status.Backend

// totals count since New. Without a comment a field is guarded by Pool.mu.
type totals struct {
	requests int64
	waits    status.WaitCounter // may be used without mu, and so may errors
	errors   status.ErrorCounters
}

// classOf returns the class of a request that ends with err.
func classOf(err error) status.Class {
	var abort *AbortError
	switch {
	case errors.As(err, &abort):
		if abort.Kind == wire.AbortDied {
			return status.Application
		}
		return status.Invalid
	case errors.Is(err, ErrTimeout):
		return status.TimedOut
	case errors.Is(err, ErrQueueFull):
		return status.QueueFull
	case errors.Is(err, ErrQueueTimeout):
		return status.QueueTimeout
	case errors.Is(err, ErrNoWorkers), errors.Is(err, ErrClosed):
		return status.Unavailable
	case errors.Is(err, wire.ErrNUL), errors.Is(err, wire.ErrTooLarge):
		return status.Refused
	}
	return status.Died
}

// countError counts a request that has failed with err, which it returns.
func (p *Pool) countError(err error) error {
	p.totals.errors.Add(classOf(err))
	return err
}

// waitedLocked counts the time that x, which has just left the queue, was in it.
func (p *Pool) waitedLocked(x *exchange, now time.Time) {
	p.totals.waits.Add(now.Sub(x.since))
}

// Status reports on the pool. It asks the system for the memory of every worker.
func (p *Pool) Status() Status {
	s := p.group.Status()
	now := time.Now()
	p.mu.Lock()
	s.Queued, s.AtOnce = p.queue.len(), p.crowd.limit
	if first := p.queue.peek(); first != nil {
		s.Oldest = status.Seconds(now.Sub(first.since))
	}
	stations := map[int]*station{}
	for w := range p.stations {
		stations[w.process.ID()] = w
	}
	for i := range s.Workers {
		told := &s.Workers[i]
		if w := stations[told.ID]; w != nil {
			told.State, told.Inflight, told.Request = w.stateOf(told.State), w.duties.requests(), w.runningLocked()
			s.Running += told.Inflight
		}
	}
	t := &p.totals
	s.Totals.Requests = t.requests
	t.waits.Tell(&s.Totals)
	s.Totals.Errors = t.errors.Errors()
	p.mu.Unlock()
	worker.Resident(&s)
	return s
}

// runningLocked describes the request that the worker is busy with, nil for none. A request that
// was taken back is another worker's, and what the application does after its answer is no request
// any more.
func (w *station) runningLocked() *status.Request {
	d := w.duties.current()
	if d == nil || d.x == nil || w.state == Cleaning {
		return nil
	}
	method, path, _ := strings.Cut(d.label, " ")
	return &status.Request{Method: method, Path: path, ID: d.id, Since: w.begun, ClientLeft: d.x.dropped}
}
