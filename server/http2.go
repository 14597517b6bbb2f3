package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server/http1"
	"github.com/pagi-go/pagi-bridge/server/http2"
)

// Defaults of the Server's fields for HTTP/2.
const (
	DefaultH2MaxStreams   = 100
	DefaultH2ResetBurst   = 1000
	DefaultH2ResetRate    = 33
	DefaultH2ControlBurst = 1000
	DefaultH2ControlRate  = 100
)

// newHTTP2 returns what serves HTTP/2: net/http, on connections of package
// server/http2, which it takes for ones without TLS.
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
	streams := orDefault(g.H2MaxStreams, DefaultH2MaxStreams)
	if streams < 0 {
		streams = math.MaxInt32
	}
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           http.HandlerFunc(r.dispatch),
		BaseContext:       func(net.Listener) context.Context { return r.base },
		ConnContext:       connContext,
		Protocols:         protocols,
		IdleTimeout:       orDefault(g.Timeout, DefaultTimeout),
		ReadHeaderTimeout: max(0, orDefault(g.HeaderTimeout, DefaultHeaderTimeout)), // of the preface
		MaxHeaderBytes:    room,
		ErrorLog:          log.New(&r.warnings, "", 0),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: streams,
			MaxReadFrameSize:     http2.MaxFrame,
			WriteByteTimeout:     max(0, orDefault(g.WriteTimeout, DefaultWriteTimeout)),
		},
		// OPTIONS * is the application's to answer, like everything else.
		DisableGeneralOptionsHandler: true,
	}
}

// http2Conn prepares a connection on which HTTP/2 was agreed.
func (r *running) http2Conn(c net.Conn, state *tls.ConnectionState, ahead []byte) *http2.Conn {
	g := r.current.Load()
	return http2.New(c, state, http2.Limits{
		ResetBurst:   orDefault(g.H2ResetBurst, DefaultH2ResetBurst),
		ResetRate:    orDefault(g.H2ResetRate, DefaultH2ResetRate),
		ControlBurst: orDefault(g.H2ControlBurst, DefaultH2ControlBurst),
		ControlRate:  orDefault(g.H2ControlRate, DefaultH2ControlRate),
		HeadTimeout:  g.limits().HeadTimeout,
		Flooded: func(c *http2.Conn, what string) {
			r.warnings.warn("HTTP/2 connection is ended", "reason", what, "client", c.RemoteAddr().String())
		},
	}, ahead)
}

// connContext gives the requests of an HTTP/2 connection what http1 gives its own.
func connContext(ctx context.Context, c net.Conn) context.Context {
	h2, ok := c.(*http2.Conn)
	if !ok {
		return context.WithValue(ctx, http1.ConnContextKey, c)
	}
	return &http2Context{ctx, h2}
}

// http2Context is the context of an HTTP/2 connection.
type http2Context struct {
	context.Context
	conn *http2.Conn
}

// http2ConnKey is the key of the http2.Conn in the contexts of requests.
type http2ConnKey struct{}

// Value implements context.Context.
func (c *http2Context) Value(key any) any {
	switch key {
	case http2ConnKey{}:
		return c.conn
	case http1.ConnContextKey:
		return c.conn.NetConn()
	}
	return c.Context.Value(key)
}

// cleartext hands connections that speak HTTP/2 without TLS to net/http.
type cleartext struct {
	r     *running
	ready chan net.Conn
	gone  chan struct{}
	once  sync.Once
}

func newCleartext(r *running) *cleartext {
	return &cleartext{r: r, ready: make(chan net.Conn), gone: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *cleartext) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.gone:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *cleartext) Close() error {
	l.once.Do(func() { close(l.gone) })
	return nil
}

// Addr implements net.Listener: it has none of its own.
func (l *cleartext) Addr() net.Addr { return &net.UnixAddr{Name: "h2c", Net: "unix"} }

// take is the HTTP2 of an http1.Server.
func (l *cleartext) take(c net.Conn, ahead []byte) { l.give(l.r.http2Conn(c, nil, ahead)) }

func (l *cleartext) give(c *http2.Conn) {
	select {
	case l.ready <- c:
	case <-l.gone:
		_ = c.Close() // nobody takes it any more
	}
}

// upgrade begins HTTP/2 on the connection of an HTTP/1.1 request that asks for it, and
// reports whether it did or answered the request otherwise. A request with a body goes
// on as it is, as does one under TLS.
func (l *cleartext) upgrade(w http.ResponseWriter, req *http.Request) bool {
	stream, is := w.(interface {
		pagi.ResponseStream
		TakeConn() (conn net.Conn, ahead []byte, err error)
	})
	if !is || req.ProtoMajor != 1 || req.ProtoMinor == 0 || req.TLS != nil || req.ContentLength != 0 {
		return false
	}
	u, asked, err := http2.NewUpgrade(req.Method, req.RequestURI, "http", stream.RequestHeaders())
	if err != nil {
		l.r.log.Debug("upgrade to HTTP/2 is refused", "client", req.RemoteAddr, "error", err)
	}
	if !asked || err != nil {
		return false // RFC 9110 section 7.8: a server may ignore it
	}
	conn, ahead, err := stream.TakeConn()
	if err != nil {
		l.r.log.Error("upgrade to HTTP/2", "client", req.RemoteAddr, "error", err)
		return true
	}
	if limit := orDefault(l.r.current.Load().WriteTimeout, DefaultWriteTimeout); limit > 0 {
		_ = conn.SetWriteDeadline(time.Now().Add(limit)) // where it cannot be set, the write tells
	}
	_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
	if errors.Join(err, conn.SetWriteDeadline(time.Time{})) != nil {
		_ = conn.Close() // the client has gone
		return true
	}
	h2 := l.r.http2Conn(conn, nil, ahead)
	h2.Upgrade(u)
	l.give(h2)
	return true
}
