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

	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/server/http1"
	"github.com/pagi-go/pagi-bridge/server/http2"
)

// newHTTP2 returns the server for HTTP/2. It is net/http, on connections of package server/http2,
// which net/http takes for connections without TLS.
//
// net/http ends the whole connection when a head exceeds its limit by far. So its limit is set
// above MaxHeaderSize, and dispatch answers 431 to the requests between the two. HTTP/2 counts 32
// bytes more per field, and each part of a cookie may be a field.
func (r *running) newHTTP2(g *generation) *http.Server {
	const most = 1 << 30
	room := most
	if g.headLimit > 0 {
		room = min(g.headLimit, most>>4)<<3 + 256<<10
	}
	streams := g.H2MaxStreams
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
		IdleTimeout:       g.Timeout,
		ReadHeaderTimeout: max(0, g.HeaderTimeout), // time for the preface
		MaxHeaderBytes:    room,
		ErrorLog:          log.New(&r.warnings, "", 0),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: streams,
			MaxReadFrameSize:     http2.MaxFrame,
			WriteByteTimeout:     max(0, g.WriteTimeout),
		},
		// The application answers OPTIONS *, like every other request.
		DisableGeneralOptionsHandler: true,
	}
}

// http2Conn prepares a connection on which HTTP/2 was agreed.
func (r *running) http2Conn(c net.Conn, state *tls.ConnectionState, ahead []byte) *http2.Conn {
	g := r.current.Load()
	r.conns.speaksHTTP2(c)
	return http2.New(c, state, http2.Limits{
		ResetBurst:   g.H2ResetBurst,
		ResetRate:    g.H2ResetRate,
		ControlBurst: g.H2ControlBurst,
		ControlRate:  g.H2ControlRate,
		HeadTimeout:  g.limits().HeadTimeout,
		Secure:       state != nil || r.isTrusted(c),
		Refused: func(c *http2.Conn, _ uint32, reason string) {
			r.warnings.warn("request is refused", "reset", "PROTOCOL_ERROR", "reason", reason, "client", c.RemoteAddr().String())
		},
		Flooded: func(c *http2.Conn, what string) {
			r.warnings.warn("HTTP/2 connection is ended", "reason", what, "client", c.RemoteAddr().String())
		},
	}, ahead)
}

// connContext gives the requests of an HTTP/2 connection the context values that http1 gives its
// own.
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

// Addr implements net.Listener. The address is made up.
func (l *cleartext) Addr() net.Addr { return &net.UnixAddr{Name: "h2c", Net: "unix"} }

// take is the callback HTTP2 of an http1.Server.
func (l *cleartext) take(c net.Conn, ahead []byte) { l.give(l.r.http2Conn(c, nil, ahead)) }

func (l *cleartext) give(c *http2.Conn) {
	select {
	case l.ready <- c:
	case <-l.gone:
		_ = c.Close() // no server takes it any more
	}
}

// upgrade begins HTTP/2 on the connection of an HTTP/1.1 request that asks for it. It reports
// whether it did, or has answered the request otherwise. A request with a body, or over TLS, stays
// HTTP/1.1.
func (l *cleartext) upgrade(w http.ResponseWriter, req *http.Request) bool {
	stream, is := w.(interface {
		engine.Stream
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
	if limit := l.r.current.Load().WriteTimeout; limit > 0 {
		_ = conn.SetWriteDeadline(time.Now().Add(limit)) // if it cannot be set, the write fails
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
