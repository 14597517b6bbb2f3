package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server/http1"
	"github.com/pagi-go/pagi-bridge/server/ws"
)

// generation is an application and the options it is served with. A Run begins with
// one, and each Reload puts another in its place.
type generation struct {
	*Server
	app      pagi.App // the Server's, or one around it
	log      *slog.Logger
	engine   *pagi.HTTPHandler
	ws       *ws.Server
	lifespan *lifespan

	headLimit int // bytes of a request head; 0: none
	connLimit int // connections open at once; 0: no limit

	requests atomic.Int64  // in dispatch
	stopping chan struct{} // closed when the application is about to be shut down
	halt     func()        // closes it
}

// newGeneration checks the options of s and builds what requests need.
func (r *running) newGeneration(s *Server) (*generation, error) {
	if s.App == nil {
		return nil, errors.New("server: no application")
	}
	g := &generation{Server: s, log: s.Logger, stopping: make(chan struct{})}
	if g.log == nil {
		g.log = slog.Default()
	}
	var err error
	if g.lifespan, err = newLifespan(s, g.log); err != nil {
		return nil, err
	}
	if g.ws, err = s.newWS(); err != nil {
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
	g.headLimit = max(0, orDefault(s.MaxHeaderSize, DefaultMaxHeaderSize))
	g.connLimit = max(0, orDefault(s.MaxConnections, defaultMaxConnections()))
	g.engine = r.newEngine(g)
	return g, nil
}

func (r *running) newEngine(g *generation) *pagi.HTTPHandler {
	engine := &pagi.HTTPHandler{
		App:             g.app,
		State:           g.lifespan.requestState,
		MaxBodySize:     orDefault(g.MaxBodySize, DefaultMaxBodySize),
		MaxHeaderCount:  orDefault(g.MaxHeaderCount, DefaultMaxHeaderCount),
		BodyTimeout:     orDefault(g.BodyTimeout, DefaultBodyTimeout),
		WriteTimeout:    orDefault(g.WriteTimeout, DefaultWriteTimeout),
		RequestTimeout:  g.RequestTimeout,
		MaxRequestTime:  g.MaxRequestTime,
		SSEIdleTimeout:  g.SSEIdleTimeout,
		WebSocket:       g.ws,
		MaxReceiveQueue: g.MaxReceiveQueue,
		HighWaterMark:   g.WriteHighWatermark,
		LowWaterMark:    g.WriteLowWatermark,
		TLSInfo:         tlsInfo,
		Stopping:        g.stopping,
		Base:            r.base,
		Logger:          g.log,
		Warn:            (&sparing{log: g.log}).warn,
	}
	if r.first.HTTP3 { // a reload opens no sockets
		engine.App = altSvc(engine.App)
	}
	if g.AccessLog != nil {
		engine.Done = r.access.record
	}
	return engine
}

// limits are those of HTTP/1 connections.
func (g *generation) limits() http1.Limits {
	return http1.Limits{
		MaxHead:     g.headLimit,
		HeadTimeout: orDefault(g.HeaderTimeout, DefaultHeaderTimeout),
		IdleTimeout: orDefault(g.Timeout, DefaultTimeout),
		MaxRequests: g.MaxRequestsPerConnection,
	}
}

// working returns how many requests the application has in hand, with those whose
// response is complete. What is counted in both is moving from the one to the other, which
// must be in this order: none is missed.
func (g *generation) working() int64 {
	inDispatch := g.requests.Load()
	return inDispatch + int64(g.engine.Running())
}

// isIdle reports whether nothing of the application runs any more.
func (g *generation) isIdle() bool { return g.working() == 0 }

// enter counts a request in and returns the generation that serves it.
func (r *running) enter() *generation {
	for {
		g := r.current.Load()
		g.requests.Add(1)
		if r.current.Load() == g {
			return g
		}
		g.requests.Add(-1) // it may have been found idle already
	}
}

// errNotRunning is why a server that does not serve cannot be reloaded.
var errNotRunning = errors.New("server: it is not running")

// Reload starts the application of next beside the one that is served and, once it is
// ready, puts it in its place: every request that comes from then on is served by it,
// with the limits and timeouts, the Logger and the access log of next. Connections
// stay open; what limits a connection counts for later ones. Where to listen and TLS
// stay as they are, except that the certificate files are read again.
//
// The old application finishes its requests and is then shut down, while Reload has
// returned. Requests that go on for longer than its ShutdownTimeout are no longer
// waited for; WebSocket and SSE clients are told to go at once.
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
	if err := r.access.check(next); err != nil {
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
	r.access.set(next)
	r.http1.SetLimits(g.limits())
	r.redirects.SetLimits(g.limits())
	old := r.current.Swap(g)
	if r.stopping.Err() != nil {
		g.halt() // the stop may have missed it
	}
	r.tls.refresh()
	r.busy.Add(1)
	r.leaving.Store(old, nil)
	r.retiring.Go(func() { r.retire(old) })
	return nil
}

// retire ends an application that another has taken the place of.
func (r *running) retire(g *generation) {
	defer r.leaving.Delete(g)
	g.halt()
	grace, cancel := context.WithTimeout(context.Background(), g.shutdownTimeout())
	defer cancel()
	defer context.AfterFunc(r.stopped, cancel)()
	late := waitUntil(grace, g.isIdle) != nil
	r.busy.Add(-1)
	if late {
		g.log.Warn("shutting the old application down under requests that did not finish in time",
			"requests", g.working(), "shutdown_timeout", g.shutdownTimeout().String())
	}
	if err := g.lifespan.stop(g.shutdownTimeout(), r.force); err != nil {
		g.log.Error("the old application did not shut down", "error", err)
	}
}

// end shuts the applications down once nothing is served any more.
func (r *running) end() error {
	r.reloading.Lock() // none is under way, and none begins: stopping has ended
	defer r.reloading.Unlock()
	r.retiring.Wait()
	g := r.current.Load()
	if err := g.lifespan.stop(g.shutdownTimeout(), r.force); err != nil {
		return fmt.Errorf("server: application did not shut down: %w", err)
	}
	return nil
}
