package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/server/http1"
)

// running is what one Run holds.
type running struct {
	log       *slog.Logger
	first     *Server // Run's own, which says where to listen
	http1     *http1.Server
	redirects *http1.Server // sends everybody to https
	http2     *http.Server  // gets connections on which HTTP/2 was agreed
	tls       *tlsFront     // nil: no listener speaks TLS
	proxies   proxies       // who may send a PROXY header
	access    *accessLog
	conns     connSet
	listeners listenerSet

	current   atomic.Pointer[generation] // the application that gets requests
	reloading sync.Mutex                 // held by a Reload
	retiring  sync.WaitGroup             // applications that had them

	base       context.Context // of all requests
	cancelBase context.CancelCauseFunc
	stopping   context.Context // ends when Run begins to stop
	beginStop  context.CancelFunc
	force      <-chan struct{} // closed when the stop is not to wait any more
}

// prepare checks the options and builds what Run needs.
func (s *Server) prepare(ctx context.Context) (*running, error) {
	r := &running{first: s, log: s.Logger, force: forced(ctx)}
	if r.log == nil {
		r.log = slog.Default()
	}
	r.access = newAccessLog(r.log)
	if err := r.access.check(s); err != nil {
		return nil, err
	}
	g, err := r.newGeneration(s)
	if err != nil {
		return nil, err
	}
	r.current.Store(g)
	if r.proxies, err = parseProxies(s.ProxyProtocolFrom); err != nil {
		return nil, err
	}
	r.base, r.cancelBase = context.WithCancelCause(context.Background())
	r.stopping, r.beginStop = context.WithCancel(context.Background())
	if r.tls, err = s.newTLSFront(r.log); err != nil {
		return nil, err
	}
	r.http1, r.http2, r.redirects = r.newHTTP1(g), r.newHTTP2(g), r.newRedirects(g)
	return r, nil
}

func (r *running) newHTTP1(g *generation) *http1.Server {
	return &http1.Server{
		Handler: http.HandlerFunc(r.dispatch),
		Context: r.base,
		Limits:  g.limits(),
		Refused: r.refused,
		Log:     r.log,
	}
}

// newHTTP2 returns what serves HTTP/2.
//
// A request well beyond what net/http accepts costs the client the whole connection;
// so there is room for those that dispatch only answers 431. HTTP/2 counts 32 bytes
// more per field, and a cookie may be one field for each of its parts.
func (r *running) newHTTP2(g *generation) *http.Server {
	const most = 1 << 30
	room := most
	if g.headLimit > 0 {
		room = min(g.headLimit, most>>4)<<3 + 256<<10
	}
	return &http.Server{
		Handler:        http.HandlerFunc(r.dispatch),
		BaseContext:    func(net.Listener) context.Context { return r.base },
		ConnContext:    connContext,
		IdleTimeout:    orDefault(g.Timeout, DefaultTimeout),
		MaxHeaderBytes: room,
		ErrorLog:       slog.NewLogLogger(r.log.Handler(), slog.LevelWarn),
		HTTP2:          &http.HTTP2Config{WriteByteTimeout: max(0, orDefault(g.WriteTimeout, DefaultWriteTimeout))},
		// OPTIONS * is the application's to answer, like everything else.
		DisableGeneralOptionsHandler: true,
	}
}

func (g *generation) shutdownTimeout() time.Duration {
	return max(0, orDefault(g.ShutdownTimeout, DefaultShutdownTimeout))
}

// orDefault returns v, or def for the zero value.
func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// serve accepts on all listeners until ctx ends or one of them breaks, then stops.
func (r *running) serve(ctx context.Context, listeners listenerSet) error {
	failed := make(chan error, len(listeners))
	var serving sync.WaitGroup
	for _, l := range listeners {
		serving.Go(func() {
			if err := r.serveListener(l); r.stopping.Err() == nil {
				failed <- fmt.Errorf("serving %s: %w", l.Addr(), err)
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	r.stop(ctx, listeners)
	serving.Wait()
	return err
}

// serveListener accepts on a listener until it is closed.
func (r *running) serveListener(l *listener) error {
	if !l.tls && !l.place.Proxy {
		return r.plainServer(l).Serve(plainListener{l, r})
	}
	e := newEntry(l, r)
	defer func() { _ = e.Close() }()
	return r.http2.Serve(e)
}

// plainServer is what serves HTTP/1 on a listener that speaks no TLS.
func (r *running) plainServer(l *listener) *http1.Server {
	if l.place.Redirect {
		return r.redirects
	}
	return r.http1
}
