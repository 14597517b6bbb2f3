package worker

import "time"

// State is a stage in the life of a worker's process.
//
//	Starting --READY--> Serving --told to go: DRAIN--> Draining
//	   |                   |                              |
//	   +-------------------+------------------------------+---> Exiting --> Dead
//
// A Serving worker has work or waits for it. A Draining one finishes what it has and gets no more. A worker is Exiting
// once it can do no more work. It may have failed to start, or was told to go while it started. It
// may have announced its end (EXITING). It may have passed a time limit and is being killed. Or its
// process has ended while its last frames are still being read. An Exiting worker gets the kill grace, then it is
// killed. A Dead worker is not part of the group any more.
type State uint32

const (
	Starting State = iota
	Serving
	Draining
	Exiting
	Dead
)

var stateNames = [...]string{"starting", "serving", "draining", "exiting", "dead"}

func (s State) String() string { return stateNames[s] }

// mayBecome reports whether the drawing has an arrow from s to next.
func (s State) mayBecome(next State) bool {
	switch next {
	case Serving:
		return s == Starting
	case Draining:
		return s == Serving
	case Exiting:
		return s < Exiting
	case Dead:
		return s == Exiting
	}
	return false
}

// State returns the stage that the worker is in. It needs no lock.
func (w *Process) State() State { return State(w.state.Load()) }

// enterLocked takes the worker to the next stage, where the drawing has an arrow to it, and reports whether it has.
func (w *Process) enterLocked(next State) bool {
	if !w.State().mayBecome(next) {
		return false
	}
	w.state.Store(uint32(next))
	return true
}

// leaveLocked makes the worker Exiting, once.
func (w *Process) leaveLocked(now time.Time) {
	if w.enterLocked(Exiting) {
		w.end.left = now
	}
}

// staysLocked reports whether the worker serves, or will, and is not going to be replaced.
func (w *Process) staysLocked() bool {
	return w.State() <= Serving && w.term.successor == nil && !w.term.relieved.Load()
}
