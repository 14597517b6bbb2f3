package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
	"github.com/pagi-go/pagi-bridge/server/http1"
	"github.com/pagi-go/pagi-bridge/server/ws"
)

// generation is an application with the options for serving it. A Run begins with one generation,
// and each Reload replaces it by another.
type generation struct {
	*Server
	Limits // the Limits of the Server with defaults, as are the Timeouts
	Timeouts
	app      pagi.App // the Server's, or one around it
	log      *slog.Logger
	engine   *engine.Handler
	web      *nethttp.Adapter // passes requests to app
	ws       *ws.Server
	lifespan *appLife

	headLimit int // largest request head in bytes; 0: no limit
	connLimit int // connections open at once; 0: no limit

	requests atomic.Int64  // how many are in dispatch
	stopping chan struct{} // closed when the server stops
	halt     func()        // closes stopping
	replaced *engine.Replacement
}

// newGeneration checks the options of s and builds what requests need.
func (r *running) newGeneration(s *Server) (*generation, error) {
	if s.App == nil {
		return nil, errors.New("server: no application")
	}
	g := &generation{Server: s, Limits: s.Limits.WithDefaults(), Timeouts: s.Timeouts.WithDefaults(), log: s.Logger, stopping: make(chan struct{}), replaced: engine.NewReplacement()}
	if g.log == nil {
		g.log = slog.Default()
	}
	var err error
	if g.lifespan, err = newLifespan(s, g.LifespanStartupTimeout, g.log); err != nil {
		return nil, err
	}
	if g.ws, err = g.newWS(); err != nil {
		return nil, err
	}
	g.halt = sync.OnceFunc(func() {
		close(g.stopping)
		g.ws.Drain()
	})
	g.app = s.App
	if s.Development {
		g.app = development{s.App}
	}
	g.headLimit = max(0, g.MaxHeaderSize)
	g.connLimit = max(0, orDefault(g.MaxConnections, defaultMaxConnections()))
	g.engine = r.newEngine(g)
	g.web = &nethttp.Adapter{Engine: g.engine}
	return g, nil
}

func (r *running) newEngine(g *generation) *engine.Handler {
	h := &engine.Handler{
		App:       g.app,
		State:     g.lifespan.requestState,
		Limits:    g.Limits.Limits,
		Timeouts:  g.Timeouts.Timeouts,
		WebSocket: g.ws,
		TLSInfo:   tlsInfo,
		Stopping:  g.stopping,
		Replaced:  g.replaced,
		Base:      r.base,
		Logger:    g.log,
		Warn:      (&sparing{log: g.log}).warn,
	}
	if r.first.HTTP3 { // a reload opens no sockets for HTTP/3
		h.App = altSvc(h.App)
	}
	if g.AccessLog != nil {
		h.Observers = append(h.Observers, r.access)
	}
	h.Observers = append(h.Observers, g.Observers...)
	return h
}

// limits are those of HTTP/1 connections.
func (g *generation) limits() http1.Limits {
	return http1.Limits{
		MaxHead:     g.headLimit,
		HeadTimeout: g.HeaderTimeout,
		IdleTimeout: g.Timeout,
		MaxRequests: g.MaxRequestsPerConnection,
	}
}

// working returns how many requests the application is running, including those whose response is
// complete. A request moves from the first counter to the second and is in both for a moment.
// Reading them in this order misses none.
func (g *generation) working() int64 {
	inDispatch := g.requests.Load()
	return inDispatch + int64(g.web.Running())
}

// isIdle reports whether the application runs no request any more.
func (g *generation) isIdle() bool { return g.working() == 0 }

// hasLeft reports whether the application runs no request any more, but for streams of a part that a later application
// has, too.
func (g *generation) hasLeft() bool { return g.working() <= g.replaced.Staying() }

// relieve ends the streams that do not stay, because another application has taken over.
func (g *generation) relieve() {
	g.replaced.Begin()
	g.ws.Relieve()
}

// enter counts a request in and returns the generation that serves it.
func (r *running) enter() *generation {
	for {
		g := r.current.Load()
		g.requests.Add(1)
		if r.current.Load() == g {
			return g
		}
		g.requests.Add(-1) // a reload may have found the old generation idle already
	}
}

// errNotRunning is the error of a Reload without a running Run.
var errNotRunning = errors.New("server: it is not running")

// Reload starts the application of next beside the one that is served. Once it is ready, it serves
// every further request, with the limits and timeouts, the Logger and the access log of next.
// Connections stay open; the new limits on connections apply to later ones. The listeners and TLS
// stay as they are, but the certificate files are read again.
//
// Reload then returns, while the old application finishes its requests and is shut down. The
// shutdown waits for its requests for ShutdownTimeout at most. WebSocket and SSE clients are told
// to go at once, but for those of a part that both applications share (package site shares mounts).
//
// On an error nothing has changed. ctx bounds the start of the new application.
func (s *Server) Reload(ctx context.Context, next *Server) error {
	r := s.run.Load()
	if r == nil {
		return errNotRunning
	}
	r.reloading.Lock()
	defer r.reloading.Unlock()
	g, err := r.newGeneration(next)
	if err != nil {
		return err
	}
	if err := next.checkAccess(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.stopping, func() { cancel(errNotRunning) })()
	if r.stopping.Err() != nil {
		return errNotRunning
	}
	if err := g.lifespan.start(ctx); err != nil {
		return err
	}
	r.access.Set(next.accessOptions())
	r.http1.SetLimits(g.limits())
	r.redirects.SetLimits(g.limits())
	old := r.current.Swap(g)
	r.busy.Add(1)
	r.leaving.Store(old, nil)
	if r.stopping.Err() != nil { // the stop may have halted one of them only
		old.halt()
		g.halt()
	}
	r.tls.refresh()
	r.retiring.Go(func() { r.retire(old) })
	return nil
}

// retire ends an application that another one has replaced. The generation stays until the last of its streams has ended.
func (r *running) retire(g *generation) {
	defer r.leaving.Delete(g)
	defer r.busy.Add(-1)
	g.relieve()
	r.shutDown(g)
	r.awaitStreams(g)
}

// shutDown shuts down the application of a generation that was replaced.
func (r *running) shutDown(g *generation) {
	grace, cancel := context.WithTimeout(context.Background(), g.shutdownTimeout())
	defer cancel()
	defer context.AfterFunc(r.stopped, cancel)()
	late := waitUntil(grace, g.hasLeft) != nil
	if late {
		g.log.Warn("shutting the old application down under requests that did not finish in time",
			"requests", g.working(), "shutdown_timeout", g.shutdownTimeout().String())
	}
	if err := g.lifespan.stop(g.shutdownTimeout(), r.force); err != nil {
		g.log.Error("the old application did not shut down", "error", err)
	}
}

// awaitStreams waits for the streams that stay, until the server has stopped.
func (r *running) awaitStreams(g *generation) {
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for g.replaced.Staying() > 0 {
		select {
		case <-look.C:
		case <-r.stopping.Done():
			_ = waitUntil(r.stopped, func() bool { return g.replaced.Staying() == 0 }) // the stop cuts what is left
			return
		}
	}
}

// end shuts the applications down once no request is served any more.
func (r *running) end() error {
	r.reloading.Lock() // no reload is running, and none begins: stopping has ended
	defer r.reloading.Unlock()
	r.retiring.Wait()
	g := r.current.Load()
	if err := g.lifespan.stop(g.shutdownTimeout(), r.force); err != nil {
		return fmt.Errorf("server: application did not shut down: %w", err)
	}
	return nil
}
