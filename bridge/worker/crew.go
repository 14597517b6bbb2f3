package worker

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/outbox"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/status"
)

// Crew is what a Host uses of its set of workers. A Group is a crew whose processes are children of this process.
// Package lease has another one, whose processes belong to an adapter.
type Crew interface {
	// Start returns when the first workers are ready. The error says why they are not, in the worker's own words if there
	// are any. After an error nothing is left to stop.
	Start(ctx context.Context) error
	// Close is the first part of Stop, for a host that waits for its work in between: no worker is taken on any more.
	Close()
	// Stop ends the crew, each worker once it has done its work, and all of them at the end of ctx. It returns when all
	// goroutines of the crew have ended. It does nothing for a crew that was never started, or has been stopped.
	Stop(ctx context.Context) error
	// Reload replaces every worker by one that has loaded the application anew, and returns when the last one gets no more
	// work.
	Reload(ctx context.Context) error
	// Resize changes the number of workers by n, to one at least, and returns how many the crew keeps at rest.
	Resize(n int) int
	// RetryAfter estimates when work that was refused may be tried again: a second at least.
	RetryAfter() time.Duration
	// Circuit returns the state of the circuit. A host may call it with its lock held.
	Circuit() Circuit
	// Dir is a private directory for the host's own files; "" before Start.
	Dir() string
	// Give gives the workers' user a file that the host has made in Dir, so that a worker can open it by its path.
	Give(*os.File) error
	// Status reports on the processes, without their memory; see Resident. A host calls it without its lock.
	Status() Status
	// Logger returns the logger for records about the crew. It never blocks.
	Logger() *slog.Logger
}

// Worker is what a Station uses of its worker. Where a comment does not say otherwise, a method may be called with the
// host's lock held and does not wait.
type Worker interface {
	// ID is the worker's number, counted from 1 in the order of starts.
	ID() int
	// PID is the number of its process. It takes the crew's lock.
	PID() int
	// State is the stage of the worker's life.
	State() State
	// Terms are what the worker and the gateway have agreed on. They are valid from Station.Ready on.
	Terms() wire.Terms
	// Logger returns the logger for records about the worker. It never blocks.
	Logger() *slog.Logger
	// Log logs the text of a LOG frame, at its level, and gives back the frame's buffer.
	Log(*slog.Logger, wire.Frame)

	// Descriptor takes the open file that came with a frame that has the flag DESCRIPTOR. The caller closes it. The goroutine
	// that reads the worker's connection calls it. An error is ErrProtocol.
	Descriptor() (*os.File, error)

	// Queue adds frames to those that the next Flush writes, and returns how many bytes wait. Either may be nil. mark is a
	// number of the host's for them, or 0; see Delivery.
	Queue(mark uint32, first, second []byte) int
	// Flush writes the frames that wait. It may wait while the worker does not read, so no lock should be held. The end of
	// the connection is told to the station.
	Flush()
	// Delivery tells what the worker has got of what was queued.
	Delivery() Delivery
	// Drain queues DRAIN: the worker ends once it has done the work that was queued before.
	Drain()

	// SetPaused says whether the goroutine that reads the worker's connection waits for a slow client. Paused returns what
	// it was told last.
	SetPaused(bool)
	Paused() bool
	// Aborted returns a channel that is closed when the crew stops and cannot wait for slow clients.
	Aborted() <-chan struct{}

	// Served counts a request that the worker has answered.
	Served()
	// MustWeigh reports, once each time, that the host must call Weigh before the worker gets more work. Weigh checks the
	// memory of a worker between two requests. It may wait, and takes the crew's lock.
	MustWeigh() bool
	Weigh()
	// Relieved reports whether the worker is to go as soon as it has no work. MakeWay is then called, with no work left and
	// before a Flush. It reports true unless the worker is to stay after all; the worker must not get more work then.
	Relieved() bool
	MakeWay() bool
	// Kill ends a worker that has passed a time limit of the host's. It reports false if the worker is
	// going already. The station takes the work back itself, and logs why: Broken is not called. Before the worker is ended,
	// it is found out and logged where it was.
	Kill(why Overdue) bool
}

// Overdue is why a worker is ended that has passed a time limit.
type Overdue struct {
	Reason string // for people
	// Request is what the worker had, the oldest of several; nil for none.
	Request *status.Request
}

// Delivery tells which of the queued frames a worker has got, by the marks that Queue was called with.
type Delivery = outbox.Delivery

var (
	_ Crew   = (*Group)(nil)
	_ Worker = (*Process)(nil)
)
