package server

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server/http1"
)

// quicConn is a connection of HTTP/3. It ends when no request has been served on it for a
// while: quic-go gives a head that has begun all the time in the world.
type quicConn struct {
	facts func() *pagi.TLS // what scopes tell of its TLS

	mu       sync.Mutex
	requests int           // being served
	end      *time.Timer   // ends it, unless there are some
	after    time.Duration // so long after the last; 0: not at all
}

// farewellTime is how long a client that was told to go, and is served nothing any more, may
// take: what was lost of its last response must be sent again.
const farewellTime = 3 * time.Second

// quicConnKey is the key of the quicConn in the contexts of requests.
type quicConnKey struct{}

// connContext makes the contexts of a connection's requests end with all others.
func (q *quicFront) connContext(ctx context.Context, conn *quic.Conn) context.Context {
	q.conns.Add(1)
	c := &quicConn{}
	c.facts = sync.OnceValue(func() *pagi.TLS { // once a request has come it is known
		state := conn.ConnectionState().TLS
		return q.r.tls.facts(nil, &state)
	})
	ctx, cancel := context.WithCancelCause(context.WithValue(ctx, quicConnKey{}, c))
	stop := context.AfterFunc(q.r.base, func() { cancel(context.Cause(q.r.base)) })
	c.end = time.AfterFunc(time.Hour, func() { // limit sets the time
		_ = conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeRequestIncomplete), "no request in time")
	})
	c.limit(q.unused)
	part := context.AfterFunc(q.ending, func() { c.limit(farewellTime) })
	context.AfterFunc(ctx, func() {
		stop()
		part()
		c.count(1) // which stops the timer
		q.conns.Add(-1)
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
	// What else can be malformed in a request quic-go notices.
	if http1.IsAuthority(req.Host) && (req.Method == http.MethodConnect || http1.IsTarget(req.Method, req.RequestURI)) {
		q.r.dispatch(w, req)
		return
	}
	record := pagi.HTTPRecord{Request: req, Status: http.StatusBadRequest, Begin: time.Now()}
	w.WriteHeader(record.Status)
	record.Duration = time.Since(record.Begin)
	q.r.record(&record)
}
