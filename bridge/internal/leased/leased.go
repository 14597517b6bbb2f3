// Package leased is for tests: workers of this process by way of a keeper and leases, with all that passes between the two
// sides written down as JSON and read again, as if they were two processes.
package leased

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"

	"github.com/pagi-go/pagi-bridge/bridge/lease"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
)

// Crew is a keeper with one gateway. Start starts both, and Stop ends both.
type Crew struct {
	*lease.Crew
	Keeper *lease.Keeper
}

// New makes a Crew.
func New(opt worker.Options, host worker.Host) worker.Crew {
	return Of(lease.KeeperOptions{Options: opt}, host)
}

// Of makes a Crew whose keeper has these options.
func Of(opt lease.KeeperOptions, host worker.Host) *Crew {
	k := lease.NewKeeper(opt)
	return &Crew{Crew: lease.New(lease.Options{Options: opt.Options, Control: Line(k)}, host), Keeper: k}
}

// Start implements worker.Crew.
func (c *Crew) Start(ctx context.Context) error {
	if err := c.Keeper.Start(ctx); err != nil {
		return err
	}
	if err := c.Crew.Start(ctx); err != nil {
		return errors.Join(err, c.Keeper.Stop(ctx))
	}
	return nil
}

// Stop implements worker.Crew.
func (c *Crew) Stop(ctx context.Context) error {
	return errors.Join(c.Crew.Stop(ctx), c.Keeper.Stop(ctx))
}

// Wire is a line between a gateway and a keeper. It is a lease.Control.
type Wire struct {
	to  lease.Control
	cut atomic.Bool
	ctx context.Context
	end context.CancelFunc
}

// Line returns a line to a keeper.
func Line(to lease.Control) *Wire {
	w := &Wire{to: to}
	w.ctx, w.end = context.WithCancel(context.Background())
	return w
}

// Cut cuts the line: nothing passes any more.
func (w *Wire) Cut() {
	w.cut.Store(true)
	w.end()
}

var errCut = errors.New("the line is cut")

// carry gives a message and its answer to the other side.
func carry[Q, A any](ctx context.Context, w *Wire, f func(context.Context, Q) (A, error), question Q) (answer A, err error) {
	if w.cut.Load() {
		return answer, errCut
	}
	q, err := copied(question)
	if err != nil {
		return answer, err
	}
	a, failed := f(ctx, q)
	if w.cut.Load() {
		return answer, errCut
	}
	if answer, err = copied(a); err == nil && failed != nil {
		err = failed
		if ctx.Err() == nil {
			err = errors.New(failed.Error()) // only text passes
		}
	}
	return answer, err
}

func copied[T any](v T) (c T, err error) {
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	return c, err
}

// none is the question or the answer where there is none.
type none struct{}

// Attach implements lease.Control.
func (w *Wire) Attach(ctx context.Context, gateway string) (lease.Stream, error) {
	if w.cut.Load() {
		return nil, errCut
	}
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(w.ctx, cancel)
	s, err := w.to.Attach(ctx, gateway)
	if err != nil {
		cancel()
		return nil, err
	}
	return stream{w, s}, nil
}

type stream struct {
	wire *Wire
	from lease.Stream
}

// Next implements lease.Stream.
func (s stream) Next() (lease.Changes, error) {
	c, err := s.from.Next()
	if s.wire.cut.Load() {
		return lease.Changes{}, errCut
	}
	if err != nil {
		return lease.Changes{}, err
	}
	return copied(c)
}

// Report implements lease.Control.
func (w *Wire) Report(ctx context.Context, r lease.Report) error {
	_, err := carry(ctx, w, func(ctx context.Context, r lease.Report) (none, error) { return none{}, w.to.Report(ctx, r) }, r)
	return err
}

// Release implements lease.Control.
func (w *Wire) Release(ctx context.Context, r lease.Release) (lease.Released, error) {
	return carry(ctx, w, w.to.Release, r)
}

// Kill implements lease.Control.
func (w *Wire) Kill(ctx context.Context, k lease.Kill) (lease.Killed, error) {
	return carry(ctx, w, w.to.Kill, k)
}

// Weigh implements lease.Control.
func (w *Wire) Weigh(ctx context.Context, x lease.Weigh) error {
	_, err := carry(ctx, w, func(ctx context.Context, x lease.Weigh) (none, error) { return none{}, w.to.Weigh(ctx, x) }, x)
	return err
}

// Reload implements lease.Control.
func (w *Wire) Reload(ctx context.Context) (lease.Reloaded, error) {
	return carry(ctx, w, func(ctx context.Context, _ none) (lease.Reloaded, error) { return w.to.Reload(ctx) }, none{})
}

// Resize implements lease.Control.
func (w *Wire) Resize(ctx context.Context, r lease.Resize) (lease.Resized, error) {
	return carry(ctx, w, w.to.Resize, r)
}

// Status implements lease.Control.
func (w *Wire) Status(ctx context.Context) (worker.Status, error) {
	return carry(ctx, w, func(ctx context.Context, _ none) (worker.Status, error) { return w.to.Status(ctx) }, none{})
}
