package pool

import (
	"slices"
	"time"
)

// State is where a worker is in its life.
//
//	Starting --READY--> Ready <--request / answer--> Busy
//	   |                  |                            |
//	   |                  +----- told to go: DRAIN ----+---> Draining
//	   |                  |                            |        |
//	   +------------------+----------------------------+--------+---> Exiting --> Dead
//
// A Draining worker finishes what it has and gets nothing new. A worker is Exiting
// once nothing more is to be had from it: it has failed to start or was told to go
// while it did; it has said that it goes (EXITING); it has passed a time limit and is
// being killed; or its process has ended, and what it wrote before is still read.
// Draining ones with nothing left to do and Exiting ones are given the kill grace,
// then they are killed. A Dead worker is not part of the pool any more.
type State uint8

const (
	Starting State = iota
	Ready
	Busy
	Draining
	Exiting
	Dead
)

var stateNames = [...]string{"starting", "ready", "busy", "draining", "exiting", "dead"}

func (s State) String() string { return stateNames[s] }

// WorkerStatus describes one worker at one moment.
type WorkerStatus struct {
	ID    int
	PID   int
	State State
	// Generation counts the reloads before it was started, from 1.
	Generation int
	// Served counts the requests it has answered, Inflight those it has now.
	Served, Inflight int
	// Since is when its process was started, Age how long ago that is.
	Since time.Time
	Age   time.Duration
	// Resident is the memory of its process that is in use, in bytes; 0 where the
	// system does not tell.
	Resident int64
}

// ZygoteStatus describes one zygote at one moment.
type ZygoteStatus struct {
	ID  int
	PID int
	// State is starting, ready, retired (it stays for the workers it has forked) or
	// leaving.
	State string
	// Children is the number of its workers whose end it has not reported.
	Children int
	// Since is when its process was started.
	Since time.Time
}

// Status describes a pool at one moment.
type Status struct {
	// Workers are in the order they were started.
	Workers []WorkerStatus
	// Zygotes are there with Preload: one, and while it is replaced more.
	Zygotes []ZygoteStatus
	// Generation counts the reloads, from 1.
	Generation int
	// Queued is the number of requests that wait for a worker, Oldest how long the
	// first of them has.
	Queued int
	Oldest time.Duration
	// Launched counts the processes started so far.
	Launched int
	Circuit  Circuit
	// StartError is why the last start failed, "" once one has worked.
	// NextStart is when the next attempt is due.
	StartError string
	NextStart  time.Time
}

// Status reports on the pool. It asks the system for the memory of every worker.
func (p *Pool) Status() Status {
	now := time.Now()
	p.mu.Lock()
	s := Status{Queued: p.queue.len(), Launched: p.launched, Circuit: p.circuitLocked()}
	if p.source != nil {
		s.Generation = p.source.generation
	}
	if first := p.queue.peek(); first != nil {
		s.Oldest = now.Sub(first.since)
	}
	if p.failures > 0 {
		s.StartError, s.NextStart = p.reason, p.nextTry
	}
	if p.nursery.failures > 0 {
		s.StartError, s.NextStart = p.nursery.reason, p.nursery.nextTry
	}
	for w := range p.workers {
		s.Workers = append(s.Workers, WorkerStatus{
			ID: w.id, PID: w.pid, State: w.state, Generation: w.source.generation,
			Served: w.served, Inflight: len(w.inflight),
			Since: w.since, Age: now.Sub(w.since),
		})
	}
	for z := range p.nursery.all {
		s.Zygotes = append(s.Zygotes, ZygoteStatus{z.id, z.pid, z.state.String(), len(z.children), z.since})
	}
	p.mu.Unlock()
	slices.SortFunc(s.Zygotes, func(a, b ZygoteStatus) int { return a.ID - b.ID })
	slices.SortFunc(s.Workers, func(a, b WorkerStatus) int { return a.ID - b.ID })
	for i := range s.Workers {
		if w := &s.Workers[i]; w.PID != 0 {
			w.Resident, _ = Resident(w.PID) // 0 is what an error stands for here
		}
	}
	return s
}

// isServing reports whether the worker has loaded the application and stays.
func (w *worker) isServing() bool { return w.state == Ready || w.state == Busy }

// leave makes the worker Exiting, once.
func (w *worker) leave(now time.Time) {
	if w.state < Exiting {
		w.state, w.left = Exiting, now
	}
}
