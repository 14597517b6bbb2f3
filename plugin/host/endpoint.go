package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/mux"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/proc"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/plugin/internal/control"
	"github.com/pagi-go/pagi-bridge/plugin/internal/pluginpb"
)

const (
	// dialTime is how long the greeting of an endpoint may take.
	dialTime = 5 * time.Second
	// endTime is how long an endpoint may take to say that it has ended once its connection has.
	endTime = time.Second
)

// endpoint is a socket that the plugin has named, and the connection to it.
//
//	dialling --connected, ready, its lifespan begun--> serving --relieved, withdrawn--> leaving --its connection ends--> ended
type endpoint struct {
	instance *instance
	told     *pluginpb.Endpoint // as it was named first
	since    time.Time
	count    atomic.Int64 // scopes that have ended

	mu      sync.Mutex
	conn    *mux.Conn // nil until it is connected
	life    *lifespan.Run
	stage   endpointStage
	idle    chan struct{} // closed when it is leaving and has no scopes
	isIdle  bool
	over    chan struct{} // closed when the plugin says that it has ended, or the instance ends
	isOver  bool
	running chan struct{} // closed when run has returned
}

type endpointStage uint8

const (
	dialling endpointStage = iota
	serving
	leaving
	gone
)

func newEndpoint(i *instance, told *pluginpb.Endpoint) *endpoint {
	return &endpoint{instance: i, told: told, since: time.Now(), idle: make(chan struct{}), over: make(chan struct{}), running: make(chan struct{})}
}

// run connects to the endpoint and waits for the end of the connection.
func (e *endpoint) run() {
	i := e.instance
	defer close(e.running)
	defer func() {
		i.mu.Lock()
		delete(i.endpoints, e.told.Id)
		i.mu.Unlock()
	}()
	if e.told.Kind != pluginpb.EndpointKind_ENDPOINT_KIND_SCOPES {
		i.refuse(e.told, errors.New("this gateway gives no requests to the blocking workers of external plugins"))
		return
	}
	ended := make(chan error, 1)
	conn, err := e.connect(ended)
	if err != nil {
		if i.ctx.Err() == nil {
			i.refuse(e.told, err)
		}
		return
	}
	if err = e.begin(conn); err == nil {
		i.decide(nil)
		err = <-ended
		conn.Close()
	} else {
		conn.Close()
		<-ended
		if i.ctx.Err() == nil {
			i.refuse(e.told, err)
		}
		return
	}
	e.lost(err)
}

// connect dials the socket, checks who listens there, and greets. When the connection has ended, ended gets why.
func (e *endpoint) connect(ended chan<- error) (*mux.Conn, error) {
	i := e.instance
	if err := control.CheckSocket(e.told.Address, os.Geteuid()); err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: dialTime}
	raw, err := dialer.DialContext(i.ctx, "unix", e.told.Address)
	if err != nil {
		return nil, fmt.Errorf("dial it: %w", err)
	}
	line, err := e.greet(raw.(*net.UnixConn))
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	ready := make(chan error, 1)
	conn := mux.New(line, mux.Options{
		Logger: i.x.said, Streams: int(min(e.told.Quota, 1<<20)),
		Ready:   func(err error) { ready <- err },
		Exiting: func(string) { e.relieve(false) },
		Served:  e.scopeEnded,
	})
	i.tasks.Go(func() {
		err := conn.Run()
		ended <- err
		select {
		case ready <- fmt.Errorf("its connection has ended before it was ready: %w", err):
		default:
		}
	})
	late := time.NewTimer(i.x.opt.StartTimeout)
	defer late.Stop()
	select {
	case err = <-ready:
		if err != nil {
			err = fmt.Errorf("its application cannot be loaded: %w", err)
		}
	case <-i.ctx.Done():
		err = context.Cause(i.ctx)
	case <-late.C:
		err = fmt.Errorf("it is not ready after %v", i.x.opt.StartTimeout)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// greet compares the process at the other end with the one that the plugin has named.
func (e *endpoint) greet(raw *net.UnixConn) (*mux.Line, error) {
	peer, known, err := proc.PeerOf(raw)
	switch {
	case err != nil:
		return nil, err
	case known && peer.UID != os.Geteuid():
		return nil, fmt.Errorf("its socket is served by the user %d", peer.UID)
	case known && peer.PID != int(e.told.Pid):
		return nil, fmt.Errorf("its socket is served by the process %d, and not by %d, which the plugin names", peer.PID, e.told.Pid)
	}
	line, err := mux.Greet(raw, wire.Offer{Features: wire.FeatureScopes | wire.FeaturePing | wire.FeatureDescriptors}, e.told.Token)
	if err != nil {
		return nil, fmt.Errorf("greet it: %w", err)
	}
	return line, nil
}

// begin starts the lifespan of the application, and lets scopes in.
func (e *endpoint) begin(conn *mux.Conn) error {
	i := e.instance
	ctx, cancel := context.WithTimeoutCause(i.ctx, i.x.opt.StartTimeout, fmt.Errorf("no answer after %v (start_timeout)", i.x.opt.StartTimeout))
	defer cancel()
	scope := &pagi.Scope{Type: pagi.TypeLifespan, State: map[string]any{}}
	scope.PAGI.WorkerNum = i.number
	life, err := lifespan.Start(ctx, conn, scope)
	if err != nil {
		return err
	}
	if err := life.Declined(); errors.Is(err, mux.ErrClosed) {
		return fmt.Errorf("its connection has ended before it served: %w", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.conn, e.life = conn, life
	if e.stage == dialling {
		e.stage = serving
	}
	if i.serving && e.stage == serving {
		i.x.set.Add(conn)
	}
	if e.stage == leaving {
		e.checkIdleLocked()
	}
	return nil
}

// enterLocked lets scopes in, if it is connected; instance.mu is held.
func (e *endpoint) enterLocked() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conn != nil && e.stage == serving {
		e.instance.x.set.Add(e.conn)
	}
}

// scopesLocked is how many scopes are open besides the lifespan's.
func (e *endpoint) scopesLocked() int {
	if e.conn == nil {
		return 0
	}
	n := e.conn.Load()
	if e.life != nil && e.life.Supported() && e.stage != gone {
		select {
		case <-e.life.Finished():
		default:
			n--
		}
	}
	return max(0, n)
}

func (e *endpoint) load() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.scopesLocked()
}

func (e *endpoint) served() int { return int(e.count.Load()) }

func (e *endpoint) usable() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stage == serving
}

func (e *endpoint) state() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.stage == dialling:
		return "starting"
	case e.stage == serving && e.scopesLocked() > 0:
		return "busy"
	case e.stage == serving:
		return "ready"
	}
	return "draining"
}

// scopeEnded is called when a stream has ended.
func (e *endpoint) scopeEnded(int) {
	e.count.Add(1)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stage == leaving {
		e.checkIdleLocked()
	}
}

// checkIdleLocked closes idle if no scopes are left.
func (e *endpoint) checkIdleLocked() {
	if !e.isIdle && e.conn != nil && e.scopesLocked() == 0 {
		e.isIdle = true
		close(e.idle)
	}
}

// withdraw lets no scope in any more. It reports whether that is new.
func (e *endpoint) withdraw() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stage >= leaving {
		return false
	}
	e.stage = leaving
	if e.conn != nil {
		e.instance.x.set.Remove(e.conn)
	}
	e.checkIdleLocked()
	return true
}

// relieve lets no scope in any more, and has the endpoint end once it has none: by Release, or by DRAIN.
func (e *endpoint) relieve(release bool) {
	if !e.withdraw() {
		return
	}
	i := e.instance
	i.tasks.Go(func() {
		select {
		case <-e.idle:
		case <-e.running:
			return
		case <-i.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(i.ctx, i.x.opt.KillAfter)
		defer cancel()
		e.finish(ctx)
		if release {
			if _, err := i.rpc.Release(ctx, &pluginpb.ReleaseRequest{Mount: mountID, Endpoint: e.told.Id}); err != nil && i.ctx.Err() == nil {
				i.x.log.Warn("the plugin does not take a worker back", "endpoint", e.told.Id, "error", control.Words(err))
			}
		}
	})
}

// finish ends the lifespan of the application and has the worker end its scopes and close the connection.
func (e *endpoint) finish(ctx context.Context) {
	e.withdraw()
	e.mu.Lock()
	conn, life := e.conn, e.life
	e.mu.Unlock()
	if conn == nil {
		return
	}
	select {
	case <-e.idle:
	case <-e.running:
		return
	case <-ctx.Done():
	}
	if err := life.Shutdown(ctx); err != nil {
		e.instance.x.log.Warn("the application of a plugin does not shut down as it should", "error", err)
	}
	if conn.Drain() != nil {
		return // it has ended already
	}
	select {
	case <-e.running:
	case <-ctx.Done():
	}
}

// ended says that the plugin has declared the endpoint ended.
func (e *endpoint) ended(exit string) {
	e.withdraw()
	e.mu.Lock()
	if !e.isOver {
		e.isOver = true
		close(e.over)
	}
	conn := e.conn
	e.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
	if exit != "" {
		e.instance.x.log.Debug("an endpoint of the plugin has ended", "endpoint", e.told.Id, "exit", exit)
	}
}

// close ends the connection, because the instance ends.
func (e *endpoint) close() {
	e.withdraw()
	e.mu.Lock()
	conn := e.conn
	e.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
	<-e.running
}

// lost is called when the connection has ended. Where that was not to be expected, the instance ends.
func (e *endpoint) lost(err error) {
	i := e.instance
	e.mu.Lock()
	before := e.stage
	e.stage = gone
	i.x.set.Remove(e.conn)
	e.mu.Unlock()
	switch {
	case i.ctx.Err() != nil:
		return
	case errors.Is(err, mux.ErrProtocol), errors.Is(err, wire.ErrMalformed), errors.Is(err, wire.ErrTooLarge):
		i.fail(fmt.Errorf("it breaks the wire protocol: %w", err))
		return
	case errors.Is(err, mux.ErrBlocked):
		i.fail(fmt.Errorf("its loop is blocked: %w", err))
		return
	case before == leaving:
		return
	}
	late := time.NewTimer(endTime)
	defer late.Stop()
	select {
	case <-e.over:
	case <-i.process.ended:
	case <-i.ctx.Done():
	case <-late.C:
		i.fail(fmt.Errorf("it has closed the connection of an endpoint that serves: %w", err))
	}
}
