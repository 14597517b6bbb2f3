package lease

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
)

// KeeperOptions configure a Keeper. Start is required, and Need, which says of which kind the workers are.
type KeeperOptions struct {
	// Options are those of the workers. Logger gets the records for which there is no gateway; nil means slog.Default. Loaded
	// is not used, because the gateways get the names of files. User is the one whose processes may dial, beside root.
	worker.Options
	// Patience is how long a worker that no gateway has any more may take until it greets the next one, because it still
	// works on a request of the last; 300 s by default.
	Patience time.Duration
	// Alone is called once each time that the keeper has been without a gateway for AloneFor, also after Start. It must not
	// call Stop itself, which waits for it. Nil is allowed; AloneFor is 60 s by default.
	Alone    func()
	AloneFor time.Duration
}

// Keeper runs worker processes for gateways in other processes: it is the worker.Host of a group whose workers listen, and
// the Control of the gateways. NewKeeper makes one, Start starts it and Stop ends it.
type Keeper struct {
	opt   KeeperOptions
	kind  Kind
	group *worker.Group

	mu       sync.Mutex // comes before the group's lock
	posts    map[int]*post
	sessions map[string]*session
	attached int // sessions so far
	position uint64
	facts    Facts // that were told last
	files    []string
	known    map[string]bool // of files
	changed  chan struct{}   // closed, and replaced, when a gateway has reported or gone
	stopped  bool
	alone    *time.Timer // runs while there is no gateway
	calls    sync.WaitGroup
}

const (
	// answerTime is how long the keeper waits until a gateway has connected to a new worker, and until it has told whether a
	// worker has ended at work.
	answerTime      = 2 * time.Second
	defaultPatience = 300 * time.Second
	defaultAlone    = 60 * time.Second
)

// NewKeeper returns a keeper that has not been started.
func NewKeeper(opt KeeperOptions) *Keeper {
	if opt.Patience == 0 {
		opt.Patience = defaultPatience
	}
	if opt.AloneFor == 0 {
		opt.AloneFor = defaultAlone
	}
	if opt.Logger == nil {
		opt.Logger = slog.Default()
	}
	k := &Keeper{
		opt: opt, kind: Requests, posts: map[int]*post{}, sessions: map[string]*session{}, known: map[string]bool{},
		changed: make(chan struct{}), facts: Facts{UID: os.Geteuid()},
	}
	if opt.Need.Has(wire.FeatureScopes) {
		k.kind = Scopes
	}
	o := opt.Options.WithDefaults()
	k.facts.Fixed = o.MinWorkers == o.MaxWorkers
	o.Listen = true
	o.Logger = slog.New(NewRecorder(k.record, opt.Logger.Handler()))
	o.Loaded = k.loaded
	k.group = worker.New(o, k)
	return k
}

// Start starts the workers, and returns when they are ready; see worker.Crew.
func (k *Keeper) Start(ctx context.Context) error {
	if err := k.group.Start(ctx); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lonelyLocked()
	return nil
}

// Stop ends the workers, each once it has done its work, and all of them at the end of ctx. Then the streams of the
// gateways end.
func (k *Keeper) Stop(ctx context.Context) error {
	err := k.group.Stop(ctx)
	k.mu.Lock()
	k.stopped = true
	if k.alone != nil && k.alone.Stop() {
		k.calls.Done()
	}
	for _, s := range k.sessions {
		s.signal()
	}
	k.mu.Unlock()
	k.calls.Wait()
	return err
}

// Dir returns the workers' private directory; "" before Start.
func (k *Keeper) Dir() string { return k.group.Dir() }

// Gateways returns how many gateways are attached.
func (k *Keeper) Gateways() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.sessions)
}

// lonelyLocked starts the timer of Alone where there is no gateway.
func (k *Keeper) lonelyLocked() {
	if k.opt.Alone == nil || k.stopped || len(k.sessions) > 0 {
		return
	}
	k.calls.Add(1)
	var timer *time.Timer
	timer = time.AfterFunc(k.opt.AloneFor, func() {
		defer k.calls.Done()
		k.mu.Lock()
		is := k.alone == timer && !k.stopped
		k.mu.Unlock()
		if is {
			k.opt.Alone()
		}
	})
	k.alone = timer
}

// Attach implements Control.
func (k *Keeper) Attach(ctx context.Context, gateway string) (Stream, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.stopped:
		return nil, worker.ErrClosed
	case k.sessions[gateway] != nil: // it has lost the line, which was not noticed here
		k.forgetLocked(k.sessions[gateway])
	}
	s := newSession(ctx, k, gateway)
	k.attached++
	s.number = k.attached
	if k.alone != nil && k.alone.Stop() {
		k.calls.Done()
	}
	k.alone = nil
	for id, p := range k.posts {
		if p.isKnown {
			s.endpoints[id] = p.endpointLocked()
		}
	}
	s.news, s.loaded = true, append([]string(nil), k.files...)
	s.signal()
	k.sessions[gateway] = s
	s.forget = context.AfterFunc(ctx, func() { k.detach(s) })
	return s, nil
}

// detach forgets a gateway that has gone, and what it had.
func (k *Keeper) detach(s *session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sessions[s.gateway] != s {
		return
	}
	k.forgetLocked(s)
	k.changedLocked()
	k.lonelyLocked()
}

func (k *Keeper) forgetLocked(s *session) {
	delete(k.sessions, s.gateway)
	now := time.Now()
	for id := range s.workers {
		if p := k.posts[id]; p != nil {
			p.left = now
		}
	}
	s.workers = nil
	s.signal()
}

// changedLocked wakes who waits for a gateway, and has relieved workers go that no gateway has any more.
func (k *Keeper) changedLocked() {
	close(k.changed)
	k.changed = make(chan struct{})
	for _, p := range k.posts {
		if p.state == Relieved && !k.isHeldLocked(p.id, nil) && !p.makeWayLocked() {
			p.stayLocked()
		}
	}
}

// isHeldLocked reports whether a gateway other than except is connected to a worker.
func (k *Keeper) isHeldLocked(id int, except *session) bool {
	for _, s := range k.sessions {
		if _, is := s.workers[id]; is && s != except {
			return true
		}
	}
	return false
}

// await waits until a condition holds that depends on what gateways report, for answerTime or until abort is closed.
func (k *Keeper) await(abort <-chan struct{}, holdsLocked func() bool) {
	late := time.NewTimer(answerTime)
	defer late.Stop()
	for {
		k.mu.Lock()
		done, changed := holdsLocked(), k.changed
		k.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-abort:
			return
		case <-late.C:
			return
		}
	}
}

// Employ implements worker.Host. A Keeper is the host of a Group alone.
func (k *Keeper) Employ(w worker.Worker) worker.Station {
	p := &post{keeper: k, id: w.ID(), process: w.(*worker.Process), gone: make(chan struct{}), counted: map[string]int{}}
	k.mu.Lock()
	k.posts[p.id] = p
	k.mu.Unlock()
	return p
}

// Look implements worker.Host: the load of all gateways together.
func (k *Keeper) Look(now time.Time) worker.Load {
	k.mu.Lock()
	defer k.mu.Unlock()
	var load worker.Load
	for _, s := range k.sessions {
		load.Queued += s.report.Queued
		if s.report.Queued > 0 {
			load.Oldest = max(load.Oldest, s.report.Oldest+now.Sub(s.heard))
		}
	}
	for _, p := range k.posts {
		if since, idle := p.idleLocked(); idle {
			load.Idle++
			if d := now.Sub(since); load.Coldest == nil || d > load.IdleFor {
				load.Coldest, load.IdleFor = p.process, d
			}
		}
		p.stayLocked()
		if p.state == Serving && p.process.MustWeigh() {
			p.weigh = true
			p.publishLocked()
		}
	}
	k.tellFactsLocked()
	return load
}

// Stranded implements worker.Host.
func (k *Keeper) Stranded() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tellFactsLocked()
}

// tellFactsLocked tells the gateways what has changed of the keeper as a whole.
func (k *Keeper) tellFactsLocked() {
	circuit := k.group.Circuit()
	if circuit == k.facts.Circuit {
		return
	}
	k.facts.Circuit = circuit
	k.position++
	for _, s := range k.sessions {
		s.news = true
		s.signal()
	}
}

// loaded has the gateways learn of files.
func (k *Keeper) loaded(files []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, name := range files {
		if k.known[name] {
			continue
		}
		k.known[name] = true
		k.files = append(k.files, name)
		for _, s := range k.sessions {
			s.loaded = append(s.loaded, name)
			s.signal()
		}
	}
}

// Report implements Control.
func (k *Keeper) Report(_ context.Context, r Report) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.sessions[r.Gateway]
	if s == nil {
		return errNotAttached
	}
	now := time.Now()
	s.report, s.heard = r, now
	held := s.workers
	s.workers = make(map[int]holding, len(r.Workers))
	for _, w := range r.Workers {
		s.workers[w.Worker] = holding{idle: w.Idle, since: now.Add(-w.IdleFor)}
		s.countLocked(w.Worker, w.Served)
	}
	for id := range held {
		if _, still := s.workers[id]; !still && k.posts[id] != nil {
			k.posts[id].left = now
		}
	}
	for _, e := range r.Ended {
		s.countLocked(e.Worker, e.Served)
		s.ended[e.Worker] = e.AtWork
	}
	k.changedLocked()
	return nil
}

var errNotAttached = errors.New("this gateway is not attached")

// Release implements Control.
func (k *Keeper) Release(_ context.Context, r Release) (Released, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, p := k.sessions[r.Gateway], k.posts[r.Worker]
	switch {
	case s == nil:
		return Released{}, errNotAttached
	case p == nil:
		return Released{Go}, nil
	case k.isHeldLocked(r.Worker, s):
		return Released{Leave}, nil
	case p.makeWayLocked(), p.process.State() > worker.Serving:
		return Released{Go}, nil
	}
	p.stayLocked()
	return Released{Stay}, nil
}

// Kill implements Control.
func (k *Keeper) Kill(_ context.Context, order Kill) (Killed, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, p := k.sessions[order.Gateway], k.posts[order.Worker]
	switch {
	case s == nil:
		return Killed{}, errNotAttached
	case p == nil:
		return Killed{}, nil
	case order.Silent && (k.isHeldLocked(order.Worker, s) || !p.left.IsZero() && time.Since(p.left) < k.opt.Patience):
		return Killed{}, nil
	}
	p.process.Logger().Debug("a gateway has the worker killed", "reason", order.Reason)
	if order.Broken {
		return Killed{p.process.KillBroken(order.Reason)}, nil
	}
	return Killed{p.process.Kill(worker.Overdue{Reason: order.Reason, Request: order.Request})}, nil
}

// Weigh implements Control.
func (k *Keeper) Weigh(_ context.Context, w Weigh) error {
	k.mu.Lock()
	p := k.posts[w.Worker]
	if p != nil {
		p.weigh = false
	}
	k.mu.Unlock()
	if p != nil {
		p.process.Weigh()
	}
	return nil
}

// Reload implements Control.
func (k *Keeper) Reload(ctx context.Context) (Reloaded, error) {
	err := k.group.Reload(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	return Reloaded{k.position}, err
}

// Resize implements Control.
func (k *Keeper) Resize(_ context.Context, r Resize) (Resized, error) {
	return Resized{k.group.Resize(r.By)}, nil
}

// Status implements Control.
func (k *Keeper) Status(context.Context) (worker.Status, error) { return k.group.Status(), nil }
