// Package adapters has a gateway keep mounts in processes apart from its own, the adapters (package plugin/adapter). A
// mount asks for an isolation: a user, limits, files. Mounts with the same isolation share one adapter. To the bridge of a
// mount its workers look like those of its own process: Adapters.Crew makes a worker.Crew.
//
//	gateway                          adapter                         workers
//	pool.Pool -- lease.Crew ------ gRPC ----- lease.Keeper -------- Perl
//	    └───────────── requests: bridge/wire over a Unix socket ──────┘
//
// An adapter that dies is started again, with a pause, and its mounts are opened anew. Meanwhile they have no workers, and
// their requests get 503. A gateway that replaces another one takes its adapters over, with their workers.
//
// The files: adapters.go is the set of adapters, process.go keeps one of them running, instance.go is one process that
// runs, crew.go is a mount, remote.go carries lease.Control.
package adapters

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/confine"
	"github.com/pagi-go/pagi-bridge/internal/private"
	"github.com/pagi-go/pagi-bridge/internal/status"
)

// Options configure Adapters.
type Options struct {
	// Program is the path of the program that runs "adapter"; by default this process's own.
	Program string
	// Version is that of the program, for people.
	Version string
	// Linger is how long an adapter goes on without a gateway; 60 s by default.
	Linger time.Duration
	// StartTime is how long an adapter may take until it answers, without its mounts; 30 s by default.
	StartTime time.Duration
	// Logger gets all records; nil means slog.Default.
	Logger *slog.Logger
	// Inherited are the adapters of the gateway that this one replaces.
	Inherited []State
}

const (
	defaultLinger = 60 * time.Second
	defaultStart  = 30 * time.Second
	// endTime is how long the end of an adapter may take to be seen after that of its connection.
	endTime = time.Second
	// killAfter is how long an adapter may take to end, and the least time that its mounts get for that.
	killAfter = 5 * time.Second
)

// Adapters are the adapters of one gateway. New makes them. An adapter is started with its first mount, and ended with its
// last one.
type Adapters struct {
	opt  Options
	name string // of this gateway, for all adapters

	mu        sync.Mutex
	all       map[string]*process // by identity
	inherited map[string]State
	leaving   bool // another gateway takes over: no adapter is started or ended any more
	closed    bool // no adapter is started any more
	started   bool // one was
	children  map[*child]bool
	launches  sync.WaitGroup // processes that are being started
}

// New returns Adapters without any process.
func New(opt Options) *Adapters {
	if opt.Program == "" {
		opt.Program = ownProgram
	}
	if opt.Linger == 0 {
		opt.Linger = defaultLinger
	}
	if opt.StartTime == 0 {
		opt.StartTime = defaultStart
	}
	if opt.Logger == nil {
		opt.Logger = slog.Default()
	}
	a := &Adapters{opt: opt, name: rand.Text(), all: map[string]*process{}, inherited: map[string]State{}, children: map[*child]bool{}}
	for _, s := range opt.Inherited {
		a.inherited[s.Identity] = s
	}
	return a
}

// Mount is what an adapter is to keep.
type Mount struct {
	// Kind is "psgi", "perlpagi" or "cgi".
	Kind string
	// Name is where it is mounted, for people.
	Name string
	// Options are those of the kind, without anything that belongs to this process.
	Options any
	// Needs are the files that it has to reach.
	Needs confine.Needs
}

// Crew returns what makes the workers of a mount, for the options of a bridge. An error says that the options have no
// form in JSON.
func (a *Adapters) Crew(isolation confine.Isolation, m Mount) (func(worker.Options, worker.Host) worker.Crew, error) {
	options, err := json.Marshal(m.Options)
	if err != nil {
		return nil, fmt.Errorf("the options of %s for its adapter: %w", m.Name, err)
	}
	return func(o worker.Options, host worker.Host) worker.Crew {
		return newCrew(a, isolation, m, options, o, host)
	}, nil
}

// identity is the same text for mounts that share an adapter. If the isolation limits files these are fixed when the
// adapter starts. So mounts that need other files have another one.
func identity(isolation confine.Isolation, needs confine.Needs) string {
	text := isolation.Key()
	if isolation.Read != nil || isolation.Write != nil {
		text += fmt.Sprintf(" %q %q", needs.Read, needs.Write)
	}
	return digest(text)
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// errLeaving says that another gateway has taken over.
var errLeaving = errors.New("another gateway has taken over")

// take returns the process for a mount, and notes that the mount uses it.
func (a *Adapters) take(c *Crew) (*process, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := identity(c.isolation, c.mount.Needs)
	p := a.all[id]
	switch {
	case p == nil && a.leaving:
		return nil, errLeaving
	case p == nil:
		p = newProcess(a, id, c.isolation, c.mount.Needs)
		a.all[id] = p
	}
	p.users++
	return p, nil
}

// drop notes that a mount does not use a process any more, and reports whether it was the last one.
func (a *Adapters) drop(p *process) (last bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p.users--
	if p.users > 0 {
		return false
	}
	delete(a.all, p.identity)
	return true
}

// inherit returns the adapter of the gateway before this one with an identity, once.
func (a *Adapters) inherit(id string) (State, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, has := a.inherited[id]
	delete(a.inherited, id)
	return s, has
}

// isLeaving reports whether another gateway has taken over.
func (a *Adapters) isLeaving() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.leaving
}

// State is what the next gateway needs to take an adapter over.
type State struct {
	Identity string        `json:"identity"`
	PID      int           `json:"pid"`
	UID      int           `json:"uid"`
	Address  string        `json:"address"`
	Dir      string        `json:"dir"` // for its temporary files
	Confined confine.State `json:"confined"`
}

// States returns the adapters that run, for the Options.Inherited of the gateway that is to replace this one.
func (a *Adapters) States() (states []State) {
	for _, p := range a.processes() {
		if i := p.running(); i != nil {
			states = append(states, i.state())
		}
	}
	return states
}

// HandOver says that another gateway has taken over. Mounts that it does not have are closed when those of this gateway
// stop. No adapter is ended by this gateway any more.
func (a *Adapters) HandOver() {
	if a == nil {
		return
	}
	a.mu.Lock()
	a.leaving = true
	a.mu.Unlock()
}

// closeTime is how long an adapter may take to end its workers when the gateway exits.
const closeTime = 3 * time.Second

// errClosed says that the gateway exits.
var errClosed = errors.New("the gateway exits")

// Close ends the adapters that this gateway has started and that are still there, because their mounts were not shut down
// in time, or are just being started. It is called last. After HandOver it leaves them alone. Nil is allowed.
func (a *Adapters) Close() {
	if a == nil {
		return
	}
	a.mu.Lock()
	a.closed = true
	var left []*child
	if !a.leaving {
		left = slices.Collect(maps.Keys(a.children))
	}
	a.mu.Unlock()
	var ending sync.WaitGroup
	for _, c := range left {
		ending.Go(func() { c.end(closeTime) })
	}
	ending.Wait()
	a.launches.Wait()
	if a.started {
		// Those that had to be killed have left their directories. An error leaves them to the next gateway.
		_, _ = private.Sweep()
	}
}

// track notes a process that is about to be started, until forget. The caller calls launches.Done when it was started, or
// was not.
func (a *Adapters) track(c *child) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return errClosed
	}
	a.children[c], a.started = true, true
	a.launches.Add(1)
	return nil
}

func (a *Adapters) forget(c *child) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.children, c)
}

// processes returns the adapters; none for nil Adapters.
func (a *Adapters) processes() (list []*process) {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.all {
		list = append(list, p)
	}
	return list
}

// Status describes the adapters that run.
func (a *Adapters) Status() (list []status.Adapter) {
	for _, p := range a.processes() {
		if i := p.running(); i != nil {
			list = append(list, status.Adapter{Name: p.name(), PID: i.pid, UID: i.uid, Mounts: p.mounts()})
		}
	}
	return list
}

// grace returns the time that is left until the end of ctx, killAfter if it has none.
func grace(ctx context.Context) time.Duration {
	if deadline, has := ctx.Deadline(); has {
		return max(0, time.Until(deadline))
	}
	if ctx.Err() != nil {
		return 0
	}
	return killAfter
}
