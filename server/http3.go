package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server/http1"
)

// quicFront serves HTTP/3 (RFC 9114) with quic-go, at the UDP port of every TCP listener that
// speaks TLS and is not for proxies. No PROXY header comes by UDP, so UDP would let clients bypass
// the proxy.
type quicFront struct {
	r       *running
	server  *http3.Server
	config  *quic.Config
	unused  time.Duration // how long a connection may serve no request; 0: no limit
	sockets []net.PacketConn

	ending context.Context // ends when shutdown begins
	end    context.CancelFunc
}

// keepAlive is how often the server sends something on a quiet connection. Otherwise the client
// could take a connection with a slow request for dead.
const keepAlive = 15 * time.Second

// errTooManyQUIC is the error with which a client is refused.
var errTooManyQUIC = errors.New("too many connections")

// openQUIC opens the sockets; it returns nil if HTTP/3 is off.
func (r *running) openQUIC(listeners listenerSet) (*quicFront, error) {
	if !r.first.HTTP3 {
		return nil, nil
	}
	q := &quicFront{r: r}
	q.ending, q.end = context.WithCancel(context.Background())
	proxied := false
	for _, l := range listeners {
		tcp, isTCP := l.Addr().(*net.TCPAddr)
		if !l.tls || !isTCP {
			continue
		}
		if l.place.Proxy {
			proxied = true
			continue
		}
		if d := r.takeDatagrams(tcp); d != nil {
			q.sockets = append(q.sockets, d.PacketConn)
		} else {
			socket, err := listenDatagrams(l, tcp)
			if err != nil {
				q.close()
				return nil, fmt.Errorf("server: listening for HTTP/3: %w", err)
			}
			q.sockets = append(q.sockets, socket)
		}
		l.quic = true
	}
	switch {
	case len(q.sockets) == 0 && proxied:
		return nil, ErrHTTP3Proxied
	case len(q.sockets) == 0:
		return nil, errors.New("server: HTTP3 needs a TCP listener that speaks TLS")
	}
	g := r.current.Load()
	streams := int64(g.H2MaxStreams)
	if streams < 0 {
		streams = math.MaxInt32
	}
	h2 := r.newHTTP2(g)
	idle := max(0, h2.IdleTimeout)
	q.config = &quic.Config{
		MaxIncomingStreams:   streams,
		MaxIdleTimeout:       idle,
		KeepAlivePeriod:      keepAlive,
		HandshakeIdleTimeout: h2.ReadHeaderTimeout / 2, // a handshake may take twice as long
		GetConfigForClient:   q.admit,
	}
	if idle > 0 && h2.ReadHeaderTimeout > 0 {
		q.unused = idle + h2.ReadHeaderTimeout
	}
	q.server = &http3.Server{
		Handler: http.HandlerFunc(q.serve),
		TLSConfig: http3.ConfigureTLSConfig(&tls.Config{
			MinVersion:         tls.VersionTLS13,
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return r.tls.config.Load(), nil },
		}),
		QUICConfig:     q.config,
		MaxHeaderBytes: h2.MaxHeaderBytes,
		IdleTimeout:    idle,
		ConnContext:    q.connContext,
		Logger:         r.log,
	}
	return q, nil
}

// ErrHTTP3Proxied is the error of the option HTTP3 if all addresses that speak TLS have the option
// proxy.
var ErrHTTP3Proxied = errors.New("server: HTTP/3 (http3) cannot be spoken at a place for proxies (proxy): " +
	"no PROXY header comes by UDP, so clients would go past the proxy; it needs another place that speaks TLS")

// admit refuses a connection if the limit on all connections, or on those from its address, is
// reached.
func (q *quicFront) admit(info *quic.ClientInfo) (*quic.Config, error) {
	g := q.r.current.Load()
	if limit := g.connLimit; limit > 0 && q.r.conns.len() >= limit {
		q.r.warnings.warn("too many connections", "option", "--max-connections", "limit", limit, "client", info.RemoteAddr.String())
		return nil, q.refused()
	}
	if limit := g.MaxConnectionsPerAddress; limit > 0 && q.r.conns.isFull(info.RemoteAddr, limit) {
		q.r.warnPerAddress(info.RemoteAddr, limit)
		return nil, q.refused()
	}
	return q.config, nil // only the returned error matters
}

// refused counts a connection that is one too many and returns its error.
func (q *quicFront) refused() error {
	q.r.conns.noteRefused()
	q.r.traffic.connectionsRefused.Add(1)
	return errTooManyQUIC
}

// shutdown ends connections once their requests are answered.
func (q *quicFront) shutdown(ctx context.Context) error {
	if q == nil {
		return nil
	}
	q.end()
	return q.server.Shutdown(ctx)
}

// close ends all connections at once and closes the sockets.
func (q *quicFront) close() {
	if q == nil {
		return
	}
	q.end()
	if q.server != nil {
		_ = q.server.Close() // at the end an error does not matter
	}
	for _, socket := range q.sockets {
		_ = socket.Close() // at the end an error does not matter
	}
}

// cameWhereHTTP3Is reports whether a request has come by a listener at whose port the server also
// speaks HTTP/3.
func cameWhereHTTP3Is(ctx context.Context) bool {
	conn, ok := ctx.Value(http1.ConnContextKey).(*tls.Conn)
	if !ok {
		return false
	}
	c, ok := conn.NetConn().(*tracked)
	return ok && c.on.quic
}

// altSvcAge is how many seconds a client may remember that there is HTTP/3.
const altSvcAge = 86400

// altSvc tells the clients of HTTP/1 and HTTP/2 over TLS that there is HTTP/3 at the same port (RFC
// 7838, RFC 9114 section 3.1.1). An application's own header alt-svc takes precedence.
func altSvc(next pagi.App) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Scheme != "https" || scope.HTTPVersion == "3" || scope.Server.Port == 0 || !cameWhereHTTP3Is(ctx) {
			return next.Serve(ctx, scope, receive, send)
		}
		value := `h3=":` + strconv.Itoa(scope.Server.Port) + `"; ma=` + strconv.Itoa(altSvcAge)
		add := func(h pagi.Headers) pagi.Headers {
			if h.Has("alt-svc") {
				return h
			}
			return append(h[:len(h):len(h)], pagi.Header{Name: "alt-svc", Value: value})
		}
		return next.Serve(ctx, scope, receive, func(ctx context.Context, ev pagi.Event) error {
			switch e := ev.(type) {
			case pagi.HTTPResponseStart:
				e.Headers = add(e.Headers)
				ev = e
			case pagi.SSEStart:
				e.Headers = add(e.Headers)
				ev = e
			case pagi.SSEHTTPResponseStart:
				e.Headers = add(e.Headers)
				ev = e
			}
			return send(ctx, ev)
		})
	})
}
