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
	"sync/atomic"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/sys/unix"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// quicFront serves HTTP/3 (RFC 9114), by quic-go, at the UDP port of every TCP listener
// that speaks TLS.
type quicFront struct {
	r       *running
	server  *http3.Server
	config  *quic.Config
	unused  time.Duration // how long a connection may serve no request; 0: no limit
	sockets []net.PacketConn
	conns   atomic.Int64 // open ones

	ending context.Context // ends with shutdown
	end    context.CancelFunc
}

// keepAlive is how often a quiet connection is used, lest one on which a request takes its
// time be taken for dead.
const keepAlive = 15 * time.Second

// errTooManyQUIC is what a client is refused with.
var errTooManyQUIC = errors.New("too many connections")

// openQUIC opens the sockets; nil where HTTP/3 is off.
func (r *running) openQUIC(listeners listenerSet) (*quicFront, error) {
	if !r.first.HTTP3 {
		return nil, nil
	}
	q := &quicFront{r: r}
	q.ending, q.end = context.WithCancel(context.Background())
	// A process that takes over listens beside the one it takes over from.
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}), err)
	}}
	for _, l := range listeners {
		if _, isTCP := l.Addr().(*net.TCPAddr); !l.tls || !isTCP {
			continue
		}
		socket, err := config.ListenPacket(context.Background(), "udp", l.Addr().String())
		if err != nil {
			q.close()
			return nil, fmt.Errorf("server: listening for HTTP/3: %w", err)
		}
		q.sockets = append(q.sockets, socket)
	}
	if len(q.sockets) == 0 {
		return nil, errors.New("server: HTTP3 needs a TCP listener that speaks TLS")
	}
	g := r.current.Load()
	streams := int64(orDefault(g.H2MaxStreams, DefaultH2MaxStreams))
	if streams < 0 {
		streams = math.MaxInt32
	}
	h2 := r.newHTTP2(g)
	idle := max(0, h2.IdleTimeout)
	q.config = &quic.Config{
		MaxIncomingStreams:   streams,
		MaxIdleTimeout:       idle,
		KeepAlivePeriod:      keepAlive,
		HandshakeIdleTimeout: h2.ReadHeaderTimeout / 2, // a handshake may take twice that
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

// admit refuses a connection where there are as many as there may be, of all kinds.
func (q *quicFront) admit(info *quic.ClientInfo) (*quic.Config, error) {
	limit := q.r.current.Load().connLimit
	if limit > 0 && q.r.conns.len()+int(q.conns.Load()) >= limit {
		q.r.warnings.warn("too many connections", "option", "--max-connections", "limit", limit, "client", info.RemoteAddr.String())
		return nil, errTooManyQUIC
	}
	return q.config, nil // what is returned is all that counts
}

// shutdown ends connections once their requests are answered.
func (q *quicFront) shutdown(ctx context.Context) error {
	if q == nil {
		return nil
	}
	q.end()
	return q.server.Shutdown(ctx)
}

// close ends everything at once.
func (q *quicFront) close() {
	if q == nil {
		return
	}
	q.end()
	if q.server != nil {
		_ = q.server.Close() // what is left is of no use to anybody
	}
	for _, socket := range q.sockets {
		_ = socket.Close() // likewise
	}
}

// altSvcAge is for how long, in seconds, a client may remember that there is HTTP/3.
const altSvcAge = 86400

// altSvc tells the clients of HTTP/1 and HTTP/2 over TLS that there is HTTP/3 at the same
// port (RFC 7838, RFC 9114 section 3.1.1), unless the application tells something else.
func altSvc(next pagi.App) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Scheme != "https" || scope.HTTPVersion == "3" || scope.Server.Port == 0 {
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
