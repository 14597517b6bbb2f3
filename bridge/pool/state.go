package pool

import "github.com/pagi-go/pagi-bridge/bridge/worker"

// State is what a serving worker does.
//
//	Ready --request--> Busy --last answer--> Ready
//	                    |  ^
//	   an answer, BUSY  |  | IDLE, and it has more requests
//	                    v  |
//	                  Cleaning --IDLE--> Ready
//
// A Cleaning worker runs what an application does after its answer. A worker whose memory is being checked between two
// requests is Busy.
type State uint8

const (
	Ready State = iota
	Busy
	Cleaning
)

var stateNames = [...]string{"ready", "busy", "busy"}

// String returns the state as Status tells it: a Cleaning worker is busy.
func (s State) String() string { return stateNames[s] }

// after returns the state of a worker that was Busy or Cleaning and has just sent the end of an answer or IDLE. cleans
// says that it was the end of an answer with BUSY, left how many requests it has not answered yet.
func after(cleans bool, left int) State {
	switch {
	case cleans:
		return Cleaning
	case left > 0:
		return Busy
	}
	return Ready
}

// phase is whether a worker may be given requests.
//
//	hired --READY--> employed --relieved, told to go, lost, broken--> gone
//	  |                                                                ^
//	  +----------------------------------------------------------------+
//
// A worker that is gone may still answer the requests it has.
type phase uint8

const (
	hired phase = iota
	employed
	gone
)

// enter takes the worker to the next phase, where the drawing has an arrow to it, and reports whether it has.
func (p *phase) enter(next phase) bool {
	if *p >= next || *p == gone {
		return false
	}
	*p = next
	return true
}

// stateOf returns a worker's state as Status tells it.
func (w *station) stateOf(process string) string {
	if process == worker.Serving.String() {
		return w.state.String()
	}
	return process
}
