package mux

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/shared"
	"github.com/pagi-go/pagi-bridge/internal/slow"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/tally"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// WorkersOptions configure Workers. Start is required.
type WorkersOptions struct {
	worker.Processes
	worker.Limits
	// Name is the name in log records: the mount's path.
	Name string
	// Start returns the command that runs a worker, and what is written to its standard input, as
	// worker.Options has it.
	Start func(worker.Setup) (*exec.Cmd, []byte, error)
	// Loaded gets the names of the application's files; nil is allowed. It must not block.
	Loaded func(files []string)
	// Counts takes what the application counts; nil is allowed.
	Counts *tally.Mount
	// Shared is what the workers may use of what the site shares; nil: nothing.
	Shared *shared.Access
	// Logger gets all records; nil means slog.Default.
	Logger *slog.Logger
	// Crew makes the workers, unless they are to be processes of this one.
	Crew func(worker.Options, worker.Host) worker.Crew
	// Ping and Call are those of Options.
	Ping Ping
	Call func(ctx context.Context, name string, argument []byte) ([]byte, error)
	// QueueSize is how many scopes may wait for a worker, 0 for none, and QueueTimeout how long one may wait.
	QueueSize    int
	QueueTimeout time.Duration
	// Indirect says that a worker has other processes serve its scopes, so that its number does not tell which one does.
	Indirect bool
	// StreamGrace is how long the scopes of a worker that is replaced may go on; 0 means without a limit. Then they
	// end with ErrRetired.
	StreamGrace time.Duration
}

// Workers serve scopes by worker processes, many at once in each. They are a worker.Host.
type Workers struct {
	opt   WorkersOptions
	group worker.Crew
	set   Set
	lobby lobby

	mu      sync.Mutex
	posts   map[*post]struct{}
	refused refusals
}

// refusals are the scopes that no worker could take, by which more workers are started.
type refusals struct {
	count int       // since the last look
	since time.Time // of the first, without a look between that saw none
}

// NewWorkers returns workers that have not been started.
func NewWorkers(opt WorkersOptions) *Workers {
	if opt.Logger == nil {
		opt.Logger = slog.Default()
	}
	w := &Workers{opt: opt, posts: map[*post]struct{}{}, lobby: lobby{most: opt.QueueSize, patience: opt.QueueTimeout}}
	crew := opt.Crew
	if crew == nil {
		crew = func(o worker.Options, h worker.Host) worker.Crew { return worker.New(o, h) }
	}
	w.group = crew(opt.WorkerOptions(), w)
	return w
}

// WorkerOptions returns the options of the processes.
func (o *WorkersOptions) WorkerOptions() worker.Options {
	return worker.Options{
		Processes: o.Processes, Limits: o.Limits, Name: o.Name, Start: o.Start, Loaded: o.Loaded, Counts: o.Counts, Shared: o.Shared, Logger: o.Logger,
		Offer: wire.Offer{Features: wire.FeatureScopes | wire.FeaturePing | wire.FeatureCalls}, Need: wire.FeatureScopes,
	}
}

// Start starts the workers, and returns when they are ready.
func (w *Workers) Start(ctx context.Context) error { return w.group.Start(ctx) }

// Stop has the workers finish their scopes and end. At the end of ctx they are killed.
func (w *Workers) Stop(ctx context.Context) error {
	w.group.Close()
	w.lobby.clear()
	return w.group.Stop(ctx)
}

// Resize changes the number of workers by n, and returns the new one; see worker.Group.Resize.
func (w *Workers) Resize(n int) int { return w.group.Resize(n) }

// RetryAfter estimates when a scope that no worker could take may be tried again.
func (w *Workers) RetryAfter() time.Duration { return w.group.RetryAfter() }

// Reload replaces every worker by one that has loaded the application anew. A worker that is replaced
// gets no new scopes, and ends with its last one.
func (w *Workers) Reload(ctx context.Context) error { return w.group.Reload(ctx) }

// Status tells of the processes, and how many scopes each has open.
func (w *Workers) Status() status.Backend {
	s := w.group.Status()
	w.lobby.waits.Tell(&s.Totals)
	conns := map[int]*Conn{}
	w.mu.Lock()
	for p := range w.posts {
		conns[p.process.ID()] = p.connection()
	}
	w.mu.Unlock()
	for i := range s.Workers {
		p := &s.Workers[i]
		if c := conns[p.ID]; c != nil {
			p.Inflight = c.Load()
			if first := c.streams.oldest(); first != nil {
				p.Request = first.request()
			}
		}
		s.Running += p.Inflight
		switch {
		case p.State != worker.Serving.String():
		case p.Inflight > 0:
			p.State = "busy"
		default:
			p.State = "ready"
		}
	}
	return s
}

// Serve has a worker serve a scope, the one with the fewest. The errors are those of Conn.Serve;
// ErrBusy says that no worker can take the scope now, nor could while it waited. ErrRetired says that the scope's
// worker was replaced.
func (w *Workers) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	return w.ServeBy(ctx, scope, receive, send, nil)
}

// ServeBy is Serve for a caller that wants to know the worker: chosen is called when a worker gets the scope, with its number
// and that of its process, both 0 if it ends at that moment. Nil is allowed.
func (w *Workers) ServeBy(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send, chosen func(worker, pid int)) error {
	running := slow.Of(scope)
	running.Queued()
	c := w.set.acquire()
	if c == nil {
		var err error
		if c, err = w.await(ctx); err != nil {
			return err
		}
	}
	if c == nil {
		w.mu.Lock()
		if w.refused.count++; w.refused.since.IsZero() {
			w.refused.since = time.Now()
		}
		w.mu.Unlock()
		return ErrBusy
	}
	if chosen != nil {
		chosen(w.workerOf(c))
	}
	if w.opt.Indirect {
		running.Assigned(0)
	} else {
		running.Assigned(c.pid)
	}
	return c.serve(ctx, scope, receive, send)
}

// workerOf returns the number and the process of the worker that a connection leads to, 0 for one that has gone.
func (w *Workers) workerOf(c *Conn) (worker, pid int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p := range w.posts {
		if p.connection() == c {
			return p.process.ID(), p.process.PID()
		}
	}
	return 0, 0
}

// Employ implements worker.Host.
func (w *Workers) Employ(process worker.Worker) worker.Station {
	p := &post{workers: w, process: process, since: time.Now()}
	w.mu.Lock()
	w.posts[p] = struct{}{}
	w.mu.Unlock()
	return p
}

// Look implements worker.Host.
func (w *Workers) Look(now time.Time) worker.Load {
	w.mu.Lock()
	defer w.mu.Unlock()
	load := worker.Load{Queued: w.refused.count}
	if load.Queued > 0 {
		load.Oldest = now.Sub(w.refused.since)
	} else {
		w.refused.since = time.Time{}
	}
	w.refused.count = 0
	if n, oldest := w.lobby.load(now); n > 0 {
		load.Queued, load.Oldest = load.Queued+n, max(load.Oldest, oldest)
	}
	for p := range w.posts {
		if since, idle := p.Idle(); idle {
			load.Idle++
			if d := now.Sub(since); load.Coldest == nil || d > load.IdleFor {
				load.Coldest, load.IdleFor = p.process, d
			}
		}
	}
	return load
}

// Stranded implements worker.Host.
func (w *Workers) Stranded() { w.lobby.clear() }

// post is the workers' side of one process: a worker.Station.
//
//	hired ── Ready ──> serving ── Relieve, Withdraw, Drain, Exiting, Broken ──> leaving ── Ended ──> gone
//	   └──────────────── Withdraw, Drain ──────────────────────────────────────────┘
type post struct {
	workers *Workers
	process worker.Worker
	running sync.WaitGroup // the goroutines of conn

	mu    sync.Mutex
	stage postStage
	conn  *Conn       // from Ready on
	since time.Time   // of the last end of a scope
	grace *time.Timer // ends the scopes of a relieved worker; nil before that
}

type postStage uint8

const (
	hired postStage = iota
	serving
	leaving
	gone
)

// Ready implements worker.Station.
func (p *post) Ready() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stage != hired {
		return
	}
	w := p.workers
	conn := New(Adopt(carrier{p.process}, p.process.Terms()), Options{Logger: p.process.Logger(), Ping: w.opt.Ping, Call: w.opt.Call, Served: p.served})
	conn.ready.Store(true) // the group has read READY
	conn.pid = p.process.PID()
	p.stage, p.conn, p.since = serving, conn, time.Now()
	p.running.Go(func() { _ = conn.Run() }) // the group tells how a worker ends
	p.running.Go(func() {
		<-conn.done // Run may still wait for a write that only the end of the process ends
		if errors.Is(conn.cause, ErrBlocked) {
			p.process.Logger().Error("a worker is killed", "reason", conn.cause)
			p.process.Kill(worker.Overdue{Reason: conn.cause.Error(), Request: conn.stuck})
		}
	})
	w.set.Add(conn)
	w.lobby.call()
}

// carrier writes to a process.
type carrier struct{ process worker.Worker }

// Write implements io.Writer. The group tells of a connection that has ended.
func (c carrier) Write(b []byte) (int, error) {
	c.process.Queue(0, b, nil)
	c.process.Flush()
	return len(b), nil
}

// Close implements io.Closer. The group closes the connection, when the process has ended.
func (carrier) Close() error { return nil }

// connection returns the connection, nil before Ready.
func (p *post) connection() *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn
}

func (p *post) load() int {
	if c := p.connection(); c != nil {
		return c.Load()
	}
	return 0
}

// Frame implements worker.Station.
func (p *post) Frame(frame wire.Frame) error {
	c := p.connection()
	switch {
	case c != nil:
		if err := c.Feed(frame); err != nil {
			return fmt.Errorf("%w: %w", worker.ErrProtocol, err)
		}
		return nil
	case frame.Type == wire.Log:
		p.process.Log(p.process.Logger(), frame)
		return nil
	}
	return fmt.Errorf("%w: %s before READY", worker.ErrProtocol, frame.Type)
}

// Idle implements worker.Station.
func (p *post) Idle() (since time.Time, is bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.since, p.stage == serving && p.conn.Load() == 0
}

// served is called when a scope has ended.
func (p *post) served(open int) {
	p.mu.Lock()
	p.since = time.Now()
	p.mu.Unlock()
	p.workers.lobby.call()
	p.process.Served()
	if p.process.MustWeigh() {
		p.process.Weigh()
	}
	if open == 0 && p.process.Relieved() {
		p.makeWay()
	}
}

// Relieve implements worker.Station.
func (p *post) Relieve() {
	p.withdraw()
	if p.load() == 0 {
		p.makeWay()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if limit := p.workers.opt.StreamGrace; limit > 0 && p.grace == nil && p.stage < gone {
		p.grace = time.AfterFunc(limit, p.retire)
	}
}

// retire ends the scopes of a worker that has been relieved for StreamGrace.
func (p *post) retire() {
	c := p.connection()
	if c == nil || !p.process.Relieved() {
		return
	}
	if n := c.Retire(); n > 0 {
		p.process.Logger().Info("the scopes of a worker that is replaced are ended", "scopes", n, "after", p.workers.opt.StreamGrace)
	}
}

// makeWay has a relieved worker go, which has no scope and gets none.
func (p *post) makeWay() {
	if p.withdraw(); p.process.MakeWay() {
		p.process.Flush()
	}
}

// Withdraw implements worker.Station.
func (p *post) Withdraw() { p.withdraw() }

// withdraw has the worker get no scope any more.
func (p *post) withdraw() {
	p.mu.Lock()
	p.stage = max(p.stage, leaving)
	conn := p.conn
	p.mu.Unlock()
	if conn != nil {
		conn.draining.Store(true)
		p.workers.set.Remove(conn)
	}
}

// Drain implements worker.Station.
func (p *post) Drain() {
	p.withdraw()
	if c := p.connection(); c == nil || c.Drain() != nil {
		p.process.Drain()
		p.process.Flush()
	}
}

// Exiting implements worker.Station. The scopes that the worker has are its own until it ends.
func (p *post) Exiting() error {
	p.withdraw()
	return nil
}

// Broken implements worker.Station.
func (p *post) Broken(err error) {
	p.withdraw()
	if c := p.connection(); c != nil {
		c.close(err)
	}
}

// Ended implements worker.Station.
func (p *post) Ended(end worker.End) (atWork bool) {
	p.withdraw()
	p.mu.Lock()
	p.stage = gone
	if p.grace != nil {
		p.grace.Stop()
	}
	p.mu.Unlock()
	if c := p.connection(); c != nil {
		open := c.streams.len()
		c.close(fmt.Errorf("%w (%s)", ErrClosed, end.Exit))
		p.running.Wait()
		if atWork = open > 0; atWork {
			p.process.Logger().Error("the worker died with scopes open", "exit", end.Exit, "scopes", open)
		}
	}
	w := p.workers
	w.mu.Lock()
	delete(w.posts, p)
	w.mu.Unlock()
	return atWork
}
