package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// nursery is the part of a group with Preload that keeps a zygote ready. Its fields are guarded by
// Group.mu.
type nursery struct {
	current *zygote // the zygote that forks the workers; nil while there is none
	all     map[*zygote]struct{}
	raised  int
	raising bool // a zygote is being started to become the current one
	starts  attempts
}

// makerLocked returns the maker of a worker that is launched now.
func (g *Group) makerLocked() maker {
	switch {
	case !g.opt.Preload:
		return program{}
	case g.nursery.current == nil:
		return goneZygote{}
	}
	return g.nursery.current
}

// goneZygote is the maker while there is no zygote: each spawn fails.
type goneZygote struct{}

func (goneZygote) spawn(*peer) (spawned, error) { return spawned{}, errZygoteGone }

// preload starts the first zygote.
func (g *Group) preload(ctx context.Context) error {
	if !g.opt.Preload {
		return nil
	}
	g.mu.Lock()
	g.nursery.raising = true
	g.mu.Unlock()
	z, err := g.startZygote(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.nursery.raising = false
	if err == nil {
		g.adoptLocked(z)
	}
	return err
}

// startZygote starts a zygote, beside the current one if there is one, and returns when it is
// ready. The error says why it is not, in the application's own words if there are any. A zygote
// that has failed is ended then; the current one goes on.
func (g *Group) startZygote(ctx context.Context) (*zygote, error) {
	g.mu.Lock()
	if g.stage != running {
		g.mu.Unlock()
		return nil, ErrClosed
	}
	g.nursery.raised++
	z := &zygote{
		settled:  make(chan struct{}),
		gone:     make(chan struct{}),
		forks:    map[string]chan forkResult{},
		children: map[int]*child{},
	}
	z.init(g, g.nursery.raised, g.journal("zygote", g.nursery.raised))
	g.nursery.all[z] = struct{}{}
	g.tokens[z.token] = z
	g.tasks.Go(z.live)
	g.mu.Unlock()

	late := time.NewTimer(g.opt.StartTimeout)
	defer late.Stop()
	var cause error
	select {
	case <-z.settled:
	case <-late.C:
		cause = fmt.Errorf("it was not ready after %v", g.opt.StartTimeout)
	case <-ctx.Done():
		cause = fmt.Errorf("start the zygote: %w", context.Cause(ctx))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case z.state == zygoteReady:
		return z, nil
	case cause == nil:
		return nil, errors.New(z.failure)
	}
	z.condemnLocked(cause.Error())
	return nil, cause
}

// adoptLocked makes z the zygote that forks the workers from now on, and retires the one before it.
// The caller starts the workers.
func (g *Group) adoptLocked(z *zygote) {
	n := &g.nursery
	old := n.current
	n.current = z
	if z.state != zygoteReady { // it has ended meanwhile
		n.current = nil
		now := time.Now()
		n.starts.fail(now, now, "the zygote ended as soon as it was ready")
	}
	if old != nil {
		old.retireLocked()
	}
}

// orphanLocked removes z as the current zygote: z must not be asked to fork any more.
func (g *Group) orphanLocked(z *zygote) {
	if g.nursery.current != z {
		return
	}
	g.nursery.current = nil
	if z.useful || time.Since(z.readyAt) > longEnough {
		g.nursery.starts.forget()
	} else {
		now := time.Now()
		g.nursery.starts.fail(now, now, "the zygote ended before it had forked a worker")
	}
	g.nurseLocked()
}

// nurseLocked reports whether workers can be launched: always without Preload, and with Preload
// when there is a zygote. Without a zygote it starts one, if the next attempt is due. Missing
// workers are launched when that zygote is ready.
func (g *Group) nurseLocked() bool {
	n := &g.nursery
	if !g.opt.Preload || n.current != nil {
		return true
	}
	if g.stage < closing && !n.raising && n.starts.mayTry(time.Now()) {
		n.raising = true
		g.tasks.Go(g.raise)
	}
	return false
}

// raise starts a zygote to replace one that has gone.
func (g *Group) raise() {
	z, err := g.startZygote(context.Background()) // Stop ends it
	g.mu.Lock()
	n := &g.nursery
	n.raising = false
	if err == nil {
		g.adoptLocked(z)
		g.topUpLocked()
	} else {
		now := time.Now()
		n.starts.fail(now, now, err.Error())
	}
	stranded := g.circuitLocked() != Closed
	note, next := g.noteCircuitLocked(), g.nextAttemptLocked()
	g.mu.Unlock()
	g.tellCircuit(note, next)
	if err != nil && !errors.Is(err, ErrClosed) {
		g.tellZygote(err)
	}
	if stranded {
		g.host.Stranded()
	}
}

// tellZygote logs why there is no zygote. It repeats the same reason only after tellAgain.
func (g *Group) tellZygote(err error) {
	g.mu.Lock()
	n := &g.nursery
	level := slog.LevelDebug
	if g.stage < closing && n.starts.tells(err.Error(), time.Now()) {
		level = slog.LevelError
	}
	next := n.starts.nextTry
	g.mu.Unlock()
	g.log.Log(context.Background(), level, "the application cannot be loaded", "error", err, "next", next.Format(time.TimeOnly))
}

// refuseZygotesLocked ends the zygotes that are starting, because the group stops.
func (g *Group) refuseZygotesLocked() {
	for z := range g.nursery.all {
		if z.state == zygoteStarting {
			z.condemnLocked("the pool stops")
		}
	}
}

// stopZygotes ends all zygotes, within ctx and the kill grace.
func (g *Group) stopZygotes(ctx context.Context) {
	g.mu.Lock()
	var wg sync.WaitGroup
	for z := range g.nursery.all {
		if z.state < zygoteLeaving {
			z.drainLocked()
		}
		wg.Go(func() { z.dismiss(ctx) })
	}
	g.mu.Unlock()
	wg.Wait()
}
