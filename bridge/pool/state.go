package pool

import "time"

// State is a stage in the life of a worker.
//
//	Starting --READY--> Ready <--request / answer--> Busy
//	   |                  |                            |
//	   |                  +----- told to go: DRAIN ----+---> Draining
//	   |                  |                            |        |
//	   +------------------+----------------------------+--------+---> Exiting --> Dead
//
// A Draining worker finishes its requests and gets no new ones. A worker is Exiting once it can
// serve no more requests. It may have failed to start, or was told to go while it started. It may
// have announced its end (EXITING). It may have passed a time limit and is being killed. Or its
// process has ended while its last frames are still being read. Draining workers without requests
// and Exiting ones get the kill grace, then they are killed. A Dead worker is not part of the pool
// any more.
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

// isServing reports whether the worker has loaded the application and stays.
func (w *worker) isServing() bool { return w.state == Ready || w.state == Busy }

// leave makes the worker Exiting, once.
func (w *worker) leave(now time.Time) {
	if w.state < Exiting {
		w.state, w.left = Exiting, now
	}
}
