package lease

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/status"
)

// Control is what a gateway asks of a keeper. A Keeper is one itself. Everything that passes is plain data, so that it can
// be carried to another process. All methods may be called at any time and by several goroutines. An error means that the
// keeper cannot be asked, or does not know the gateway; where a comment says so it is the keeper's own answer.
type Control interface {
	// Attach makes a gateway known by a name that no other one has, and returns the stream of changes. The gateway is
	// attached until ctx ends, or until it is attached again. The first changes are a list of all that is so; Changes.Listed marks its end.
	Attach(ctx context.Context, gateway string) (Stream, error)
	// Report tells what the gateway has of each worker, and its load.
	Report(ctx context.Context, r Report) error
	// Release asks what is to become of a relieved worker with which the gateway has finished.
	Release(ctx context.Context, r Release) (Released, error)
	// Kill ends a worker.
	Kill(ctx context.Context, k Kill) (Killed, error)
	// Weigh checks the memory of a worker that has no work, and returns when that is done.
	Weigh(ctx context.Context, w Weigh) error
	// Reload replaces every worker and returns when the last one gets no more work. The error has the words of a worker that
	// could not be started.
	Reload(ctx context.Context) (Reloaded, error)
	// Resize changes the number of workers.
	Resize(ctx context.Context, r Resize) (Resized, error)
	// Status reports on the processes.
	Status(ctx context.Context) (worker.Status, error)
}

// Stream are the changes for one gateway.
type Stream interface {
	// Next returns the next changes, and waits for them. Changes of the same endpoint may be put together: the last one
	// counts. An error ends the stream.
	Next() (Changes, error)
}

// Changes are what has changed at a keeper since the last ones.
type Changes struct {
	// Position counts the changes; see Reloaded.
	Position  uint64
	Endpoints []Endpoint
	// Listed is set once: the list of what there was when the gateway was attached is complete.
	Listed bool
	// Facts are about the keeper; nil if they have not changed.
	Facts *Facts
	// Records are for the gateway's log. Lost is how many there was no room for.
	Records []Record
	Lost    int
	// Loaded are the names of files of the application.
	Loaded []string
}

// State is what a gateway may do with a worker.
//
//	Serving --> Relieved --> Draining --> Withdrawn --> Ended
//
// Any later state may follow an earlier one, and a Relieved worker may serve again.
type State uint8

const (
	// Serving: the worker can be given work.
	Serving State = iota
	// Relieved: it gets no more work. The gateway calls Release when it has finished with it.
	Relieved
	// Draining: it is to go now. A gateway that is connected relays DRAIN, behind the work that the worker has.
	Draining
	// Withdrawn: it gets no more work, and may still answer what it has.
	Withdrawn
	// Ended: its process has ended. The gateway answers by Report.Ended.
	Ended
)

var stateNames = [...]string{"serving", "relieved", "draining", "withdrawn", "ended"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "state " + strconv.Itoa(int(s))
}

// Kind is the way in which a worker works, by the features of the protocol.
type Kind string

const (
	// Requests is a blocking worker, which serves one gateway at a time.
	Requests Kind = "requests"
	// Scopes is a multiplexing worker, which serves any number.
	Scopes Kind = "scopes"
)

// Endpoint is a worker as gateways see it.
type Endpoint struct {
	Worker     int // its number, counted from 1 in the order of starts
	Generation int // counts the reloads before it was started, from 1
	PID, UID   int // of its process
	Kind       Kind
	// Address is the path of the socket at which it listens, Token what HELLO must repeat.
	Address, Token string
	State          State
	// Quota is how many requests it is still to answer, where Limited is set. The gateway reports when it is used up. The
	// worker serves on until another one has taken its place.
	Quota   int
	Limited bool
	// Weigh asks the gateway to call Control.Weigh before the worker gets more work.
	Weigh bool
	// Exit is how the process has ended, in words, where the state is Ended.
	Exit string
}

// Facts are what a gateway must know of a keeper as a whole.
type Facts struct {
	Circuit    worker.Circuit
	RetryAfter time.Duration // from now on
	UID        int           // of the workers
	// Fixed: their number does not follow the load, so the keeper need not be told at once how many requests wait.
	Fixed bool
}

// Record is a record for the log.
type Record struct {
	Time    time.Time
	Level   int // a slog.Level
	Message string
	Attrs   []Attr
}

// Attr is an attribute of a Record.
type Attr struct{ Key, Value string }

// Handle gives the record to a handler, if that is enabled for its level.
func (r Record) Handle(ctx context.Context, h slog.Handler) error {
	if !h.Enabled(ctx, slog.Level(r.Level)) {
		return nil
	}
	record := slog.NewRecord(r.Time, slog.Level(r.Level), r.Message, 0)
	for _, a := range r.Attrs {
		record.AddAttrs(slog.String(a.Key, a.Value))
	}
	return h.Handle(ctx, record)
}

// Report is what a gateway has of the workers at one moment.
type Report struct {
	Gateway string
	// Closing: the gateway takes no more workers.
	Closing bool
	// Queued, Oldest: how many requests wait for a worker, and how long the first of them has been waiting.
	Queued int
	Oldest time.Duration
	// Workers are those that the gateway is connected to.
	Workers []WorkerReport
	// Ended are workers whose end the gateway was told of, each once.
	Ended []EndReport
}

// WorkerReport is what a gateway has of one worker.
type WorkerReport struct {
	Worker int
	// Served is how many requests it has answered for this gateway, all connections together.
	Served int
	// Idle: it has no work, since the time IdleFor ago.
	Idle    bool
	IdleFor time.Duration
}

// EndReport is what a gateway knows of a worker that has ended.
type EndReport struct {
	Worker int
	Served int
	// AtWork: it has ended while it had work of this gateway, which has logged that.
	AtWork bool
}

// Release is about a worker with which a gateway has finished.
type Release struct {
	Gateway string
	Worker  int
}

// Verdict is what becomes of a worker that was released.
type Verdict uint8

const (
	// Stay: it is to serve on. The gateway ends the connection and makes another one.
	Stay Verdict = iota
	// Leave: another gateway still has it. The gateway ends the connection.
	Leave
	// Go: it ends. The gateway relays DRAIN.
	Go
)

// Released is the answer to Release.
type Released struct{ Verdict Verdict }

// Kill names a worker that is to be ended.
type Kill struct {
	Gateway string
	Worker  int
	Reason  string // for people
	// Request is what it has of this gateway, the oldest of several; nil for none.
	Request *status.Request
	// Broken: it has broken the protocol; else it has passed a time limit.
	Broken bool
	// Silent: the worker has not greeted the gateway for the time For. The keeper kills it unless it may have a reason:
	// another gateway has it, or it still works for one that has gone.
	Silent bool
	For    time.Duration
}

// Killed is the answer to Kill.
type Killed struct{ Killed bool }

// Weigh names a worker whose memory is to be checked.
type Weigh struct{ Worker int }

// Reloaded is the answer to Reload.
type Reloaded struct {
	// Position: a gateway that has seen the changes up to here gives the workers that were replaced no more work.
	Position uint64
}

// Resize changes the number of workers by By, to one at least.
type Resize struct{ By int }

// Resized is how many workers the keeper keeps at rest.
type Resized struct{ Workers int }
