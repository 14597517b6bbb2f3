// Package server turns sockets into scopes. It listens, speaks HTTP/1.1, HTTP/2 and HTTP/3, runs
// the application's lifespan, enforces the limits, writes the access log and stops gracefully.
// engine.Handler translates a single request; this package provides the listeners and the life
// cycle.
//
// It may import the packages of pagi that it needs, and must know nothing of Perl, of site
// files, of middleware or of ready-made applications.
//
// Files: server.go and limits.go have the options of a server, serve.go the short form without
// any. run.go, stop.go, signal.go and lifespan.go carry out one Run from its beginning to its end.
// generation.go has the current application and its replacement by Reload, status.go the report of
// a running server.
//
// Sockets: place.go and listen*.go open them, inherit*.go take those that another process has
// opened. entry.go, proxyprotocol.go and conn*.go accept connections and count them. tls.go and
// certificate*.go have TLS and its certificates.
//
// Requests: dispatch.go is the one point through which each request comes. http2.go and http3*.go
// pass it those of HTTP/2 and HTTP/3. redirect.go answers at addresses that only redirect,
// websocket.go configures package ws. development.go makes failures visible, sparing.go limits
// warnings that clients can cause.
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

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// Where a Server listens by default.
const (
	DefaultHost = "127.0.0.1"
	DefaultPort = 5000
)

// Server serves one application on any number of listeners. Only App must be set; the zero value of
// every other field is its default. A negative value turns off a limit or a timeout that has a
// default other than "off". The fields must not change once Run was called.
type Server struct {
	// App is the application.
	App pagi.App

	// Host and Port are the address to listen at if Listen, Socket and Listeners are empty.
	// Defaults: 127.0.0.1, 5000.
	Host string
	Port int
	// Listen holds further addresses, in the form that ParsePlace reads: "host:port", ":port" (all
	// addresses), or the path of a Unix socket, which contains a slash or begins with "unix:". Port
	// 0 lets the system choose.
	Listen []string
	// Socket is the path of one more Unix socket.
	Socket string
	// SocketMode is the permission of Unix socket files whose place sets no mode, 0o660 for
	// example. 0: according to the umask.
	SocketMode fs.FileMode
	// Backlog is how many connections may wait to be accepted. 0: as many as the
	// system allows.
	Backlog int
	// Listeners are already open; Run closes them at its end.
	Listeners []net.Listener
	// Inherited are sockets that another process has opened: systemd, or the process that this one
	// replaces (Sockets). A place uses the inherited socket with its address or name. Without any
	// other address to listen at, the server uses the sockets of systemd. Run closes all of them at
	// its end.
	Inherited []Socket
	// ProxyProtocolFrom are the addresses ("10.0.0.1") and networks ("10.0.0.0/8") of trusted
	// proxies. They may connect to a place with the option proxy. To other places they may send
	// requests of https without TLS. Clients of a Unix socket are trusted, too.
	ProxyProtocolFrom []string

	// TLSCert and TLSKey are PEM files: the certificate chain, leaf first, and its key. With a
	// certificate all TCP listeners speak TLS unless their place says otherwise, with HTTP/2 if the
	// client offers it. Unix sockets stay plain.
	TLSCert, TLSKey string
	// TLS has further certificates and the rules of TLS.
	TLS TLS
	// TLSConfig is used instead of the files and rules. It is cloned.
	TLSConfig *tls.Config

	// Limits and Timeouts are those of connections and requests.
	Limits
	Timeouts

	// HTTP3 adds HTTP/3 at the UDP port of every TCP listener that speaks TLS without the option
	// proxy. Responses of HTTP/1 and HTTP/2 there announce it (alt-svc). H2MaxStreams,
	// MaxHeaderSize, MaxConnections, MaxConnectionsPerAddress, the timeouts and the rules about
	// client certificates apply to HTTP/3, too. Its connections end with the process, even if
	// another process takes over. Default: off.
	HTTP3 bool
	// H2C allows HTTP/2 without TLS: by prior knowledge, and by Upgrade from HTTP/1.1. Behind a
	// proxy that forwards Upgrade, clients can use it to bypass the proxy's rules. Default: off.
	H2C bool
	// WSCompression says whether the server agrees to permessage-deflate. Default: WSCompressionOn.
	WSCompression WSCompressionMode

	// Lifespan selects how the server treats the lifespan protocol. Default: LifespanAuto.
	Lifespan LifespanMode

	// AccessLog receives a line per request; nil: none. One goroutine at a time writes to it, at
	// the latest a second after the request. Requests do not wait for it. Lines that it does not
	// take in time are lost, and the Logger tells how many. If it blocks, a write may go on after
	// Run has returned.
	AccessLog io.Writer
	// AccessLogFormat is "common", "clf", "combined", "tiny", "json", or a format
	// string; see AccessFormat. Default: common.
	AccessLogFormat string
	// Observers are told of each request that has ended, after the access log. Requests that
	// the server itself has turned down are among them, and connections that it has turned
	// away: their record has status 503 and a request with nothing but RemoteAddr. See
	// engine.Observer for when and on which goroutine. Reload takes those of its Server.
	Observers []engine.Observer

	// Development makes every event that breaks a rule of the specification a failure, even if the
	// application ignores the error of Send. It answers a failed request with a page that says why.
	// The page shows internals of the application, so do not set it on a server that others can
	// reach.
	Development bool

	// Logger receives all other records. Default: slog.Default().
	Logger *slog.Logger

	// Bound is called once all listeners are open, before the application is started. It is the
	// moment to give up privileges. Run returns its error.
	Bound func() error
	// Ready is called once all listeners are open and the application has started. After an error
	// Run serves no request, shuts the application down and returns the error. A predecessor whose
	// sockets are Inherited can then go on with them.
	Ready func(addrs []net.Addr) error

	run atomic.Pointer[running] // while Run serves
}

// Run opens the listeners, starts the application and serves until ctx ends. Then it stops
// gracefully: it accepts no new connections and closes idle ones. Running requests get
// ShutdownTimeout and are then cut with reason server_shutdown. Last comes the application's
// lifespan shutdown. Run returns nil after such a stop, and if ctx ends before the application has
// started.
//
// If the cause of ctx's end is ErrHandedOver, clients do not notice the stop. Idle connections stay
// open for two seconds, to answer one more request on each. The files of Unix sockets stay.
//
// An error means that the server did not start (a bad option, a listener that
// cannot be opened, a *lifespan.Error), that a listener broke, or that the
// application's shutdown failed.
func (s *Server) Run(ctx context.Context) error {
	r, err := s.prepare(ctx)
	if err != nil {
		return err
	}
	defer r.tls.close()
	defer r.closeDatagrams()
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
			return nil // ctx has ended, which is not an error
		}
		return err
	}
	r.access.Set(s.accessOptions())
	r.listeners = listeners
	s.run.Store(r)
	defer s.run.Store(nil)
	if s.Ready != nil {
		if err := s.Ready(listeners.addrs()); err != nil {
			r.beginStop()
			err = errors.Join(err, r.end())
			r.access.Close()
			return err
		}
	}
	listeners.own()
	r.left.own() // no process listens on them any more: a predecessor ends now
	r.left.close()
	r.leaveDatagrams()
	err = r.serve(ctx, listeners)
	err = errors.Join(err, r.end())
	r.access.Close()
	return err
}
