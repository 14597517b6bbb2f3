package adapters

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/lease"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/confine"
	"github.com/pagi-go/pagi-bridge/plugin/internal/adapterpb"
	"github.com/pagi-go/pagi-bridge/plugin/internal/control"
)

// Crew is the workers of one mount at an adapter: a lease.Crew that finds its adapter itself.
type Crew struct {
	*lease.Crew
	adapters  *Adapters
	isolation confine.Isolation
	mount     Mount
	id        string // of the mount
	options   []byte
	first     *late
	log       *slog.Logger

	mu      sync.Mutex
	process *process // from Start to Stop
	control *remote  // nil while there is none
}

func newCrew(a *Adapters, isolation confine.Isolation, m Mount, options []byte, o worker.Options, host worker.Host) *Crew {
	c := &Crew{
		adapters: a, isolation: isolation, mount: m, options: options, first: &late{},
		id: m.Name + " " + digest(m.Kind+" "+string(options)), log: a.opt.Logger.With("mount", m.Name),
	}
	c.Crew = lease.New(lease.Options{Options: o, Control: c.first}, host)
	return c
}

// Start implements worker.Crew: it starts the adapter if this is its first mount, has it open the mount, and takes the
// workers.
func (c *Crew) Start(ctx context.Context) error {
	p, err := c.adapters.take(c)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.process = p
	c.mu.Unlock()
	err = c.begin(ctx, p)
	if err != nil {
		err = errors.Join(err, c.letGo(ctx))
	}
	return err
}

func (c *Crew) begin(ctx context.Context, p *process) error {
	i, err := p.join(ctx, c)
	if err != nil {
		return err
	}
	r, err := c.open(ctx, i)
	if err != nil {
		return err
	}
	c.first.to = r
	return c.Crew.Start(ctx)
}

// open has an instance open the mount.
func (c *Crew) open(ctx context.Context, i *instance) (*remote, error) {
	stream, err := i.rpc.Open(ctx, &adapterpb.OpenRequest{
		Gateway: c.adapters.name, Mount: c.id, Kind: c.mount.Kind, Name: c.mount.Name, Options: c.options,
	})
	for err == nil {
		var m *adapterpb.OpenResponse
		if m, err = stream.Recv(); err != nil {
			break
		}
		switch {
		case m.Done && m.Error != "":
			return nil, errors.New(shortened(m.Error))
		case m.Done:
			r := &remote{rpc: i.rpc, mount: c.id}
			r.audit = func() *audit { return &audit{dir: i.dir, uid: i.uid, log: c.log, workers: map[string]bool{}} }
			r.lost = func() { c.lost(i, r) }
			c.mu.Lock()
			c.control = r
			c.mu.Unlock()
			return r, nil
		}
		c.tell(ctx, m.Record)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if i.endsWithin(deathTime) {
		return nil, errors.New("its adapter has died: " + i.exit)
	}
	return nil, control.Words(err)
}

// tell logs a record of the start.
func (c *Crew) tell(ctx context.Context, text []byte) {
	var record lease.Record
	if err := json.Unmarshal(text, &record); err != nil {
		c.log.Warn("the adapter has sent a log record that cannot be read", "error", err)
		return
	}
	_ = record.Handle(ctx, c.adapters.opt.Logger.Handler()) // a log has no place to report its errors to
}

// lost is called when an instance that runs does not tell of the workers any more.
func (c *Crew) lost(i *instance, r *remote) {
	c.mu.Lock()
	p := c.process
	current := c.control == r && p != nil
	c.mu.Unlock()
	if current && !i.hasEnded() && p.running() == i {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.life.Err() == nil {
			p.tasks.Go(func() { c.reopen(p.life) })
		}
	}
}

// reopen opens the mount at the instance that runs now, until it succeeds or life ends.
func (c *Crew) reopen(life context.Context) {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		c.mu.Lock()
		p := c.process
		c.mu.Unlock()
		if p == nil {
			return
		}
		i := p.running()
		if i == nil {
			return // its successor opens the mount
		}
		r, err := c.open(life, i)
		if err == nil {
			err = c.Attach(life, r)
		}
		switch {
		case err == nil, life.Err() != nil, i.hasEnded():
			return
		case errors.Is(err, worker.ErrClosed): // it is being stopped
			return
		}
		c.log.Error("the mount cannot be served by its adapter", "error", err, "next try in", pause)
		select {
		case <-time.After(pause):
		case <-life.Done():
			return
		}
	}
}

// Dir implements worker.Crew. Where the adapter may read certain files only, it is a directory from its start.
func (c *Crew) Dir() string {
	c.mu.Lock()
	p := c.process
	c.mu.Unlock()
	if p != nil {
		if i := p.running(); i != nil && i.given != "" {
			return i.given
		}
	}
	return c.Crew.Dir()
}

// Stop implements worker.Crew.
func (c *Crew) Stop(ctx context.Context) error {
	err := c.Crew.Stop(ctx)
	return errors.Join(err, c.letGo(ctx))
}

// letGo closes the mount, and ends the adapter with its last mount.
func (c *Crew) letGo(ctx context.Context) error {
	c.mu.Lock()
	p, r := c.process, c.control
	c.process, c.control = nil, nil
	c.mu.Unlock()
	if p == nil {
		return nil
	}
	var err error
	if i := p.running(); i != nil && r != nil && r.rpc == i.rpc {
		left := grace(ctx)
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), left+killAfter)
		defer cancel()
		_, err = i.rpc.Close(patience, &adapterpb.CloseRequest{Gateway: c.adapters.name, Mount: c.id, GraceMs: uint32(left.Milliseconds())})
		if err != nil && i.endsSoon() {
			err = nil // the mount has ended with its adapter
		}
	}
	p.part(c)
	if c.adapters.drop(p) {
		err = errors.Join(err, p.stop(ctx))
	}
	return control.Words(err)
}

// late is a lease.Control that is known only when the crew starts.
type late struct{ to lease.Control }

var _ lease.Control = (*late)(nil)

// Attach implements lease.Control.
func (l *late) Attach(ctx context.Context, gateway string) (lease.Stream, error) {
	return l.to.Attach(ctx, gateway)
}

// Report implements lease.Control.
func (l *late) Report(ctx context.Context, r lease.Report) error { return l.to.Report(ctx, r) }

// Release implements lease.Control.
func (l *late) Release(ctx context.Context, r lease.Release) (lease.Released, error) {
	return l.to.Release(ctx, r)
}

// Kill implements lease.Control.
func (l *late) Kill(ctx context.Context, k lease.Kill) (lease.Killed, error) {
	return l.to.Kill(ctx, k)
}

// Weigh implements lease.Control.
func (l *late) Weigh(ctx context.Context, w lease.Weigh) error { return l.to.Weigh(ctx, w) }

// Reload implements lease.Control.
func (l *late) Reload(ctx context.Context) (lease.Reloaded, error) { return l.to.Reload(ctx) }

// Resize implements lease.Control.
func (l *late) Resize(ctx context.Context, r lease.Resize) (lease.Resized, error) {
	return l.to.Resize(ctx, r)
}

// Status implements lease.Control.
func (l *late) Status(ctx context.Context) (worker.Status, error) { return l.to.Status(ctx) }
