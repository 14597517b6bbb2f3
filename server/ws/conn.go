package ws

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"github.com/pagi-go/pagi-bridge/internal/tenure"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

const (
	// lingerTime is how long a client may go on sending after the last Close frame, unless it
	// closes before. If the server closed with bytes unread, the client could lose the frame. It is
	// also how long the server reads, after a write that failed, the messages that came before.
	lingerTime = 500 * time.Millisecond
	// flushTime is how long waiting messages may take to leave when the connection is closed in
	// order.
	flushTime = 2 * time.Second
)

// past is a deadline that wakes every read or write that waits.
var past = time.Unix(1, 0)

// link is the carrier of a WebSocket: a connection, or an HTTP/2 stream.
type link interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// conn is a WebSocket.
type conn struct {
	server *Server
	link   link
	try    func([]byte) (int, error) // writes without waiting; nil where the link cannot
	flow   *engine.FlowMeter
	pong   func()

	in       input
	waste    *rate.Limiter // nil: none has come yet
	inflater *inflater     // nil: nothing compressed may come

	wmu       sync.Mutex // guards what follows
	out       []byte     // bytes that wait to be written
	charge    int        // how many of them flow counts
	writing   bool       // a goroutine writes
	closeSent bool
	broken    bool          // nothing can be written any more
	drained   chan struct{} // closed when there is room again; nil: no Send waits
	quiet     chan struct{} // closed when no goroutine writes any more; nil: nothing waits for that
	deflater  *deflater     // nil: nothing is compressed

	sent   atomic.Int64                        // how many bytes of frames were written
	ended  atomic.Pointer[engine.WebSocketEnd] // why it was ended on this side
	active atomic.Int64                        // when the last bytes came or went, for idle
	reads  atomic.Bool                         // a Receive is running
	idle   *time.Timer
	bond   bond
}

func (s *Server) newConn(l link, ahead []byte, scope *pagi.Scope, hooks engine.WebSocketHooks, agreed *extension) *conn {
	c := &conn{server: s, link: l, flow: hooks.Flow, pong: hooks.Pong, bond: bond{tenure: tenure.Of(scope.Stash)}}
	if trier, ok := l.(interface{ TryWrite([]byte) (int, error) }); ok {
		c.try = trier.TryWrite
	}
	c.in.init((*arrivals)(c), ahead)
	if agreed != nil {
		c.inflater = &inflater{takeover: !agreed.clientNoTakeover}
		c.deflater = newDeflater(agreed)
	}
	return c
}

// start is called when the response to the handshake has been handed over.
func (c *conn) start() {
	c.touch()
	if d := c.server.IdleTimeout; d > 0 {
		c.wmu.Lock()
		c.idle = time.AfterFunc(d, c.checkIdle)
		c.wmu.Unlock()
	}
	c.server.add(c)
}

// arrivals is the reader of a conn's link. It notes that bytes have come.
type arrivals conn

// Read implements io.Reader.
func (a *arrivals) Read(p []byte) (int, error) {
	n, err := a.link.Read(p)
	if n > 0 {
		(*conn)(a).touch()
	}
	return n, err
}

// touch notes that bytes came or went.
func (c *conn) touch() {
	if c.server.IdleTimeout > 0 {
		c.active.Store(time.Now().UnixNano())
	}
}

func (c *conn) checkIdle() {
	d := c.server.IdleTimeout
	left := d - time.Since(time.Unix(0, c.active.Load()))
	c.wmu.Lock()
	if c.writing || !c.reads.Load() {
		left = d // not idle: the client is slow, which has a limit of its own, or no Receive runs
	}
	if left > 0 && !c.broken {
		c.idle.Reset(left)
	}
	c.wmu.Unlock()
	if left > 0 {
		return
	}
	c.interrupt(&engine.WebSocketEnd{Code: codeAbnormal, Reason: pagi.ReasonIdleTimeout, Answer: codeGoingAway, Text: "idle for too long", Option: optionIdle})
}

// goAway ends the connection because the server stops.
func (c *conn) goAway() {
	c.interrupt(&engine.WebSocketEnd{Code: codeAbnormal, Reason: pagi.ReasonServerShutdown, Answer: codeGoingAway, Text: "server shutdown"})
}

// interrupt makes Receive return with end.
func (c *conn) interrupt(end *engine.WebSocketEnd) {
	if c.ended.CompareAndSwap(nil, end) {
		_ = c.link.SetReadDeadline(past) // a closed link needs no deadline
	}
}

// end returns how the connection ended, after a read that failed with err. A Close of the client
// counts, whatever has happened on this side.
func (c *conn) end(err error) *engine.WebSocketEnd {
	var end *engine.WebSocketEnd
	switch {
	case !errors.As(err, &end):
		end = &engine.WebSocketEnd{Code: codeAbnormal, Reason: lostBy(err)}
	case end.Peer:
		c.ended.Store(end)
		return end
	}
	c.ended.CompareAndSwap(nil, end)
	return c.ended.Load()
}

// lostBy returns the reason that the specification names for a failed read.
func lostBy(err error) string {
	var known syscall.Errno
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return pagi.ReasonClientTimeout
	case errors.As(err, &known) && known != syscall.ECONNRESET && known != syscall.EPIPE:
		return pagi.ReasonReadError
	}
	return pagi.ReasonClientClosed
}

// Close implements engine.WebSocketConn.
func (c *conn) Close() {
	c.waitQuiet(flushTime)
	if end := c.ended.Load(); end == nil || !end.Peer {
		c.discard()
	}
	c.Drop()
}

// discard tells the client that nothing more will come, and reads what the client still sends.
func (c *conn) discard() {
	half, ok := c.link.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.link.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(c.link, 16<<20)) // until it ends, in whatever way
}

// Drop implements engine.WebSocketConn. When it returns, only a running Receive still uses the
// link.
func (c *conn) Drop() {
	c.ended.CompareAndSwap(nil, &engine.WebSocketEnd{Code: codeAbnormal, Reason: pagi.ReasonClientClosed})
	c.wmu.Lock()
	c.broken = true
	if c.idle != nil {
		c.idle.Stop()
	}
	if c.writing {
		_ = c.link.SetWriteDeadline(past) // a closed link needs no deadline
	}
	c.wmu.Unlock()
	_ = c.link.Close() // nothing more is sent on it
	c.waitQuiet(-1)
	c.server.remove(c)
}

// Sent implements engine.WebSocketConn.
func (c *conn) Sent() int64 { return max(0, c.sent.Load()) } // below 0: not even the response to the handshake has left

// waitQuiet waits until no goroutine writes, for d at most. With a d below 0 it waits without a
// limit.
func (c *conn) waitQuiet(d time.Duration) {
	c.wmu.Lock()
	if !c.writing {
		c.wmu.Unlock()
		return
	}
	if c.quiet == nil {
		c.quiet = make(chan struct{})
	}
	quiet := c.quiet
	c.wmu.Unlock()
	if d < 0 {
		<-quiet
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-quiet:
	case <-timer.C:
	}
}
