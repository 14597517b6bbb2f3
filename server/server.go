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
	"io"
	"io/fs"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
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
	// Listen holds further places, as ParsePlace reads them: "host:port", ":port"
	// (all addresses), or the path of a Unix socket, which contains a slash or begins
	// with "unix:". Port 0 lets the system choose.
	Listen []string
	// Socket is the path of one more Unix socket.
	Socket string
	// SocketMode is the permission of Unix socket files whose place does not say
	// itself, 0o660 for example. 0: what the umask leaves.
	SocketMode fs.FileMode
	// Backlog is how many connections may wait to be accepted. 0: as many as the
	// system allows.
	Backlog int
	// Listeners are already open; Run closes them at its end.
	Listeners []net.Listener
	// Inherited are sockets that another process has opened: systemd, or the one whose
	// place this one takes (Sockets). A place that one of them is for uses it; without
	// any other place to listen at those of systemd are used. Run closes them at its end.
	Inherited []Socket
	// ProxyProtocolFrom are the addresses ("10.0.0.1") and networks ("10.0.0.0/8") of
	// the proxies that may connect to a place with the option proxy. Clients of a Unix
	// socket are trusted.
	ProxyProtocolFrom []string

	// TLSCert and TLSKey are PEM files: the certificate chain, leaf first, and its
	// key. With a certificate all TCP listeners whose place does not say otherwise
	// speak TLS, with HTTP/2 where the client offers it. Unix sockets stay plain.
	TLSCert, TLSKey string
	// TLS has further certificates and the rules of TLS.
	TLS TLS
	// TLSConfig is used instead of the files and rules. It is cloned.
	TLSConfig *tls.Config

	// MaxBodySize is the largest request body in bytes; more gets 413.
	// Default: 10 MiB.
	MaxBodySize int64
	// MaxHeaderSize is the largest request head in bytes, from the request line to
	// the empty line; more gets 431, or 414 where the request line alone is more. On
	// HTTP/2 the head counts as it would be in HTTP/1, and a path alone that is more gets
	// 414. Default: 32 KiB.
	MaxHeaderSize int
	// MaxHeaderCount is the largest number of request header lines; more get 431.
	// Default: 100.
	MaxHeaderCount int
	// MaxConnections is how many connections may be open at once; further ones are
	// answered 503, where they speak no TLS, and closed. Default: four fifths of the
	// descriptors this process may have open.
	MaxConnections int
	// MaxConnectionsPerAddress is the same for the connections from one address; for
	// IPv6 those of a /64 are one. Unix sockets do not count. Default: no limit.
	MaxConnectionsPerAddress int
	// MaxRequestsPerConnection is how many requests a connection may carry until it is
	// closed; on HTTP/2 those that have begun by then are still answered. HTTP/3 has
	// no such limit. Default: no limit.
	MaxRequestsPerConnection int

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
	// MaxRequestTime is how long a request may take as a whole. WebSockets and event
	// streams are not limited by it. Default: no limit.
	MaxRequestTime time.Duration
	// SSEIdleTimeout is how long an open event stream may go without anything being
	// sent, comments included; then it is ended. Default: no limit.
	SSEIdleTimeout time.Duration
	// WriteHighWatermark and WriteLowWatermark are the marks of a scope's transport: how
	// many bytes an application that looks at it may have sent before Send blocks, and
	// how few must be left before it goes on. Defaults: 65536, 16384; a low mark above
	// the high one is lowered to it.
	WriteHighWatermark, WriteLowWatermark int
	// H2MaxStreams is how many requests an HTTP/2 connection may have at once.
	// Default: 100.
	H2MaxStreams int
	// H2ResetBurst is how many requests the client of an HTTP/2 connection may reset, or
	// have the server reset by its mistakes, at once, H2ResetRate how many more each
	// second; beyond it the connection is ended.
	// Defaults: 1000, 33.
	H2ResetBurst, H2ResetRate int
	// H2ControlBurst and H2ControlRate are the same for frames that carry nothing: PING,
	// SETTINGS, PRIORITY, GOAWAY, unknown ones and empty DATA. Defaults: 1000, 100.
	H2ControlBurst, H2ControlRate int
	// HTTP3 adds HTTP/3, at the UDP port of every TCP listener that speaks TLS; responses
	// of HTTP/1 and HTTP/2 then tell of it (alt-svc). H2MaxStreams, MaxHeaderSize and the
	// timeouts hold for it, too, MaxConnectionsPerAddress does not. Its connections do
	// not outlast the process, whoever takes over. Default: off.
	HTTP3 bool
	// H2C allows HTTP/2 without TLS: by prior knowledge, and by Upgrade from HTTP/1.1.
	// Behind a proxy that passes Upgrade on it lets clients speak past the proxy.
	// Default: off.
	H2C bool
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
	// closed with 1001; not while the application is so far behind that nothing is
	// read. Default: no limit.
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
	// AccessLogFormat is "common", "clf", "combined", "tiny", "json", or a format
	// string; see AccessFormat. Default: common.
	AccessLogFormat string

	// Development has every event that breaks a rule of the specification be a failure,
	// even where the application overlooks that Send has refused it, and answers a
	// request that has failed with a page that says why. It shows the inside to
	// everybody: not for a server that others can reach.
	Development bool

	// Logger receives everything else. Default: slog.Default().
	Logger *slog.Logger

	// Bound is called once all listeners are open, before the application is started:
	// the moment to give up privileges. Its error is Run's.
	Bound func() error
	// Ready is called once all listeners are open and the application has started. Its
	// error is Run's: the application is shut down again, nothing was served, and
	// a predecessor whose sockets are Inherited can go on with them.
	Ready func(addrs []net.Addr) error

	run atomic.Pointer[running] // while Run serves
}

// Run opens the listeners, starts the application and serves until ctx ends, then
// stops gracefully: no new connections, idle ones closed, running requests given
// ShutdownTimeout, then cut with reason server_shutdown, then the application's
// lifespan shutdown. It returns nil after such a stop, and where ctx ends before the
// application has started.
//
// Where the cause of ctx's end is ErrHandedOver, clients are not to notice: idle
// connections are kept for two seconds, to answer one more request on each, and the
// files of Unix sockets stay.
//
// An error means that the server did not start (a bad option, a listener that
// cannot be opened, a *pagi.LifespanError), that a listener broke, or that the
// application's shutdown failed.
func (s *Server) Run(ctx context.Context) error {
	r, err := s.prepare(ctx)
	if err != nil {
		return err
	}
	defer r.tls.close()
	listeners, err := r.listen()
	if err != nil {
		return err
	}
	defer listeners.close()
	defer r.left.close()
	if r.quic, err = r.openQUIC(listeners); err != nil {
		return err
	}
	defer r.quic.close()
	if s.Bound != nil {
		if err := s.Bound(); err != nil {
			return err
		}
	}
	if err := r.current.Load().lifespan.start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // that is how Run ends
		}
		return err
	}
	r.access.set(s)
	r.listeners = listeners
	s.run.Store(r)
	defer s.run.Store(nil)
	if s.Ready != nil {
		if err := s.Ready(listeners.addrs()); err != nil {
			r.beginStop()
			return errors.Join(err, r.end(), r.access.close())
		}
	}
	listeners.own()
	r.left.own() // nobody listens on them any more: a predecessor goes now
	r.left.close()
	serveErr := r.serve(ctx, listeners)
	return errors.Join(serveErr, r.end(), r.access.close())
}
