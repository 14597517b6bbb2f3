// Package pool runs worker processes that speak the wire protocol: it starts
// them, gives each request to one, recycles, drains and kills them. It knows
// nothing of what a worker runs; how to start one comes from outside, and so do
// the request frames.
//
// A request goes to an idle worker, else into a bounded queue. When a worker has
// finished it takes from the queue: one request, or under load a batch of requests
// with safe methods, which then costs one write and one read on either side. A
// batch whose first request turns out to be slow is taken apart again: what waits
// behind it moves to other workers.
//
// With Preload the workers are forked by a zygote, a process that has loaded what
// they run. It is no worker and serves nothing; a worker that it has forked differs
// from one that was started only in how its process is made and its end is learnt.
//
// One lock, Pool.mu, guards the queue, the set of workers and what each of them is
// doing. It is never held during I/O.
package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// Defaults of Options.
const (
	DefaultWorkers        = 5
	DefaultQueueSize      = 1024
	DefaultQueueTimeout   = 30 * time.Second
	DefaultRequestTimeout = 300 * time.Second
	DefaultStartTimeout   = 60 * time.Second
	DefaultKillGrace      = 5 * time.Second
	DefaultMaxBatch       = 32
	DefaultMemory         = 256 << 10
	DefaultSpool          = 1 << 30
	DefaultIdleTimeout    = 60 * time.Second
	DefaultJitter         = 0.1
)

// Errors a request can end with.
var (
	// ErrQueueFull: no worker is free and the queue is full.
	ErrQueueFull = errors.New("no worker is free and the queue is full")
	// ErrQueueTimeout: the request waited too long for a worker.
	ErrQueueTimeout = errors.New("no worker became free in time")
	// ErrNoWorkers: no worker could be started; the next attempt is due later.
	ErrNoWorkers = errors.New("no worker can be started")
	// ErrClosed: the pool is stopping or was never started.
	ErrClosed = errors.New("the worker pool is closed")
	// ErrWorkerDied: the worker's process ended while it had the request.
	ErrWorkerDied = errors.New("the worker died")
	// ErrTimeout: the worker gave no sign of life for the request timeout.
	ErrTimeout = errors.New("the worker did not answer in time")
	// ErrProtocol: the worker sent something that is not the wire protocol.
	ErrProtocol = errors.New("the worker broke the protocol")
)

// Setup is what a worker needs to know to call back.
type Setup struct {
	// Dir is the pool's private directory (mode 0700).
	Dir string
	// Socket is the path of the Unix socket to connect to.
	Socket string
	// Token is to be repeated in HELLO.
	Token string
	// Worker counts the workers started so far, from 1; 0 for a zygote.
	Worker int
	// Preload is set for a zygote: it loads the application, says so, and forks the
	// workers when it is told to.
	Preload bool
}

// Options configure a Pool. Start is required.
type Options struct {
	// Name stands for the pool in log records: the mount's path.
	Name string
	// Start returns the command that runs a worker and what is written to its
	// standard input. The pool sets the command's process attributes and the
	// other standard streams.
	Start func(Setup) (*exec.Cmd, []byte, error)
	// Preload has one process, the zygote, load the application and fork the workers.
	// It is started by Start, too; where it ends, another one is started, and the
	// workers go on.
	Preload bool
	// Workers is the number of processes; 0 means 5. Instead of it MinWorkers and
	// MaxWorkers say how few and how many there are: one or more are added when
	// requests have been waiting for about 100 ms, and one that had nothing to do
	// for IdleTimeout goes.
	Workers                int
	MinWorkers, MaxWorkers int
	// IdleTimeout is that time, and the least time between adding workers and
	// letting one go; 0 means 60 s.
	IdleTimeout time.Duration
	// QueueSize is how many requests may wait for a worker; 0 means 1024.
	QueueSize int
	// QueueTimeout is how long one may wait; 0 means 30 s.
	QueueTimeout time.Duration
	// RequestTimeout is how long a worker may go without sending anything for
	// the request it has; 0 means 300 s, less than 0 no limit. The worker is then
	// killed. Time during which the client is too slow does not count.
	RequestTimeout time.Duration
	// StartTimeout is how long a worker may take until it is ready; 0 means 60 s.
	StartTimeout time.Duration
	// KillGrace is the time between TERM and KILL; 0 means 5 s.
	KillGrace time.Duration
	// MaxRequests is how many requests a worker serves before another takes its
	// place; 0 means no limit. MaxAge is the same for its age.
	MaxRequests int
	MaxAge      time.Duration
	// Jitter is the part of MaxRequests and MaxAge by which a worker may fall short
	// of them, each by an amount of its own, so that they do not all go at once; 0
	// means 0.1, less than 0 none, and 1 is the most.
	Jitter float64
	// MaxRSS is how many bytes of memory (its resident set) a worker may have
	// between two requests before another takes its place; 0 means no limit. It is
	// looked at once per second. It needs a /proc.
	MaxRSS int64
	// MaxBatch is how many requests with safe methods a worker may be given at
	// once; 0 means 32, 1 turns batches off.
	MaxBatch int
	// Memory is how many bytes of one answer are kept in memory while its client
	// is slow; 0 means 256 KiB. What comes then goes to a temporary file.
	Memory int
	// Spool is how many bytes of one answer may be in that file before the worker
	// has to wait for the client; 0 means 1 GiB, less than 0 no file.
	Spool int64
	// Loaded, where it is not nil, is told the files an application consists of, as
	// its workers find out. It must not block.
	Loaded func(files []string)
	// Logger gets the pool's own records and the workers' output; nil means
	// slog.Default.
	Logger *slog.Logger
}

// Pool is a set of worker processes. Make one with New, start it, give it
// requests with Do, stop it.
type Pool struct {
	opt      Options
	log      *slog.Logger // its records, like the workers', go through a journal
	journals journals
	dir      string
	listener *net.UnixListener

	mu         sync.Mutex
	started    bool
	closing    bool
	workers    map[*worker]struct{}
	tokens     map[string]caller // who has not said hello yet
	idle       []*worker         // last in, first out: the warmest serves next
	queue      queue
	stream     uint32
	steady     int // answers in a row that were not slow
	want       int // how many workers there should be
	least      int // how few, and
	most       int // how many there may be: MinWorkers and MaxWorkers until Resize
	scale      scaling
	weighed    time.Time // when the memory of the workers was last looked at; watch's own
	launched   int
	source     *source   // of the workers to be started
	failures   int       // starts in a row that came to nothing
	nextTry    time.Time // when failures > 0
	failedAt   time.Time // when the last one did
	reason     string    // why the last one did
	open       bool      // the circuit was not closed when it was last looked at
	told       string    // the last reason for a failed start in the log
	toldAt     time.Time
	reloading  *reload // the one that runs
	pending    *reload // the one after it
	generation int     // of the newest source there has been
	drained    chan struct{}
	settled    chan error // nil but during Start: one value for each worker
	nursery    nursery    // with Preload
	remains    remains

	tasks sync.WaitGroup // every goroutine of the pool
	halt  chan struct{}  // closed when the workers are to end
	quit  chan struct{}  // closed when the goroutines are to end
}

// New returns a pool that has not been started.
func New(opt Options) *Pool {
	opt.setDefaults()
	if opt.Logger == nil {
		opt.Logger = slog.Default()
	}
	p := &Pool{
		opt:     opt,
		workers: map[*worker]struct{}{},
		tokens:  map[string]caller{},
		remains: remains{},
		nursery: nursery{all: map[*zygote]struct{}{}},
		halt:    make(chan struct{}),
		quit:    make(chan struct{}),
	}
	p.log = p.journals.logger(opt.Logger).With("mount", opt.Name)
	return p
}

// Start starts all workers (MinWorkers of them) side by side, with Preload after the
// zygote, and returns when they are ready. When one fails, those that were started are
// stopped and the error says why, in the
// worker's own words where it gave any.
func (p *Pool) Start(ctx context.Context) error {
	if err := p.listen(); err != nil {
		return err
	}
	p.mu.Lock()
	p.started = true
	p.source, p.generation = &source{generation: 1}, 1
	p.want, p.least, p.most = p.opt.MinWorkers, p.opt.MinWorkers, p.opt.MaxWorkers
	p.mu.Unlock()
	p.tasks.Go(p.accept)
	err := p.preload(ctx)
	if err == nil {
		p.mu.Lock()
		p.settled = make(chan error, p.want)
		for range p.want {
			p.launchLocked(nil)
		}
		p.mu.Unlock()
		p.tasks.Go(p.watch)
		err = p.awaitStart(ctx)
	}
	p.mu.Lock()
	p.settled = nil
	p.mu.Unlock()
	if err != nil {
		stopCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		cancel()
		err = errors.Join(err, p.Stop(stopCtx))
	}
	return err
}

// awaitStart waits for every worker of the first set, or for the first that fails.
func (p *Pool) awaitStart(ctx context.Context) error {
	for range p.opt.MinWorkers {
		select {
		case err := <-p.settled:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("start the workers: %w", context.Cause(ctx))
		}
	}
	return nil
}

// startedLocked tells Start, if it is waiting, how a worker's start went; it
// reports whether Start was.
func (p *Pool) startedLocked(err error) bool {
	select {
	case p.settled <- err:
		return true
	default: // also while settled is nil
		return false
	}
}

// maxSocketDir is about how long a directory's name may be when there is to be a
// socket in it: the system has 104 to 108 bytes for the whole name.
const maxSocketDir = 95

// listen makes the private directory and the socket in it.
func (p *Pool) listen() error {
	dir, err := os.MkdirTemp("", "pagi-pool-") // mode 0700
	if err != nil {
		return fmt.Errorf("make a directory for the workers: %w", err)
	}
	p.dir = dir
	p.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "socket"), Net: "unix"})
	if err != nil && len(dir) > maxSocketDir {
		err = fmt.Errorf("%w (the directory's name is too long for a socket; set TMPDIR to a shorter one)", err)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("listen for the workers: %w", err), os.RemoveAll(dir))
	}
	return nil
}

// Stop refuses new requests, waits for the running ones, asks the workers to go
// and, when ctx ends before they have, kills them. What they have started and left
// behind is ended, too, unless it is in a process group of its own. It returns once
// all processes and goroutines of the pool have ended.
func (p *Pool) Stop(ctx context.Context) error {
	p.mu.Lock()
	if !p.started || p.closing {
		p.mu.Unlock()
		return nil
	}
	p.closing = true
	p.refuseZygotesLocked()
	p.drained = make(chan struct{})
	p.checkDrainedLocked()
	p.mu.Unlock()

	select {
	case <-p.drained:
	case <-ctx.Done():
	}
	p.mu.Lock()
	waiting := p.queue.takeAll()
	all := make([]*worker, 0, len(p.workers))
	for w := range p.workers {
		all = append(all, w)
		w.retire()
	}
	p.mu.Unlock()
	for _, x := range waiting {
		x.fail(ErrClosed)
	}
	close(p.halt)
	var wg sync.WaitGroup
	for _, w := range all {
		wg.Go(func() { w.stop(ctx) })
	}
	wg.Wait()
	p.stopZygotes(ctx)
	close(p.quit)
	err := p.listener.Close()
	p.tasks.Wait()
	p.endRemains(ctx)
	p.journals.flush()
	return errors.Join(err, os.RemoveAll(p.dir))
}

// checkDrainedLocked tells Stop that no request is left.
func (p *Pool) checkDrainedLocked() {
	if p.drained == nil || p.queue.len() > 0 {
		return
	}
	for w := range p.workers {
		if len(w.inflight) > 0 {
			return
		}
	}
	select {
	case <-p.drained:
	default:
		close(p.drained)
	}
}

// RetryAfter estimates when a request that was refused may be tried again.
func (p *Pool) RetryAfter() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(time.Until(p.nextTry), time.Until(p.nursery.nextTry), time.Second)
}

// Dir returns the pool's private directory; "" before Start.
func (p *Pool) Dir() string { return p.dir }

// accept takes the workers' connections.
func (p *Pool) accept() {
	for {
		conn, err := p.listener.AcceptUnix()
		if err != nil {
			select {
			case <-p.quit:
				return
			default:
			}
			if errors.Is(err, net.ErrClosed) {
				return
			}
			p.log.Error("cannot accept a worker's connection", "error", err)
			select {
			case <-p.quit:
				return
			case <-time.After(100 * time.Millisecond): // out of descriptors, most likely
			}
			continue
		}
		p.tasks.Go(func() { p.greet(conn) })
	}
}
