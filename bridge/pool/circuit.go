package pool

import (
	"time"
)

// Circuit tells whether the pool passes requests to its workers at all.
//
//	Closed --no worker serves, and starting one has failed--> Open
//	Open --the time for the next attempt has come--> HalfOpen
//	HalfOpen --it fails--> Open
//	HalfOpen --it is ready--> Closed
//
// While the circuit is not closed every request fails with ErrNoWorkers at once. In the queue it
// would hardly get a worker. The pool makes one attempt at a time, after 1, 2, 4, 8, 16 and then
// every 30 seconds.
type Circuit uint8

const (
	Closed Circuit = iota
	Open
	HalfOpen
)

var circuitNames = [...]string{"closed", "open", "half-open"}

func (c Circuit) String() string { return circuitNames[c] }

// circuitLocked returns the state of the circuit. Only requests that found no idle worker ask for
// it.
func (p *Pool) circuitLocked() Circuit {
	if len(p.workers) == 0 {
		switch {
		case !p.nursery.raising:
			return Open
		case p.nursery.failures > 0:
			return HalfOpen
		}
		return Closed // there was a zygote until just now
	}
	if p.failures == 0 {
		return Closed
	}
	circuit := Open
	for w := range p.workers {
		switch w.state {
		case Ready, Busy:
			return Closed
		case Starting:
			circuit = HalfOpen
		}
	}
	return circuit
}

// noteCircuitLocked returns the log message about a change of the circuit, "" without one.
func (p *Pool) noteCircuitLocked() string {
	is := p.circuitLocked() != Closed
	if is == p.open || p.closing || p.settled != nil {
		return ""
	}
	p.open = is
	if is {
		return "no worker can be started: requests are answered 503 until one can be"
	}
	return "workers can be started again"
}

// nextAttemptLocked returns when the pool next tries to start workers, or the zygote that forks
// them.
func (p *Pool) nextAttemptLocked() time.Time {
	if p.nursery.failures > 0 {
		return p.nursery.nextTry
	}
	return p.nextTry
}

// tellCircuit logs a change of the circuit. Call it without the lock.
func (p *Pool) tellCircuit(note string, next time.Time) {
	switch {
	case note == "":
	case next.IsZero():
		p.log.Info(note)
	default:
		p.log.Error(note, "next", next.Format(time.TimeOnly))
	}
}
