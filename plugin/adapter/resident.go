package adapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/lease"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/plugin/internal/control"
	"github.com/pagi-go/pagi-bridge/plugin/internal/endpoint"
)

// resident is a keeper of an application in Go that runs in the adapter itself. For gateways it is the only worker of its
// mount, and multiplexes.
type resident struct {
	app    pagi.App // what is served
	status func() status.Backend
	log    *slog.Logger // the adapter's own, or a gateway's
	dir    string
	uid    int // of the gateway

	aloneFor time.Duration
	alone    func()

	ctx      context.Context // of all scopes
	cancel   context.CancelFunc
	endpoint *endpoint.Endpoint // from Start on
	serving  sync.WaitGroup
	life     *lifespan.Run

	mu       sync.Mutex
	stopped  bool
	gateways map[*guest]struct{}
	timer    *time.Timer // runs while there is no gateway
}

// maxScopes is how many scopes of one gateway a resident serves at once. What is behind it has limits of its own.
const maxScopes = 1 << 16

// sockets counts the sockets of residents, for their names.
var sockets atomic.Int64

// newResident returns a resident without its application, which logs to its log.
func newResident(r request) *resident {
	k := &resident{
		dir: r.dir, uid: r.gateway, aloneFor: r.aloneFor, alone: r.alone,
		gateways: map[*guest]struct{}{},
	}
	k.log = slog.New(lease.NewRecorder(k.record, r.log.Handler()))
	k.ctx, k.cancel = context.WithCancel(context.Background())
	return k
}

// serves gives the resident its application, which may tell its status.
func (k *resident) serves(app pagi.App, asides *control.Asides) {
	k.app = asides.Guard(app)
	if a, has := app.(interface{ Status() status.Backend }); has {
		k.status = a.Status
	}
}

// Start implements keeper.
func (k *resident) Start(ctx context.Context) (err error) {
	k.life, err = lifespan.Start(ctx, k.app, &pagi.Scope{Type: pagi.TypeLifespan, PAGI: pagi.Versions{Version: pagi.SpecVersion}, State: map[string]any{}})
	if err != nil {
		return lifespan.OwnMessage(err)
	}
	k.endpoint, err = endpoint.Listen(filepath.Join(k.dir, fmt.Sprintf("r%d", sockets.Add(1))), k.log, k.uid)
	if err != nil {
		cut, cancel := context.WithCancel(ctx)
		cancel()
		return errors.Join(err, k.Stop(cut))
	}
	k.serving.Go(func() {
		k.endpoint.Serve(k.ctx, k.app, wire.Offer{Features: wire.FeatureScopes | wire.FeaturePing | wire.FeaturePaths, Runtime: "go", Streams: maxScopes})
	})
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lonelyLocked()
	return nil
}

// lonelyLocked starts the timer of alone if there is no gateway.
func (k *resident) lonelyLocked() {
	if len(k.gateways) > 0 || k.stopped {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(k.aloneFor, func() {
		k.mu.Lock()
		is := k.timer == timer && !k.stopped
		k.mu.Unlock()
		if is {
			k.alone()
		}
	})
	k.timer = timer
}

// Stop implements keeper. The scopes end at the end of ctx.
func (k *resident) Stop(ctx context.Context) error {
	k.mu.Lock()
	k.stopped = true
	if k.timer != nil {
		k.timer.Stop()
	}
	for g := range k.gateways {
		g.tell(lease.Changes{Endpoints: []lease.Endpoint{k.described(lease.Withdrawn)}})
	}
	k.mu.Unlock()
	if k.endpoint != nil {
		k.endpoint.Withdraw()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.serving.Wait()
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	k.cancel()
	<-ended
	k.mu.Lock()
	for g := range k.gateways {
		g.end()
	}
	k.mu.Unlock()
	if k.life == nil {
		return nil
	}
	return lifespan.OwnMessage(k.life.Shutdown(context.WithoutCancel(ctx)))
}

// described describes the application for gateways.
func (k *resident) described(state lease.State) lease.Endpoint {
	return lease.Endpoint{
		Worker: 1, Generation: 1, PID: os.Getpid(), UID: os.Geteuid(), Kind: lease.Scopes,
		Address: k.endpoint.Address(), Token: k.endpoint.Token(), State: state,
	}
}

// Attach implements lease.Control.
func (k *resident) Attach(ctx context.Context, _ string) (lease.Stream, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped {
		return nil, worker.ErrClosed
	}
	if k.timer != nil {
		k.timer.Stop()
		k.timer = nil
	}
	g := &guest{ctx: ctx, wake: make(chan struct{}, 1), done: make(chan struct{})}
	g.tell(lease.Changes{
		Endpoints: []lease.Endpoint{k.described(lease.Serving)}, Listed: true,
		Facts: &lease.Facts{Circuit: worker.Closed, RetryAfter: time.Second, UID: os.Geteuid(), Fixed: true},
	})
	k.gateways[g] = struct{}{}
	context.AfterFunc(ctx, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.gateways, g)
		k.lonelyLocked()
	})
	return g, nil
}

// record gives a record to a gateway, and reports whether there is one.
func (k *resident) record(r lease.Record) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for g := range k.gateways {
		g.tell(lease.Changes{Records: []lease.Record{r}})
		return true
	}
	return false
}

// Report implements lease.Control. The application sees itself what it has.
func (*resident) Report(context.Context, lease.Report) error { return nil }

// Release implements lease.Control. The application ends with its mount.
func (*resident) Release(context.Context, lease.Release) (lease.Released, error) {
	return lease.Released{Verdict: lease.Leave}, nil
}

// Kill implements lease.Control. The adapter does not end itself: its own time limits are those of the scripts.
func (*resident) Kill(context.Context, lease.Kill) (lease.Killed, error) { return lease.Killed{}, nil }

// Weigh implements lease.Control.
func (*resident) Weigh(context.Context, lease.Weigh) error { return nil }

// Reload implements lease.Control. There is nothing to load again.
func (*resident) Reload(context.Context) (lease.Reloaded, error) { return lease.Reloaded{}, nil }

// Resize implements lease.Control. The application has no workers of its own.
func (*resident) Resize(context.Context, lease.Resize) (lease.Resized, error) {
	return lease.Resized{Workers: 1}, nil
}

// Status implements lease.Control.
func (k *resident) Status(context.Context) (worker.Status, error) {
	if k.status == nil {
		return worker.Status{}, nil
	}
	return k.status(), nil
}

// guest is a gateway that is attached: a lease.Stream. What waits for it is bounded by maxWaiting.
type guest struct {
	ctx  context.Context
	wake chan struct{} // capacity 1
	done chan struct{}
	once sync.Once

	mu      sync.Mutex
	waiting []lease.Changes
	lost    int
}

// maxWaiting is how many changes may wait for a gateway.
const maxWaiting = 4096

// tell queues changes. Of those beyond maxWaiting only records can be lost.
func (g *guest) tell(c lease.Changes) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) >= maxWaiting && len(c.Endpoints) == 0 {
		g.lost += len(c.Records)
		return
	}
	g.waiting = append(g.waiting, c)
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// end ends the stream.
func (g *guest) end() { g.once.Do(func() { close(g.done) }) }

// take returns the next changes.
func (g *guest) take() (c lease.Changes, some bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 {
		return c, false
	}
	c = g.waiting[0]
	g.waiting = g.waiting[1:]
	c.Lost, g.lost = g.lost, 0
	return c, true
}

// Next implements lease.Stream.
func (g *guest) Next() (lease.Changes, error) {
	for {
		if c, some := g.take(); some {
			return c, nil
		}
		select {
		case <-g.wake:
		case <-g.done:
			return lease.Changes{}, worker.ErrClosed
		case <-g.ctx.Done():
			return lease.Changes{}, context.Cause(g.ctx)
		}
	}
}
