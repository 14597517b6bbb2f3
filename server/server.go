// Package server turns sockets into scopes: it listens, speaks HTTP/1.1 and
// HTTP/2, runs the application's lifespan, keeps the limits, writes the access log
// and stops gracefully. The translation of one request is pagi.HTTPHandler's; this
// package gives it listeners and a life.
//
// It may import package pagi and must know nothing of Perl, of site files, of
// middleware or of ready-made applications.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server/http1"
	"github.com/pagi-go/pagi-bridge/server/ws"
)

// Defaults of the Server's fields.
const (
	DefaultHost                   = "127.0.0.1"
	DefaultPort                   = 5000
	DefaultMaxBodySize            = 10 << 20
	DefaultMaxHeaderSize          = 32 << 10
	DefaultMaxHeaderCount         = 100
	DefaultTimeout                = 60 * time.Second
	DefaultHeaderTimeout          = 30 * time.Second
	DefaultBodyTimeout            = 30 * time.Second
	DefaultWriteTimeout           = 60 * time.Second
	DefaultShutdownTimeout        = 30 * time.Second
	DefaultLifespanStartupTimeout = 30 * time.Second
	DefaultMaxReceiveQueue        = pagi.DefaultMaxReceiveQueue
	DefaultMaxWSFrameSize         = ws.DefaultMaxFrameSize
	DefaultMaxWSMessageSize       = ws.DefaultMaxMessageSize
)

// Server serves one application on any number of listeners. Only App must be set;
// the zero value of every other field is its default. For a limit or a timeout
// that has a default other than "off", a negative value turns it off. The fields
// must not change once Run was called.
type Server struct {
	// App is the application.
	App pagi.App

	// Host and Port are where to listen when neither Listen, Socket nor Listeners
	// says something else. Defaults: 127.0.0.1, 5000.
	Host string
	Port int
	// Listen holds further places: "host:port", ":port" (all addresses), or the
	// path of a Unix socket, which contains a slash or begins with "unix:".
	// Port 0 lets the system choose.
	Listen []string
	// Socket is the path of one more Unix socket.
	Socket string
	// SocketMode is the permission of Unix socket files, 0o660 for example.
	// 0: what the umask leaves.
	SocketMode fs.FileMode
	// Listeners are already open; Run closes them at its end.
	Listeners []net.Listener

	// TLSCert and TLSKey are PEM files: the certificate chain, leaf first, and its
	// key. With them all TCP listeners speak TLS, version 1.2 or later, with
	// HTTP/2 where the client offers it. Unix sockets stay plain.
	TLSCert, TLSKey string
	// TLSConfig is used instead of the files. It is cloned.
	TLSConfig *tls.Config

	// MaxBodySize is the largest request body in bytes; more gets 413.
	// Default: 10 MiB.
	MaxBodySize int64
	// MaxHeaderSize is the largest request head in bytes, from the request line to
	// the empty line; more gets 431. On HTTP/2 the head counts as it would be in
	// HTTP/1. Default: 32 KiB.
	MaxHeaderSize int
	// MaxHeaderCount is the largest number of request header lines; more get 431.
	// Default: 100.
	MaxHeaderCount int
	// MaxConnections is how many connections may be open at once; further ones are
	// answered 503 and closed. Default: no limit.
	MaxConnections int

	// Timeout is how long a connection may stay idle between requests.
	// Default: 60 s.
	Timeout time.Duration
	// HeaderTimeout is how long a TLS handshake and how long a request's head may
	// take; a slower client gets 408, or is cut off where it sent nothing.
	// Default: 30 s.
	HeaderTimeout time.Duration
	// BodyTimeout is how long each piece of a request body may take; a slower
	// client gets 408. Default: 30 s.
	BodyTimeout time.Duration
	// WriteTimeout is how long a write to the client may go on without progress.
	// A download of any length may go on while it moves. Default: 60 s.
	WriteTimeout time.Duration
	// RequestTimeout is how long a request may go without reading from or writing
	// to the client. Default: no limit.
	RequestTimeout time.Duration
	// ShutdownTimeout is how long running requests, and after them the
	// application's lifespan shutdown, may take once Run's context has ended.
	// Default: 30 s; negative: no time at all.
	ShutdownTimeout time.Duration

	// MaxWSFrameSize is the largest payload of a WebSocket frame in bytes, and
	// MaxWSMessageSize the largest message, uncompressed, over all its frames; more
	// closes the connection with 1009. Defaults: 64 KiB, 1 MiB.
	MaxWSFrameSize, MaxWSMessageSize int
	// MaxReceiveQueue is how many messages of a WebSocket may wait for the
	// application; one more closes the connection with 1008. Default: 1000.
	MaxReceiveQueue int
	// WSIdleTimeout is how long no frame may come or go on a WebSocket before it is
	// closed with 1001. Default: no limit.
	WSIdleTimeout time.Duration
	// WSCompression says whether permessage-deflate is agreed to. Default:
	// WSCompressionOn.
	WSCompression WSCompressionMode

	// Lifespan says how to treat the lifespan protocol. Default: LifespanAuto.
	Lifespan LifespanMode
	// LifespanStartupTimeout is how long the application may take to start.
	// Default: 30 s.
	LifespanStartupTimeout time.Duration

	// AccessLog receives a line per request; nil: none. It is written to by one
	// goroutine at a time, at the latest a second after the request.
	AccessLog io.Writer
	// AccessLogFormat is "common" (also called "clf"), "combined", "tiny", or a
	// format string; see AccessFormat. Default: common.
	AccessLogFormat string

	// Logger receives everything else. Default: slog.Default().
	Logger *slog.Logger

	// Ready is called once all listeners are open and the application has started.
	Ready func(addrs []net.Addr)
}

// running is what one Run holds.
type running struct {
	*Server
	log      *slog.Logger
	http1    *http1.Server
	http2    *http.Server // gets connections on which HTTP/2 was agreed
	ws       *ws.Server
	engine   *pagi.HTTPHandler
	tls      *tls.Config // nil: plain
	access   *accessLog  // nil: none
	lifespan *lifespan
	conns    connSet

	headLimit int // bytes of a request head; 0: none

	base       context.Context // of all requests
	cancelBase context.CancelCauseFunc
	requests   atomic.Int64 // in dispatch
}

// Run opens the listeners, starts the application and serves until ctx ends, then
// stops gracefully: no new connections, idle ones closed, running requests given
// ShutdownTimeout, then cut with reason server_shutdown, then the application's
// lifespan shutdown. It returns nil after such a stop.
//
// An error means that the server did not start (a bad option, a listener that
// cannot be opened, a *pagi.LifespanError), that a listener broke, or that the
// application's shutdown failed.
func (s *Server) Run(ctx context.Context) (err error) {
	r, err := s.prepare()
	if err != nil {
		return err
	}
	listeners, err := r.listen()
	if err != nil {
		return err
	}
	defer listeners.close()
	if r.access != nil {
		r.access.start()
		defer func() { err = errors.Join(err, r.access.close()) }()
	}
	if err := r.lifespan.start(ctx); err != nil {
		return err
	}
	if s.Ready != nil {
		s.Ready(listeners.addrs())
	}
	serveErr := r.serve(ctx, listeners)
	return errors.Join(serveErr, r.lifespan.stop(r.shutdownTimeout(), forced(ctx)))
}

// prepare checks the options and builds what Run needs.
func (s *Server) prepare() (*running, error) {
	if s.App == nil {
		return nil, errors.New("server: no application")
	}
	r := &running{Server: s, log: s.Logger}
	if r.log == nil {
		r.log = slog.Default()
	}
	var err error
	if r.tls, err = s.tlsConfig(); err != nil {
		return nil, err
	}
	if s.AccessLog != nil {
		format, err := ParseAccessFormat(s.AccessLogFormat)
		if err != nil {
			return nil, err
		}
		r.access = newAccessLog(s.AccessLog, format, r.log)
	}
	if r.lifespan, err = newLifespan(s, r.log); err != nil {
		return nil, err
	}
	if r.ws, err = s.newWS(); err != nil {
		return nil, err
	}
	r.base, r.cancelBase = context.WithCancelCause(context.Background())
	r.engine = &pagi.HTTPHandler{
		App:             s.App,
		State:           r.lifespan.requestState,
		MaxBodySize:     orDefault(s.MaxBodySize, DefaultMaxBodySize),
		MaxHeaderCount:  orDefault(s.MaxHeaderCount, DefaultMaxHeaderCount),
		BodyTimeout:     orDefault(s.BodyTimeout, DefaultBodyTimeout),
		WriteTimeout:    orDefault(s.WriteTimeout, DefaultWriteTimeout),
		RequestTimeout:  s.RequestTimeout,
		WebSocket:       r.ws,
		MaxReceiveQueue: s.MaxReceiveQueue,
		Logger:          r.log,
	}
	if r.tls != nil {
		r.engine.ServerCert = serverCert(r.tls)
	}
	if r.access != nil {
		r.engine.Done = r.access.record
	}
	r.setLimits()
	r.http1, r.http2 = r.newHTTP1(), r.newHTTP2()
	return r, nil
}

func (r *running) newHTTP1() *http1.Server {
	return &http1.Server{
		Handler:     http.HandlerFunc(r.dispatch),
		Context:     r.base,
		MaxHead:     r.headLimit,
		HeadTimeout: orDefault(r.HeaderTimeout, DefaultHeaderTimeout),
		IdleTimeout: orDefault(r.Timeout, DefaultTimeout),
		Refused:     r.refused,
		Log:         r.log,
	}
}

// newHTTP2 returns what serves HTTP/2.
//
// A request well beyond what net/http accepts costs the client the whole connection;
// so there is room for those that dispatch only answers 431. HTTP/2 counts 32 bytes
// more per field, and a cookie may be one field for each of its parts.
func (r *running) newHTTP2() *http.Server {
	const most = 1 << 30
	room := most
	if r.headLimit > 0 {
		room = min(r.headLimit, most>>4)<<3 + 256<<10
	}
	return &http.Server{
		Handler:        http.HandlerFunc(r.dispatch),
		BaseContext:    func(net.Listener) context.Context { return r.base },
		IdleTimeout:    orDefault(r.Timeout, DefaultTimeout),
		MaxHeaderBytes: room,
		ErrorLog:       slog.NewLogLogger(r.log.Handler(), slog.LevelWarn),
		HTTP2:          &http.HTTP2Config{WriteByteTimeout: max(0, orDefault(r.WriteTimeout, DefaultWriteTimeout))},
		// OPTIONS * is the application's to answer, like everything else.
		DisableGeneralOptionsHandler: true,
	}
}

// setLimits sets headLimit, which http1 keeps on HTTP/1 and dispatch on HTTP/2.
func (r *running) setLimits() {
	r.headLimit = max(0, orDefault(r.MaxHeaderSize, DefaultMaxHeaderSize))
}

func (r *running) shutdownTimeout() time.Duration {
	return max(0, orDefault(r.ShutdownTimeout, DefaultShutdownTimeout))
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
			if err := r.serveListener(l); !errors.Is(err, http.ErrServerClosed) {
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

// serveListener accepts on a listener until it is closed. Unix sockets stay plain.
func (r *running) serveListener(l net.Listener) error {
	if r.tls == nil || l.Addr().Network() == "unix" {
		return r.http1.Serve(plainListener{l, r})
	}
	agreed := newTLSListener(l, r)
	defer agreed.Close()
	return r.http2.Serve(agreed)
}
