package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// nursery is the part of a pool with Preload that keeps a zygote ready. Its fields are guarded by
// Pool.mu.
type nursery struct {
	current  *zygote // the zygote that forks the workers; nil while there is none
	all      map[*zygote]struct{}
	raised   int
	raising  bool // a zygote is being started to become the current one
	failures int  // zygotes in a row that have failed
	nextTry  time.Time
	reason   string // why the last of them failed
	told     string // the last such reason in the log
	toldAt   time.Time
}

// makerLocked returns the maker of a worker that is launched now.
func (p *Pool) makerLocked() maker {
	switch {
	case !p.opt.Preload:
		return program{}
	case p.nursery.current == nil:
		return goneZygote{}
	}
	return p.nursery.current
}

// goneZygote is the maker while there is no zygote: each spawn fails.
type goneZygote struct{}

func (goneZygote) spawn(*peer) (spawned, error) { return spawned{}, errZygoteGone }

// preload starts the first zygote.
func (p *Pool) preload(ctx context.Context) error {
	if !p.opt.Preload {
		return nil
	}
	p.mu.Lock()
	p.nursery.raising = true
	p.mu.Unlock()
	z, err := p.startZygote(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nursery.raising = false
	if err == nil {
		p.adoptLocked(z)
	}
	return err
}

// startZygote starts a zygote, beside the current one if there is one, and returns when it is
// ready. The error says why it is not, in the application's own words if there are any. A zygote
// that has failed is ended then; the current one goes on.
func (p *Pool) startZygote(ctx context.Context) (*zygote, error) {
	p.mu.Lock()
	if !p.started || p.closing {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	p.nursery.raised++
	z := &zygote{
		settled:  make(chan struct{}),
		gone:     make(chan struct{}),
		forks:    map[string]chan forkResult{},
		children: map[int]*child{},
	}
	z.init(p, p.nursery.raised, p.journal("zygote", p.nursery.raised))
	p.nursery.all[z] = struct{}{}
	p.tokens[z.token] = z
	p.tasks.Go(z.live)
	p.mu.Unlock()

	late := time.NewTimer(p.opt.StartTimeout)
	defer late.Stop()
	var cause error
	select {
	case <-z.settled:
	case <-late.C:
		cause = fmt.Errorf("it was not ready after %v", p.opt.StartTimeout)
	case <-ctx.Done():
		cause = fmt.Errorf("start the zygote: %w", context.Cause(ctx))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
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
func (p *Pool) adoptLocked(z *zygote) {
	n := &p.nursery
	old := n.current
	n.current = z
	if z.state != zygoteReady { // it has ended meanwhile
		n.current = nil
		n.failedLocked()
	}
	if old != nil {
		old.retireLocked()
	}
}

// orphanLocked removes z as the current zygote: z must not be asked to fork any more.
func (p *Pool) orphanLocked(z *zygote) {
	if p.nursery.current != z {
		return
	}
	p.nursery.current = nil
	if z.useful || time.Since(z.readyAt) > longEnough {
		p.nursery.failures = 0
	} else {
		p.nursery.reason = "the zygote ended before it had forked a worker"
		p.nursery.failedLocked()
	}
	p.nurseLocked()
}

// failedLocked counts a zygote that has failed.
func (n *nursery) failedLocked() {
	n.failures++
	n.nextTry = time.Now().Add(backoff(n.failures))
}

// nurseLocked reports whether workers can be launched: always without Preload, and with Preload
// when there is a zygote. Without a zygote it starts one, if the next attempt is due. Missing
// workers are launched when that zygote is ready.
func (p *Pool) nurseLocked() bool {
	n := &p.nursery
	if !p.opt.Preload || n.current != nil {
		return true
	}
	if !p.closing && !n.raising && (n.failures == 0 || time.Now().After(n.nextTry)) {
		n.raising = true
		p.tasks.Go(p.raise)
	}
	return false
}

// raise starts a zygote to replace one that has gone.
func (p *Pool) raise() {
	z, err := p.startZygote(context.Background()) // Stop ends it
	var stranded []*exchange
	p.mu.Lock()
	n := &p.nursery
	n.raising = false
	if err == nil {
		p.adoptLocked(z)
		p.topUpLocked()
	} else {
		n.reason = err.Error()
		n.failedLocked()
	}
	if p.circuitLocked() != Closed {
		stranded = p.queue.takeAll()
		p.checkDrainedLocked()
	}
	note, next := p.noteCircuitLocked(), p.nextAttemptLocked()
	p.mu.Unlock()
	p.tellCircuit(note, next)
	if err != nil && !errors.Is(err, ErrClosed) {
		p.tellZygote(err)
	}
	for _, x := range stranded {
		x.fail(ErrNoWorkers)
	}
}

// tellZygote logs why there is no zygote. It repeats the same reason only after tellAgain.
func (p *Pool) tellZygote(err error) {
	p.mu.Lock()
	n := &p.nursery
	level := slog.LevelDebug
	if now := time.Now(); !p.closing && (err.Error() != n.told || now.Sub(n.toldAt) > tellAgain) {
		level, n.told, n.toldAt = slog.LevelError, err.Error(), now
	}
	next := n.nextTry
	p.mu.Unlock()
	p.log.Log(context.Background(), level, "the application cannot be loaded", "error", err, "next", next.Format(time.TimeOnly))
}

// refuseZygotesLocked ends the zygotes that are starting, because the pool stops.
func (p *Pool) refuseZygotesLocked() {
	for z := range p.nursery.all {
		if z.state == zygoteStarting {
			z.condemnLocked("the pool stops")
		}
	}
}

// stopZygotes ends all zygotes, within ctx and the kill grace.
func (p *Pool) stopZygotes(ctx context.Context) {
	p.mu.Lock()
	var wg sync.WaitGroup
	for z := range p.nursery.all {
		if z.state < zygoteLeaving {
			z.drainLocked()
		}
		wg.Go(func() { z.dismiss(ctx) })
	}
	p.mu.Unlock()
	wg.Wait()
}
