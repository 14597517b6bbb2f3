package adapters

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/confine"
)

// The pauses before an adapter that has died is started again: they double with each death that follows soon.
const (
	firstPause   = 250 * time.Millisecond
	longestPause = 30 * time.Second
	// settled is how long an adapter must run so that its next death counts as the first one.
	settled = 10 * time.Second
)

// process keeps one adapter running from its first mount to its last.
//
//	(none) --start--> running --death--> paused --start--> running
//	                     |                 ^--failure--/
//	                     └──── the last mount has closed ────> (ended)
type process struct {
	adapters  *Adapters
	identity  string
	isolation confine.Isolation
	needs     confine.Needs
	log       *slog.Logger
	users     int // mounts; guarded by Adapters.mu

	life context.Context // ends with the process
	end  context.CancelFunc

	starting sync.Mutex // held while an instance is started for the first mount; comes before mu
	mu       sync.Mutex
	current  *instance // nil while none runs
	crews    map[*Crew]bool
	again    bool // it has died and is being started again
	deaths   int  // one soon after the other
	tasks    sync.WaitGroup
}

func newProcess(a *Adapters, id string, isolation confine.Isolation, needs confine.Needs) *process {
	p := &process{adapters: a, identity: id, isolation: isolation, needs: needs, crews: map[*Crew]bool{}}
	p.log = a.opt.Logger.With("adapter", p.name())
	p.life, p.end = context.WithCancel(context.Background())
	return p
}

// name is what people call the adapter.
func (p *process) name() string {
	switch {
	case p.isolation.Name != "":
		return p.isolation.Name
	case p.isolation.AsksNothing():
		return "shared"
	case p.isolation.User != "":
		return p.isolation.User
	}
	return p.identity
}

// running returns the instance that runs, nil for none.
func (p *process) running() *instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}

// mounts returns the names of the mounts.
func (p *process) mounts() (names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.crews {
		names = append(names, c.mount.Name)
	}
	slices.Sort(names)
	return names
}

// join adds a mount, and returns the instance to open it at. The first one starts it.
func (p *process) join(ctx context.Context, c *Crew) (*instance, error) {
	p.starting.Lock()
	defer p.starting.Unlock()
	p.mu.Lock()
	current, again := p.current, p.again
	p.mu.Unlock()
	switch {
	case again:
		return nil, errors.New("its adapter has died and is not running again yet")
	case current == nil:
		started, err := p.launch(ctx)
		if err != nil {
			return nil, fmt.Errorf("start the adapter %s: %w", p.name(), err)
		}
		current = started
		p.install(started)
	}
	p.mu.Lock()
	p.crews[c] = true
	p.mu.Unlock()
	return current, nil
}

// part removes a mount.
func (p *process) part(c *Crew) {
	p.mu.Lock()
	delete(p.crews, c)
	p.mu.Unlock()
}

// launch starts an instance, or takes that of the last gateway over.
func (p *process) launch(ctx context.Context) (*instance, error) {
	patience := p.adapters.opt.StartTime
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it does not answer after %v", patience))
	defer cancel()
	if s, has := p.adapters.inherit(p.identity); has {
		i, err := reattach(ctx, p, s)
		if err == nil {
			p.log.Info("took the adapter over from the gateway before this one", "pid", i.pid, "version", i.version)
			return i, nil
		}
		p.log.Warn("the adapter of the gateway before this one cannot be taken over; another one is started", "pid", s.PID, "error", err)
	}
	return launch(ctx, p)
}

// install makes an instance the current one, and watches it.
func (p *process) install(i *instance) {
	p.mu.Lock()
	p.current, p.again = i, false
	p.tasks.Go(func() { p.watch(i) })
	p.mu.Unlock()
}

// watch waits for the end of an instance, and starts another one in its place while there are mounts.
func (p *process) watch(i *instance) {
	select {
	case <-i.ended:
	case <-p.life.Done():
		return // stop sees to its end
	}
	i.close()
	p.mu.Lock()
	p.current, p.again = nil, true
	if time.Since(i.since) > settled {
		p.deaths = 0
	}
	deaths := p.deaths
	p.deaths++
	p.mu.Unlock()
	if p.adapters.isLeaving() {
		p.log.Warn("the adapter has ended", "pid", i.pid, "exit", i.exit)
		return
	}
	p.log.Error("the adapter has died and is started again; its mounts answer 503 until then", "pid", i.pid, "exit", i.exit, "mounts", p.mounts())
	for ; ; deaths++ {
		pause := min(longestPause, firstPause<<min(deaths, 20))
		select {
		case <-time.After(pause):
		case <-p.life.Done():
			return
		}
		next, err := p.launch(p.life)
		if err == nil {
			p.install(next)
			p.reopen()
			return
		}
		if p.life.Err() == nil {
			p.log.Error("the adapter cannot be started", "error", err, "next try in", min(longestPause, firstPause<<min(deaths+1, 20)))
		}
	}
}

// reopen opens the mounts of an instance that has died at its successor.
func (p *process) reopen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.crews {
		p.tasks.Go(func() { c.reopen(p.life) })
	}
}

// stop ends the adapter, whose last mount has closed.
func (p *process) stop(ctx context.Context) error {
	p.mu.Lock()
	p.end() // no task is begun from here on
	p.mu.Unlock()
	p.tasks.Wait()
	i := p.running()
	if i == nil {
		return nil
	}
	return i.leave(ctx)
}
