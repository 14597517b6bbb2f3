package worker

import (
	"sync/atomic"
	"time"
)

// Circuit tells whether the group's workers can be given work at all.
//
//	Closed --no worker serves, and starting one has failed--> Open
//	Open --the time for the next attempt has come--> HalfOpen
//	HalfOpen --it fails--> Open
//	HalfOpen --it is ready--> Closed
//
// While the circuit is not closed a host refuses work at once. In a queue the work
// would hardly get a worker. The group makes one attempt at a time, after 1, 2, 4, 8, 16 and then
// every 30 seconds.
type Circuit uint8

const (
	Closed Circuit = iota
	Open
	HalfOpen
)

var circuitNames = [...]string{"closed", "open", "half-open"}

func (c Circuit) String() string { return circuitNames[c] }

// supply is what the circuit depends on.
type supply struct {
	workers  int  // of all states
	starting int  // workers
	serving  int  // workers
	failing  bool // the last start of a worker has failed
	raising  bool // a zygote is being started
	barren   bool // the last zygote has failed
}

// circuit returns the state of the circuit.
func (s supply) circuit() Circuit {
	switch {
	case s.workers == 0 && !s.raising:
		return Open
	case s.workers == 0 && s.barren:
		return HalfOpen
	case s.workers == 0: // there was a zygote until just now
		return Closed
	case !s.failing, s.serving > 0:
		return Closed
	case s.starting > 0:
		return HalfOpen
	}
	return Open
}

// fuse is what a group keeps of its circuit.
type fuse struct {
	doubt atomic.Bool // the circuit may not be Closed
	open  bool        // whether it was not when that was last checked; guarded by Group.mu
}

// Circuit returns the state of the circuit. It takes the group's lock only where starts have failed or there is no
// worker.
func (g *Group) Circuit() Circuit {
	if !g.fuse.doubt.Load() {
		return Closed
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.circuitLocked()
}

// doubtLocked is called after a change of the failed starts or of the set of workers.
func (g *Group) doubtLocked() { g.fuse.doubt.Store(g.starts.isFailing() || len(g.workers) == 0) }

func (g *Group) circuitLocked() Circuit {
	s := supply{
		workers: len(g.workers), failing: g.starts.isFailing(),
		raising: g.nursery.raising, barren: g.nursery.starts.isFailing(),
	}
	for w := range g.workers {
		switch w.State() {
		case Starting:
			s.starting++
		case Serving:
			s.serving++
		}
	}
	return s.circuit()
}

// noteCircuitLocked returns the log message about a change of the circuit, "" without one.
func (g *Group) noteCircuitLocked() string {
	is := g.circuitLocked() != Closed
	if is == g.fuse.open || g.stage >= closing || g.settled != nil {
		return ""
	}
	g.fuse.open = is
	if is {
		return "no worker can be started: requests are answered 503 until one can be"
	}
	return "workers can be started again"
}

// nextAttemptLocked returns when the group next tries to start workers, or the zygote that forks
// them.
func (g *Group) nextAttemptLocked() time.Time {
	if g.nursery.starts.isFailing() {
		return g.nursery.starts.nextTry
	}
	return g.starts.nextTry
}

// tellCircuit logs a change of the circuit. Call it without the lock.
func (g *Group) tellCircuit(note string, next time.Time) {
	switch {
	case note == "":
	case next.IsZero():
		g.log.Info(note)
	default:
		g.log.Error(note, "next", next.Format(time.TimeOnly))
	}
}
