package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/network"
	"github.com/pagi-go/pagi-bridge/server/accesslog"
	"github.com/pagi-go/pagi-bridge/server/http1"
)

// running is the state of one Run.
type running struct {
	log       *slog.Logger
	warnings  sparing // about clients
	first     *Server // the Server of Run itself, with the addresses to listen at
	http1     *http1.Server
	redirects *http1.Server // redirects every request to https
	http2     *http.Server  // serves connections on which HTTP/2 was agreed
	quic      *quicFront    // serves HTTP/3; nil: it is off
	cleartext *cleartext    // passes HTTP/2 without TLS to http2; nil: it is not allowed
	tls       *tlsFront     // nil: no listener speaks TLS
	proxies   network.Set   // who may send a PROXY header
	access    *accesslog.Log
	conns     connSet
	traffic   traffic
	entering  atomic.Int64 // what accepts connections, and those that are not served yet
	listeners listenerSet
	left      listenerSet       // inherited, and not used
	datagrams []*datagramSocket // inherited, for HTTP/3

	current   atomic.Pointer[generation] // the application that gets requests
	reloading sync.Mutex                 // held by a Reload
	retiring  sync.WaitGroup             // the former applications
	busy      atomic.Int64               // how many of them still have requests to wait for
	leaving   sync.Map                   // *generation: the former ones

	base       context.Context // of all requests
	cancelBase context.CancelCauseFunc
	stopping   context.Context // ends when Run begins to stop
	beginStop  context.CancelFunc
	stopped    context.Context // ends when the stop no longer waits for requests
	endStop    context.CancelFunc
	force      <-chan struct{} // closed to force the stop
}

// prepare checks the options and builds what Run needs.
func (s *Server) prepare(ctx context.Context) (*running, error) {
	r := &running{first: s, log: s.Logger, force: Forced(ctx)}
	if r.log == nil {
		r.log = slog.Default()
	}
	r.warnings.log = r.log
	r.access = accesslog.New(r.log)
	if err := s.checkAccess(); err != nil {
		return nil, err
	}
	r.base, r.cancelBase = context.WithCancelCause(context.Background())
	g, err := r.newGeneration(s)
	if err != nil {
		return nil, err
	}
	r.current.Store(g)
	if r.proxies, err = network.ParseSet(s.ProxyProtocolFrom); err != nil {
		return nil, fmt.Errorf("server: proxies that may connect: %w", err)
	}
	r.stopping, r.beginStop = context.WithCancel(context.Background())
	r.stopped, r.endStop = context.WithCancel(context.Background())
	if r.tls, err = s.newTLSFront(r.log); err != nil {
		return nil, err
	}
	if s.H2C {
		r.cleartext = newCleartext(r)
	}
	r.http1, r.http2, r.redirects = r.newHTTP1(g), r.newHTTP2(g), r.newRedirects(g)
	return r, nil
}

func (r *running) newHTTP1(g *generation) *http1.Server {
	server := &http1.Server{
		Handler: http.HandlerFunc(r.dispatch),
		Context: r.base,
		Limits:  g.limits(),
		Secured: r.isTrusted,
		Refused: r.refused,
		Log:     r.log,
	}
	if r.cleartext != nil {
		server.HTTP2 = r.cleartext.take
	}
	return server
}

func (g *generation) shutdownTimeout() time.Duration {
	return max(0, g.ShutdownTimeout)
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
	failed := make(chan error, 2*len(listeners))
	var serving sync.WaitGroup
	for _, l := range listeners {
		serving.Go(func() {
			if err := r.serveListener(l); r.stopping.Err() == nil {
				failed <- fmt.Errorf("serving %s: %w", l.Addr(), err)
			}
		})
	}
	if r.cleartext != nil {
		serving.Go(func() { _ = r.http2.Serve(r.cleartext) }) // ends when http2 is shut down
	}
	if r.quic != nil {
		for _, socket := range r.quic.sockets {
			serving.Go(func() {
				if err := r.quic.server.Serve(socket); r.stopping.Err() == nil {
					failed <- fmt.Errorf("serving HTTP/3 at %s: %w", socket.LocalAddr(), err)
				}
			})
		}
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
		r.entering.Add(1)
		defer r.entering.Add(-1)
		return r.plainServer(l).Serve(plainListener{l, r})
	}
	e := newEntry(l, r)
	defer func() { _ = e.Close() }()
	return r.http2.Serve(e)
}

// plainServer returns the HTTP/1 server of a listener that speaks no TLS.
func (r *running) plainServer(l *listener) *http1.Server {
	if l.place.Redirect {
		return r.redirects
	}
	return r.http1
}
