package worker

import (
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

// Host gives the workers of a Crew their work. The crew knows their processes, the host what they do.
//
// The crew calls a Host and its Stations without holding its lock. So these may call the crew and its Workers with
// their own lock held: the host's lock comes before the crew's.
type Host interface {
	// Employ returns the host's side of a worker that is about to be started. It is called once for each Worker.
	Employ(Worker) Station
	// Look is called at least every Options.LookEvery, by one goroutine. The host looks after the time limits of its work
	// and returns the load, by which the crew decides how many workers there are.
	Look(now time.Time) Load
	// Stranded says that Crew.Circuit was not Closed a moment ago: no worker will soon take the work that waits.
	Stranded()
}

// Load is what the work of a host is at one moment.
type Load struct {
	Queued  int           // how many requests wait
	Oldest  time.Duration // how long the first of them has been waiting; 0 while more workers would not help it
	Idle    int           // how many workers have no work
	Coldest Worker        // the one that has been idle the longest, nil for none
	IdleFor time.Duration // how long it has been idle
}

// Station is the host's side of one Worker.
//
//	Employ, Ready, {Frame, Relieve}, [Exiting | Broken], {Withdraw | Drain}, Ended
//
// Ended is the last call and always comes. All others may be missing. Frame may come before Ready, which is an error of
// the worker's unless the frame is a LOG. Idle, Relieve, Withdraw and Drain may come at any time before Ended, and more
// than once. Ready changes nothing where Withdraw or Drain was faster.
type Station interface {
	// Ready says that the worker has loaded the application: it may be given work from now on. The goroutine that
	// reads the worker's connection calls it.
	Ready()
	// Frame handles a frame that is not for the group. The frame's buffer is the station's. The goroutine that reads
	// the worker's connection calls it. An error that is ErrProtocol or one of package wire's ends the worker: Broken follows.
	Frame(wire.Frame) error
	// Idle reports whether the worker could be given work now and has none, and since when.
	Idle() (since time.Time, is bool)
	// Relieve says that Worker.Relieved has become true: the worker gets no more work, and goes once it has none. The
	// station then calls Worker.MakeWay.
	Relieve()
	// Withdraw says that the worker gets no more work. What it has is still its own: frames may come.
	Withdraw()
	// Drain is Withdraw for a worker that is told to go now: the station calls Worker.Drain behind the work that it has
	// queued, and Worker.Flush.
	Drain()
	// Exiting says that the worker takes no more work, by its own word. The station withdraws it and takes back what it
	// has not begun. The error says that it must not go now; then it has broken the protocol.
	Exiting() error
	// Broken says that the worker has broken the protocol: no frame comes any more. The station takes all its work back.
	Broken(err error)
	// Ended says that the worker has ended and that all its frames were read. The station takes all its work back. It
	// reports whether the worker has ended at work, and has logged that then.
	Ended(End) (atWork bool)
}

// End is how a worker has ended.
type End struct {
	// Exit is how the process has ended, in words.
	Exit string
	// Reset says that the process had not read all that was written to it.
	Reset bool
}
