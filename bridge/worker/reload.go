package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// reloads are the reloads of a group. Group.mu guards them.
//
//	none --Reload--> one runs --Reload--> one runs, another waits: further calls join that one
//	one runs, another waits --the first has ended--> one runs --it has ended--> none
type reloads struct {
	running    *reload
	pending    *reload // the reload after it
	generation int     // that of the newest source
}

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
// ErrClosed when the group is stopping or was never started.
func (g *Group) Reload(ctx context.Context) error {
	g.mu.Lock()
	if g.stage != running {
		g.mu.Unlock()
		return ErrClosed
	}
	var r *reload
	switch {
	case g.reloads.running == nil:
		r = &reload{done: make(chan struct{})}
		g.reloads.running = r
		g.tasks.Go(g.runReloads)
	case g.reloads.pending == nil:
		g.reloads.pending = &reload{done: make(chan struct{})}
		r = g.reloads.pending
	default:
		r = g.reloads.pending
	}
	g.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return fmt.Errorf("wait for the reload: %w", context.Cause(ctx))
	}
}

// runReloads carries out the reload that was asked for, and then those that were asked for
// meanwhile.
func (g *Group) runReloads() {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	g.tasks.Go(func() {
		select {
		case <-g.halt:
			cancel(ErrClosed)
		case <-ctx.Done():
		}
	})
	for next := true; next; {
		err := g.reload(ctx)
		g.mu.Lock()
		r := g.reloads.running
		g.reloads.running, g.reloads.pending = g.reloads.pending, nil
		next = g.reloads.running != nil
		g.mu.Unlock()
		r.err = err
		close(r.done)
	}
}

// reload is one reload from its beginning to its end.
func (g *Group) reload(ctx context.Context) error {
	g.mu.Lock()
	g.reloads.generation++
	generation := g.reloads.generation
	g.mu.Unlock()
	src, err := g.newSource(ctx, generation)
	if err != nil {
		return err
	}
	for first := true; ; first = false {
		trials, err := g.launchWave(src, first)
		if err != nil {
			g.abandonSource(src)
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
			g.abandonSource(src)
			return err
		}
		g.mu.Lock()
		g.useSourceLocked(src)
		g.forgetFailuresLocked()
		g.topUpLocked()
		g.mu.Unlock()
	}
}

// launchWave starts the next successors and returns a channel for each, which yields nil when it is
// ready and an error when it cannot be. It starts none when every worker is of the source's
// generation.
func (g *Group) launchWave(src *source, first bool) ([]<-chan error, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stage >= closing {
		return nil, ErrClosed
	}
	size := 1
	if !first {
		size = max(1, g.size.want/4)
	}
	var trials []<-chan error
	launch := func(predecessor *Process) {
		trial := make(chan error, 1)
		g.launchFromLocked(src, predecessor).trial = trial
		trials = append(trials, trial)
	}
	for _, w := range slices.SortedFunc(maps.Keys(g.workers), func(a, b *Process) int { return a.id - b.id }) {
		if len(trials) < size && w.generation < src.generation && w.staysLocked() {
			launch(w)
		}
	}
	if first && len(trials) == 0 {
		launch(nil) // no worker to replace: all starts have failed so far
	}
	return trials, nil
}

// settleTrialLocked tells the reload that started w, once, whether the start succeeded.
func (w *Process) settleTrialLocked(err error) {
	switch {
	case w.trial == nil:
		return
	case err == nil && !w.wasReady && w.end.unborn:
		err = errors.New(w.failure)
	case err == nil && !w.wasReady:
		err = ErrClosed
	}
	w.trial <- err
	w.trial = nil
}
