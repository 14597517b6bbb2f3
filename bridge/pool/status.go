package pool

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/proc"
	"github.com/pagi-go/pagi-bridge/internal/status"
)

// What Status returns is part of what "pagi-bridge status --json" prints; docs/operations.md
// lists the fields.
type (
	// Status describes a pool at one moment.
	Status = status.Backend
	// WorkerStatus describes one worker at one moment.
	WorkerStatus = status.Worker
	// ZygoteStatus describes one zygote at one moment.
	ZygoteStatus = status.Zygote
)

// totals count since New. Without a comment a field is guarded by Pool.mu.
type totals struct {
	requests     int64
	waits        int64
	waited       time.Duration
	restarts     [causes]int64
	failedStarts int64
	errors       status.ErrorCounters // may be used without mu
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

// cause is why a worker is replaced.
type cause uint8

const (
	causeNone cause = iota // as far as one knows
	causeDied
	causeExited
	causeTimedOut
	causeRequests
	causeAge
	causeMemory
	causeReload
	causeSurplus // it is not replaced
	causes
)

// causeOf returns the cause of what is in worker.due.
func causeOf(due string) cause {
	switch due {
	case dueRequests:
		return causeRequests
	case dueAge:
		return causeAge
	case dueMemory:
		return causeMemory
	}
	return causeReload
}

// blameLocked notes why the worker is replaced. The first cause counts.
func (w *worker) blameLocked(c cause) {
	if w.cause == causeNone {
		w.cause = c
	}
}

// countEndLocked counts a worker that has ended; failed says that its start came to nothing. A
// worker that ends with the pool is not counted.
func (p *Pool) countEndLocked(w *worker, failed bool) {
	switch {
	case p.closing:
	case failed:
		p.totals.failedStarts++
	default:
		w.blameLocked(causeDied)
		p.totals.restarts[w.cause]++
	}
}

// waitedLocked counts the time that x, which has just left the queue, was in it.
func (p *Pool) waitedLocked(x *exchange, now time.Time) {
	p.totals.waits++
	p.totals.waited += now.Sub(x.since)
}

// countLocked returns the totals as they are told.
func (p *Pool) countLocked() status.Totals {
	t := &p.totals
	return status.Totals{
		Requests: t.requests, FailedStarts: t.failedStarts, Waits: t.waits, Waited: status.Seconds(t.waited),
		Errors: t.errors.Errors(),
		Restarts: status.Restarts{
			Died: t.restarts[causeDied], Exited: t.restarts[causeExited], TimedOut: t.restarts[causeTimedOut],
			MaxRequests: t.restarts[causeRequests], MaxAge: t.restarts[causeAge], MaxRSS: t.restarts[causeMemory],
			Reload: t.restarts[causeReload],
		},
	}
}

// Status reports on the pool. It asks the system for the memory of every worker.
func (p *Pool) Status() Status {
	now := time.Now()
	p.mu.Lock()
	s := Status{Queued: p.queue.len(), Launched: p.launched, Circuit: p.circuitLocked().String(), Totals: p.countLocked()}
	if p.source != nil {
		s.Generation = p.source.generation
	}
	if first := p.queue.peek(); first != nil {
		s.Oldest = status.Seconds(now.Sub(first.since))
	}
	if p.failures > 0 {
		s.Problem, s.NextStart = p.reason, p.nextTry
	}
	if p.nursery.failures > 0 {
		s.Problem, s.NextStart = p.nursery.reason, p.nursery.nextTry
	}
	for w := range p.workers {
		inflight := w.duties.requests()
		s.Running += inflight
		s.Workers = append(s.Workers, WorkerStatus{
			ID: w.id, PID: w.pid, State: w.state.String(), Generation: w.source.generation,
			Served: w.served, Inflight: inflight, Since: w.since, Request: w.runningLocked(),
		})
	}
	for z := range p.nursery.all {
		s.Zygotes = append(s.Zygotes, ZygoteStatus{ID: z.id, PID: z.pid, State: z.state.String(), Children: len(z.children), Since: z.since})
	}
	p.mu.Unlock()
	slices.SortFunc(s.Zygotes, func(a, b ZygoteStatus) int { return a.ID - b.ID })
	slices.SortFunc(s.Workers, func(a, b WorkerStatus) int { return a.ID - b.ID })
	for i := range s.Workers {
		if w := &s.Workers[i]; w.PID != 0 {
			w.Resident, _ = proc.Resident(w.PID) // 0 is what an error stands for here
		}
	}
	return s
}

// runningLocked describes the request that the worker is busy with, nil for none. A request that
// was taken back is another worker's, and what the application does after its answer is no request
// any more.
func (w *worker) runningLocked() *status.Request {
	d := w.duties.current()
	if d == nil || d.x == nil || w.cleaning {
		return nil
	}
	method, path, _ := strings.Cut(d.label, " ")
	return &status.Request{Method: method, Path: path, ID: d.id, Since: w.begun, ClientLeft: d.x.dropped}
}
