package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/mux"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// The pauses before a plugin that has died is started again: they double with each death that follows soon.
const (
	firstPause   = 250 * time.Millisecond
	longestPause = 30 * time.Second
	// settled is how long a plugin must serve so that its next death counts as the first one.
	settled = 10 * time.Second
)

// external keeps a plugin of the protocol "grpc" running. It is a backend.
//
//	serving --death--> paused --start--> serving
//	                     ^--failure--/
//
// One instance serves at a time. Reload may replace it: then the old one lives on until it has no scopes.
type external struct {
	opt     *Plugin
	log     *slog.Logger // of the gateway
	limiter *limiter
	said    *slog.Logger // of what the plugin says
	set     mux.Set

	tasks   sync.WaitGroup
	quit    chan struct{} // closed by stop
	reloads sync.Mutex    // one at a time

	mu       sync.Mutex
	current  *instance // nil while none serves
	old      map[*instance]struct{}
	closing  bool
	why      string    // why none serves
	next     time.Time // of the next start, while none serves
	deaths   int       // that have followed soon after a start
	launched int
	restarts status.Restarts
	failed   int64
}

func newExternal(p *Plugin) *external {
	x := &external{opt: p, log: p.Logger.With("mount", p.Name), limiter: newLimiter(p.LogRate), quit: make(chan struct{}), old: map[*instance]struct{}{}}
	x.said = x.limiter.logger(x.log)
	return x
}

// launch starts an instance that serves scopes. After an error nothing of it is left.
func (x *external) launch(ctx context.Context) (*instance, error) {
	x.mu.Lock()
	x.launched++
	number := x.launched
	x.mu.Unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, x.opt.StartTimeout, fmt.Errorf("it does not serve after %v (start_timeout)", x.opt.StartTimeout))
	defer cancel()
	return launch(ctx, x, number)
}

func (x *external) start(ctx context.Context) error {
	i, err := x.launch(ctx)
	if err != nil {
		return err
	}
	x.install(i)
	return nil
}

// install makes i the instance that serves, and returns the one that served before.
func (x *external) install(i *instance) (before *instance) {
	x.mu.Lock()
	before, x.current, x.why = x.current, i, ""
	if before != nil {
		x.old[before] = struct{}{}
	}
	x.tasks.Go(func() { x.watch(i) })
	x.mu.Unlock()
	i.serve()
	return before
}

// watch waits for the end of an instance, and starts another one if it was serving.
func (x *external) watch(i *instance) {
	var reason error
	select {
	case reason = <-i.broken:
	case <-i.process.ended:
		reason = errors.New(i.process.exit.String())
		select {
		case reason = <-i.broken:
		default:
		}
	case <-i.stopping:
		return // the one that stops it sees to its end
	}
	i.kill()
	if i.process.hasEnded() {
		reason = fmt.Errorf("%w (%s)", reason, i.process.exit)
	}
	x.limiter.flush(x.log)
	x.mu.Lock()
	delete(x.old, i)
	was := x.current == i && !x.closing
	if was {
		x.current = nil
		x.restarts.Died++
		if time.Since(i.since) < settled {
			x.deaths++
		} else {
			x.deaths = 0
		}
	}
	x.mu.Unlock()
	if !was {
		return
	}
	x.log.Error("the plugin has ended and is started again", "reason", reason, "pid", i.process.ID(), "served for", time.Since(i.since).Round(time.Millisecond))
	x.again(reason)
}

// again starts the plugin until it serves, or until stop.
func (x *external) again(reason error) {
	for {
		x.mu.Lock()
		pause := min(longestPause, firstPause<<min(x.deaths, 20))
		x.why, x.next = reason.Error(), time.Now().Add(pause)
		x.mu.Unlock()
		select {
		case <-time.After(pause):
		case <-x.quit:
			return
		}
		x.mu.Lock()
		taken := x.current != nil // a reload was faster
		x.mu.Unlock()
		if taken {
			return
		}
		i, err := x.launch(x.life())
		if err == nil {
			x.adopt(i)
			return
		}
		reason = err
		x.mu.Lock()
		x.deaths++
		x.failed++
		again := min(longestPause, firstPause<<min(x.deaths, 20))
		closing := x.closing
		x.mu.Unlock()
		if closing {
			return
		}
		x.log.Error("the plugin cannot be started", "error", err, "next try in", again)
	}
}

// adopt installs an instance that was started in place of a dead one.
func (x *external) adopt(i *instance) {
	x.mu.Lock()
	late := x.closing || x.current != nil
	x.mu.Unlock()
	if late {
		i.kill()
		return
	}
	x.install(i)
	x.log.Info("the plugin serves again", "pid", i.process.ID())
}

// life returns a context that ends with stop.
func (x *external) life() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	x.tasks.Go(func() {
		<-x.quit
		cancel()
	})
	return ctx
}

func (x *external) stop(ctx context.Context) error {
	x.mu.Lock()
	if x.closing {
		x.mu.Unlock()
		return nil
	}
	x.closing, x.why = true, "it is being stopped"
	list := []*instance{}
	for i := range x.old {
		list = append(list, i)
	}
	if x.current != nil {
		list = append(list, x.current)
	}
	x.mu.Unlock()
	close(x.quit)
	var stopping sync.WaitGroup
	for _, i := range list {
		stopping.Go(func() { i.stop(ctx) })
	}
	stopping.Wait()
	x.tasks.Wait()
	x.limiter.flush(x.log)
	return nil
}

// reload has the plugin load its application anew, or replaces its process.
func (x *external) reload(ctx context.Context) error {
	x.reloads.Lock()
	defer x.reloads.Unlock()
	x.mu.Lock()
	i := x.current
	x.mu.Unlock()
	if i != nil && i.code == x.opt.Code() {
		known, err := i.reload(ctx)
		if known {
			return err
		}
	}
	next, err := x.launch(ctx)
	if err != nil {
		return fmt.Errorf("the plugin goes on as it was: %w", err)
	}
	x.mu.Lock()
	closing := x.closing
	x.mu.Unlock()
	if closing {
		next.kill()
		return errors.New("the plugin is being stopped")
	}
	before := x.install(next)
	x.log.Info("the plugin was replaced by a new process", "pid", next.process.ID())
	if before != nil {
		x.mu.Lock()
		x.restarts.Reload++
		x.mu.Unlock()
		x.tasks.Go(func() {
			before.retire(x.quit)
			x.mu.Lock()
			delete(x.old, before)
			x.mu.Unlock()
		})
	}
	return nil
}

func (x *external) serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send, chosen func(worker, pid int)) error {
	if chosen != nil {
		x.mu.Lock()
		if current := x.current; current != nil {
			pid, _ := strconv.Atoi(current.process.ID())
			chosen(current.number, pid)
		}
		x.mu.Unlock()
	}
	return x.set.Serve(ctx, scope, receive, send)
}

func (x *external) absence() (why string, retry time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.why != "":
		return "it is not running: " + x.why, time.Until(x.next)
	case x.current != nil && x.current.open() == 0:
		return "none of its endpoints can be used now", time.Second
	}
	return "it has as many scopes as it takes", time.Second
}

func (x *external) status() status.Backend {
	x.mu.Lock()
	current := x.current
	list := []*instance{}
	for i := range x.old {
		list = append(list, i)
	}
	b := status.Backend{Launched: x.launched, Circuit: "closed"}
	b.Totals.Restarts, b.Totals.FailedStarts = x.restarts, x.failed
	if current == nil {
		b.Circuit, b.Problem, b.NextStart = "open", x.why, x.next
	}
	x.mu.Unlock()
	if current != nil {
		list = append(list, current)
	}
	for _, i := range list {
		i.addStatus(&b)
	}
	return b
}
