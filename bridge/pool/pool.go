// Package pool gives requests to worker processes, one at a time to each. It knows neither the processes, which are
// package worker's, nor the application that a worker runs: the caller provides the command that starts a worker, and the
// request frames.
//
// A request goes to an idle worker, or else into a bounded queue. A worker that has finished takes
// one request from the queue, or under load a batch of requests with safe methods. A batch costs
// one write and one read on either side. A worker that only computes gets its next requests while it is at
// work on one. If a request turns out to be slow, those behind it move to other workers.
//
// One lock, Pool.mu, guards the queue and what each worker is doing. It is never held during I/O. It comes before the
// locks of package worker. Giving a request to a worker and taking its answer takes no lock of the worker.Group's.
//
// A request belongs to the queue, or to a duty of one worker. A worker belongs to its worker.Group. The pool has a station
// for it, and takes back the station's duties when the group says that the worker has ended, or will not answer.
//
// The files, by what they are about:
//
//   - pool.go starts and stops a pool; options.go checks its options; status.go tells what it is doing.
//   - dispatch.go gives requests to workers, crowd.go says to how many at one time, and queue.go is where requests wait; exchange.go is a request with its
//     answer, duty.go a request that a worker has been given; mailbox.go, answer.go and spool.go hold the answer until the
//     client has taken it.
//   - station.go is what the pool has of a worker, state.go what the worker does, and reader.go reads its answers.
//   - limits.go ends what takes too long; parting.go takes the requests of a worker back.
package pool

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
)

// Values of Limits.Retry.
const (
	RetryUnread = "unread"
	RetrySafe   = "safe"
	RetryOff    = "off"
)

// Errors with which a request can end.
var (
	// ErrQueueFull: no worker is free and the queue is full.
	ErrQueueFull = errors.New("no worker is free and the queue is full")
	// ErrQueueTimeout: the request waited too long for a worker.
	ErrQueueTimeout = errors.New("no worker became free in time")
	// ErrNoWorkers: no worker could be started; the next attempt is due later.
	ErrNoWorkers = errors.New("no worker can be started")
	// ErrClosed: the pool is stopping or was never started.
	ErrClosed = worker.ErrClosed
	// ErrWorkerDied: the worker's process ended while it had the request.
	ErrWorkerDied = errors.New("the worker died")
	// ErrTimeout: the worker gave no sign of life for the request timeout.
	ErrTimeout = errors.New("the worker did not answer in time")
	// ErrProtocol: the worker sent something that is not the wire protocol.
	ErrProtocol = worker.ErrProtocol
)

// Pool answers requests with worker processes. New makes one, Start starts it, Do gives it a request and Stop
// ends it.
type Pool struct {
	opt   Options
	group worker.Crew
	log   *slog.Logger
	stall time.Duration // stallTime, except in tests

	// Given gives the workers' user a file of a request in Dir, which a worker opens by its path. It must not be changed.
	Given func(*os.File) error

	mu       sync.Mutex
	started  bool
	closing  bool
	stations map[*station]struct{} // of the workers that have not ended
	idle     []*station            // last in, first out: the warmest serves next
	queue    queue
	crowd    crowd
	stream   uint32
	drained  chan struct{} // nil unless Stop waits; closed when no request is left

	totals    totals
	spooled   atomic.Int64 // bytes of the files of all answers
	spoolTold atomic.Int64 // when a spool that fails was logged last, in Unix nanoseconds

	tasks sync.WaitGroup // every goroutine of the pool, those of the group apart
}

// New returns a pool that has not been started.
func New(opt Options) *Pool {
	opt.setDefaults()
	p := &Pool{opt: opt, stall: stallTime, stations: map[*station]struct{}{}, crowd: crowd{survey: survey{}}}
	p.group = opt.crew(p)
	p.log = p.group.Logger()
	p.Given = p.group.Give // made once, because a method value costs an allocation
	return p
}

// Start starts all workers (MinWorkers, if set) side by side, with Preload after the zygote. It
// returns when they are ready. If one fails, Start stops the others, and the error says why, in the
// worker's own words if there are any.
func (p *Pool) Start(ctx context.Context) error {
	if err := p.group.Start(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	p.started = true
	p.mu.Unlock()
	return nil
}

// Stop refuses new requests, waits for the running ones and asks the workers to end. If ctx ends
// before the workers have, Stop sends them TERM, and KILL a second later at the latest. Processes
// that they have left behind are ended, too, unless these have a process group of their own. Stop
// returns once all processes and goroutines of the pool have ended.
func (p *Pool) Stop(ctx context.Context) error {
	p.mu.Lock()
	if !p.started || p.closing {
		p.mu.Unlock()
		return nil
	}
	p.closing = true
	p.drained = make(chan struct{})
	p.checkDrainedLocked()
	p.mu.Unlock()
	p.group.Close()
	select {
	case <-p.drained:
	case <-ctx.Done():
	}
	p.mu.Lock()
	if p.crowd.watch != nil {
		p.crowd.watch.Stop()
	}
	waiting := p.queue.takeAll()
	p.mu.Unlock()
	for _, x := range waiting {
		x.fail(ErrClosed)
	}
	err := p.group.Stop(ctx)
	p.tasks.Wait()
	return err
}

// checkDrainedLocked wakes Stop if no request is left.
func (p *Pool) checkDrainedLocked() {
	if p.drained == nil || p.queue.len() > 0 {
		return
	}
	for w := range p.stations {
		if w.duties.requests() > 0 {
			return
		}
	}
	select {
	case <-p.drained:
	default:
		close(p.drained)
	}
}

// Reload replaces every worker by one that has loaded the application anew; see worker.Crew.Reload. No request fails or
// is held up.
func (p *Pool) Reload(ctx context.Context) error { return p.group.Reload(ctx) }

// Resize changes the number of workers by n, to one at least; see worker.Crew.Resize.
func (p *Pool) Resize(n int) int { return p.group.Resize(n) }

// RetryAfter estimates when a request that was refused may be tried again.
func (p *Pool) RetryAfter() time.Duration { return p.group.RetryAfter() }

// Dir returns the pool's private directory; "" before Start.
func (p *Pool) Dir() string { return p.group.Dir() }
