package pool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// A reload replaces every worker once. Its callers wait for done.
type reload struct {
	done chan struct{} // closed when err is set
	err  error
}

// Reload replaces every worker by one that has loaded the application anew, and returns when the
// last one has been told to go. No request fails or is held up: a worker gets new requests until
// its successor is ready, and finishes those it has.
//
// With Preload a new zygote loads the application first; the new workers come from it.
//
// The first successor is started alone, so that a version that cannot be loaded costs one start.
// After it up to a quarter of the workers (at least one) are replaced at a time. If a new worker
// cannot be started, the reload ends with an error that contains the worker's words. The workers
// that are not replaced yet go on serving; the new ones stay. A failed reload does not count as a
// failed start: the time until the next attempt does not grow.
//
// A call during a reload waits for the running reload and for another one after it. Several such
// calls share that second reload. The end of ctx ends the wait, not the reload. The error is
// ErrClosed when the pool is stopping or was never started.
func (p *Pool) Reload(ctx context.Context) error {
	p.mu.Lock()
	if !p.started || p.closing {
		p.mu.Unlock()
		return ErrClosed
	}
	var r *reload
	switch {
	case p.reloading == nil:
		r = &reload{done: make(chan struct{})}
		p.reloading = r
		p.tasks.Go(p.runReloads)
	case p.pending == nil:
		p.pending = &reload{done: make(chan struct{})}
		r = p.pending
	default:
		r = p.pending
	}
	p.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return fmt.Errorf("wait for the reload: %w", context.Cause(ctx))
	}
}

// runReloads carries out the reload that was asked for, and then those that were asked for
// meanwhile.
func (p *Pool) runReloads() {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	p.tasks.Go(func() {
		select {
		case <-p.halt:
			cancel(ErrClosed)
		case <-ctx.Done():
		}
	})
	for next := true; next; {
		err := p.reload(ctx)
		p.mu.Lock()
		r := p.reloading
		p.reloading, p.pending = p.pending, nil
		next = p.reloading != nil
		p.mu.Unlock()
		r.err = err
		close(r.done)
	}
}

// reload is one reload from its beginning to its end.
func (p *Pool) reload(ctx context.Context) error {
	p.mu.Lock()
	p.generation++
	generation := p.generation
	p.mu.Unlock()
	src, err := p.newSource(ctx, generation)
	if err != nil {
		return err
	}
	for first := true; ; first = false {
		trials, err := p.launchWave(src, first)
		if err != nil {
			p.abandonSource(src)
		}
		if err != nil || len(trials) == 0 {
			return err
		}
		for _, trial := range trials { // every result must be read, also after an error
			if failed := <-trial; err == nil {
				err = failed
			}
		}
		if err != nil {
			p.abandonSource(src)
			return err
		}
		p.mu.Lock()
		p.useSourceLocked(src)
		p.failures = 0
		p.topUpLocked()
		p.mu.Unlock()
	}
}

// launchWave starts the next successors and returns a channel for each, which yields nil when it is
// ready and an error when it cannot be. It starts none when every worker is of the source's
// generation.
func (p *Pool) launchWave(src *source, first bool) ([]<-chan error, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return nil, ErrClosed
	}
	size := 1
	if !first {
		size = max(1, p.want/4)
	}
	var trials []<-chan error
	launch := func(predecessor *worker) {
		trial := make(chan error, 1)
		p.launchFromLocked(src, predecessor).trial = trial
		trials = append(trials, trial)
	}
	for _, w := range slices.SortedFunc(maps.Keys(p.workers), func(a, b *worker) int { return a.id - b.id }) {
		if len(trials) < size && w.source.generation < src.generation && w.state <= Busy && w.successor == nil {
			launch(w)
		}
	}
	if first && len(trials) == 0 {
		launch(nil) // no worker to replace: all starts have failed so far
	}
	return trials, nil
}

// settleTrialLocked tells the reload that started w, once, whether the start succeeded.
func (w *worker) settleTrialLocked(err error) {
	switch {
	case w.trial == nil:
		return
	case err == nil && !w.wasReady && w.unborn:
		err = errors.New(w.failure)
	case err == nil && !w.wasReady:
		err = ErrClosed
	}
	w.trial <- err
	w.trial = nil
}
