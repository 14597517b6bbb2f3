package server

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/server/http1"
)

// quicConn is a connection of HTTP/3. It ends when no request has been served on it for a while,
// because quic-go sets no time limit for a head that has begun.
type quicConn struct {
	facts func() *pagi.TLS // returns what scopes tell of its TLS

	mu       sync.Mutex
	requests int           // how many are being served
	end      *time.Timer   // ends the connection; stopped while requests are served
	after    time.Duration // how long after the last request it ends; 0: never
}

// farewellTime is how long a connection stays open after its last response once the client was told
// to go. In this time lost packets of that response are sent again.
const farewellTime = 3 * time.Second

// quicConnKey is the key of the quicConn in the contexts of requests.
type quicConnKey struct{}

// connContext makes the contexts of a connection's requests end with all others. quic-go calls it,
// in a goroutine of the connection's own, when the first message of the handshake has come. That
// message may have a forged address. So the connection is counted once the handshake is complete:
// only then has the client answered from its address (RFC 9000 section 8.1).
func (q *quicFront) connContext(ctx context.Context, conn *quic.Conn) context.Context {
	select {
	case <-conn.HandshakeComplete():
	case <-conn.Context().Done():
		return ctx // which has ended
	case <-q.ending.Done(): // a stop does not wait for handshakes
		_ = conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "the server stops")
		return ctx
	}
	g := q.r.current.Load()
	remove, ok := q.r.conns.addQUIC(conn.RemoteAddr(), g.connLimit, g.MaxConnectionsPerAddress)
	if !ok { // several handshakes ran at once, and admit let them all pass
		q.r.warnings.warn("too many connections", "client", conn.RemoteAddr().String())
		q.r.traffic.connectionsRefused.Add(1) // addQUIC has counted it
		_ = conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad), errTooManyQUIC.Error())
		return ctx // which has ended
	}
	c := &quicConn{}
	c.facts = sync.OnceValue(func() *pagi.TLS { // all facts are known once a request has come
		state := conn.ConnectionState().TLS
		return q.r.tls.facts(nil, &state)
	})
	ctx, cancel := context.WithCancelCause(context.WithValue(ctx, quicConnKey{}, c))
	stop := context.AfterFunc(q.r.base, func() { cancel(context.Cause(q.r.base)) })
	c.end = time.AfterFunc(time.Hour, func() { // limit sets the real time
		_ = conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeRequestIncomplete), "no request in time")
	})
	c.limit(q.unused)
	part := context.AfterFunc(q.ending, func() { c.limit(farewellTime) })
	context.AfterFunc(ctx, func() {
		stop()
		part()
		c.count(1) // stops the timer
		remove()
	})
	return ctx
}

// limit sets how long the connection may serve no request; 0: no limit.
func (c *quicConn) limit(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.after = d
	c.setLocked()
}

// count adds n to the requests that are served.
func (c *quicConn) count(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests += n
	c.setLocked()
}

// setLocked starts the timer or stops it.
func (c *quicConn) setLocked() {
	if c.requests == 0 && c.after > 0 {
		c.end.Reset(c.after)
	} else {
		c.end.Stop()
	}
}

// serve is the handler of all requests of HTTP/3.
func (q *quicFront) serve(w http.ResponseWriter, req *http.Request) {
	if c, ok := req.Context().Value(quicConnKey{}).(*quicConn); ok {
		c.count(1)
		defer c.count(-1)
	}
	// quic-go finds all other faults of a malformed request.
	if http1.IsAuthority(req.Host) && (req.Method == http.MethodConnect || http1.IsTarget(req.Method, req.RequestURI)) {
		q.r.dispatch(w, req)
		return
	}
	record := engine.Record{Request: req, Status: http.StatusBadRequest, Begin: time.Now()}
	q.r.warnings.warn("request is refused", "status", record.Status, "reason", "the method, the target or the host is malformed",
		"client", req.RemoteAddr)
	w.WriteHeader(record.Status)
	record.Duration = time.Since(record.Begin)
	q.r.turnedDown(q.r.current.Load(), &record)
}
