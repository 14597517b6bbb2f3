// Package pool runs worker processes that speak the wire protocol. It starts them, gives each
// request to one, and recycles, drains and kills them. It does not know the application that a
// worker runs: the caller provides the command that starts a worker, and the request frames.
//
// A request goes to an idle worker, or else into a bounded queue. A worker that has finished takes
// one request from the queue, or under load a batch of requests with safe methods. A batch costs
// one write and one read on either side. If its first request turns out to be slow, the batch is
// taken apart: the requests behind it move to other workers.
//
// With Preload the workers are forked by a zygote, a process that has loaded the application. The
// zygote itself serves no requests. A forked worker differs from a started one in two points only:
// how its process is made, and how the pool learns of its end.
//
// One lock, Pool.mu, guards the queue, the set of workers and what each of them is
// doing. It is never held during I/O.
//
// The files, by what they are about:
//
//   - pool.go starts and stops a pool; options.go checks its options; state.go tells what it is doing.
//   - dispatch.go gives requests to workers; exchange.go is a request with its answer, duty.go a request that a worker
//     has been given; mailbox.go, answer.go, spool.go and buffers.go hold the answer until the client has taken it.
//   - peer.go is a process with its connection, which connection.go introduces; worker.go is one that serves requests,
//     and reader.go reads what it sends.
//   - spawn.go starts a process, with package internal/proc; fork.go has a zygote fork one; output.go and fifo.go read
//     what it prints, and journal.go logs that.
//   - zygote.go is the process that forks workers; nursery.go keeps one at work.
//   - replace.go, recycle.go and circuit.go start workers in the place of others, scale.go more or fewer of them.
//   - reload.go brings in workers with new code; source.go is where a generation of workers comes from; loaded.go
//     tells which files the application consists of.
//   - remains.go ends what workers leave behind.
package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/accept"
	"github.com/pagi-go/pagi-bridge/internal/private"
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
	ErrClosed = errors.New("the worker pool is closed")
	// ErrWorkerDied: the worker's process ended while it had the request.
	ErrWorkerDied = errors.New("the worker died")
	// ErrTimeout: the worker gave no sign of life for the request timeout.
	ErrTimeout = errors.New("the worker did not answer in time")
	// ErrProtocol: the worker sent something that is not the wire protocol.
	ErrProtocol = errors.New("the worker broke the protocol")
)

// Setup is what a process needs to connect to the pool.
type Setup struct {
	// Dir is the pool's private directory (mode 0700).
	Dir string
	// Socket is the path of the Unix socket to connect to.
	Socket string
	// Token is the secret that the process must repeat in HELLO.
	Token string
	// Worker is the worker's number, counted from 1 in the order of starts; 0 for a zygote.
	Worker int
	// Preload is set for a zygote. A zygote loads the application, reports READY, and forks a
	// worker each time the pool asks.
	Preload bool
}

// Pool is a set of worker processes. New makes one, Start starts it, Do gives it a request and Stop
// ends it.
type Pool struct {
	opt      Options
	log      *slog.Logger // the records of the pool and the workers go through a journal
	journals journals
	dir      string       // the path of private
	private  *private.Dir // a directory for this pool alone
	listener *net.UnixListener

	mu         sync.Mutex
	started    bool
	closing    bool
	workers    map[*worker]struct{}
	tokens     map[string]caller // the processes that have not said HELLO yet
	idle       []*worker         // last in, first out: the warmest serves next
	queue      queue
	stream     uint32
	want       int // how many workers there should be
	least      int // MinWorkers, until Resize
	most       int // MaxWorkers, until Resize
	scale      scaling
	weighed    time.Time // when the memory of the workers was last checked; used by watch only
	launched   int
	source     *source   // of the workers to be started
	failures   int       // failed starts in a row
	nextTry    time.Time // the next attempt to start; valid if failures > 0
	failedAt   time.Time // when the last start failed
	reason     string    // why the last start failed
	open       bool      // whether the circuit was not closed when it was last checked
	told       string    // the last reason for a failed start that was logged
	toldAt     time.Time
	reloading  *reload // the running reload
	pending    *reload // the reload after it
	generation int     // that of the newest source
	drained    chan struct{}
	settled    chan error // nil except during Start; gets one value for each worker
	nursery    nursery    // used with Preload
	remains    remains

	totals    totals
	spooled   atomic.Int64 // bytes of the files of all answers
	spoolTold atomic.Int64 // when a spool that fails was logged last, in Unix nanoseconds

	tasks sync.WaitGroup // every goroutine of the pool
	hurry chan struct{}  // closed when no process gets any more grace
	halt  chan struct{}  // closed when the workers must end
	quit  chan struct{}  // closed when the goroutines must end
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
		hurry:   make(chan struct{}),
		halt:    make(chan struct{}),
		quit:    make(chan struct{}),
	}
	p.log = p.journals.logger(opt.Logger).With("mount", opt.Name)
	return p
}

// Start starts all workers (MinWorkers, if set) side by side, with Preload after the zygote. It
// returns when they are ready. If one fails, Start stops the others, and the error says why, in the
// worker's own words if there are any.
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

// startedLocked gives Start, if Start is waiting, the result of a worker's start. It reports
// whether Start was waiting.
func (p *Pool) startedLocked(err error) bool {
	select {
	case p.settled <- err:
		return true
	default: // also while settled is nil
		return false
	}
}

// maxSocketDir is about how long the path of a directory with a socket may be. The system allows
// 104 to 108 bytes for the whole path of the socket.
const maxSocketDir = 95

// listen makes the private directory and the socket in it.
func (p *Pool) listen() error {
	made, err := private.Make("pool")
	if err != nil {
		return fmt.Errorf("make a directory for the workers: %w", err)
	}
	dir := made.Path()
	p.private, p.dir = made, dir
	p.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "socket"), Net: "unix"})
	if err != nil && len(dir) > maxSocketDir {
		err = fmt.Errorf("%w (the directory's name is too long for a socket; set TMPDIR to a shorter one)", err)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("listen for the workers: %w", err), made.Remove())
	}
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
	p.refuseZygotesLocked()
	p.drained = make(chan struct{})
	p.checkDrainedLocked()
	p.mu.Unlock()
	defer p.hurryAfter(ctx)()

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
	p.endRemains()
	p.journals.flush()
	return errors.Join(err, p.private.Remove())
}

// lastGrace is the kill grace once the context of Stop has ended.
const lastGrace = time.Second

// hurryAfter closes hurry lastGrace after the end of ctx, unless release is called first.
func (p *Pool) hurryAfter(ctx context.Context) (release func()) {
	released := make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Go(func() {
		select {
		case <-ctx.Done():
		case <-released:
			return
		}
		grace := time.NewTimer(lastGrace)
		defer grace.Stop()
		select {
		case <-grace.C:
			close(p.hurry)
		case <-released:
		}
	})
	return func() {
		close(released)
		waiting.Wait()
	}
}

// checkDrainedLocked wakes Stop if no request is left.
func (p *Pool) checkDrainedLocked() {
	if p.drained == nil || p.queue.len() > 0 {
		return
	}
	for w := range p.workers {
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
		conn, err := accept.Connection(p.listener.AcceptUnix, p.quit, p.log, p.listener.Addr())
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				p.log.Error("no further worker can connect", "error", err)
			}
			return
		}
		p.tasks.Go(func() { p.greet(conn) })
	}
}
