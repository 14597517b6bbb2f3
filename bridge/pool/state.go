package pool

import (
	"slices"
	"time"
)

// State is where a worker is in its life.
//
//	Starting --READY--> Ready <--request / answer--> Busy
//	   |                  |                            |
//	   |                  +---- retire: DRAIN ----> Draining
//	   |                  |                            |
//	   +---- failed, late, told to go, EXITING ----> Exiting --process ended--> Dead
//
// A Draining worker finishes what it has and gets nothing new. An Exiting one has
// failed to start, has been told to go while it did, or has said that it goes. Both
// are given the kill grace once they have nothing left to do, then they are killed.
// From any state the process may end by itself: it is Exiting then until the last
// it has written has been read.
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
	// Served counts the requests it has answered.
	Served int
	// Since is when its process was started.
	Since time.Time
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
	Workers []WorkerStatus
	// Zygotes are there with Preload: one, and while it is replaced more.
	Zygotes []ZygoteStatus
	// Queued is the number of requests that wait for a worker.
	Queued int
	// Launched counts the processes started so far.
	Launched int
}

// Status reports on the pool; workers are in the order they were started.
func (p *Pool) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Status{Queued: p.queue.len(), Launched: p.launched}
	for w := range p.workers {
		s.Workers = append(s.Workers, WorkerStatus{w.id, w.pid, w.state, w.served, w.since})
	}
	for z := range p.nursery.all {
		s.Zygotes = append(s.Zygotes, ZygoteStatus{z.id, z.pid, z.state.String(), len(z.children), z.since})
	}
	slices.SortFunc(s.Zygotes, func(a, b ZygoteStatus) int { return a.ID - b.ID })
	slices.SortFunc(s.Workers, func(a, b WorkerStatus) int { return a.ID - b.ID })
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
