package pagi

import (
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
)

// The standard disconnect reasons (PAGI::Spec::Www, "Standard Disconnect
// Reasons"). A server may add its own, prefixed with "x-".
const (
	ReasonClientClosed     = "client_closed"
	ReasonClientTimeout    = "client_timeout"
	ReasonIdleTimeout      = "idle_timeout"
	ReasonKeepaliveTimeout = "keepalive_timeout"
	ReasonWriteTimeout     = "write_timeout"
	ReasonWriteError       = "write_error"
	ReasonReadError        = "read_error"
	ReasonProtocolError    = "protocol_error"
	ReasonServerShutdown   = "server_shutdown"
	ReasonServerError      = "server_error"
	ReasonBodyTooLarge     = "body_too_large"
	ReasonQueueOverflow    = "queue_overflow"
)

// Connection is the "pagi.connection" object of an http scope: it tells, without
// consuming events, whether the client is still there and how far the response
// has come. It belongs to one request; requests that share a TCP connection have
// one each. All methods are safe for concurrent use.
//
// A request ends in exactly one of two ways: it completes, or it is disconnected
// for a reason. Callbacks run one after another, in registration order, on the
// goroutine that noticed the end; one that panics is logged and does not keep the
// next from running. They may send, which does nothing after a disconnect. The
// disconnect event is received when all of them have returned; only a callback that
// calls Receive itself is given it at once. It must not wait for a goroutine that does.
type Connection struct {
	started  atomic.Bool
	finished atomic.Bool
	ended    atomic.Bool

	mu           sync.Mutex
	reason       string
	completed    bool
	onDisconnect []func(reason string)
	onComplete   []func()
	done         chan struct{} // made on demand, closed on disconnect

	// look, where set, makes sure that from now on the client's leaving is noticed,
	// and notices it at once when it has happened. It lets a server spare the watch
	// for the many requests that never ask.
	look interface{ look() }
}

// NewConnection returns a Connection and the handle by which its maker, a server
// or a test client, moves it along.
func NewConnection() (*Connection, ConnectionControl) {
	c := &Connection{}
	return c, ConnectionControl{c}
}

// IsConnected reports whether the request is still going on. Once false it stays
// false.
func (c *Connection) IsConnected() bool {
	c.looked()
	return !c.ended.Load()
}

// looked calls look.
func (c *Connection) looked() {
	if c.look != nil && !c.ended.Load() {
		c.look.look()
	}
}

// DisconnectReason returns why the request ended abnormally; "" while it goes on
// and after it completed.
func (c *Connection) DisconnectReason() string {
	c.looked()
	return c.knownReason()
}

func (c *Connection) knownReason() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason
}

// ResponseStarted reports whether a response was started, by whomever.
func (c *Connection) ResponseStarted() bool { return c.started.Load() }

// ResponseComplete reports whether the response's last byte was handed on.
func (c *Connection) ResponseComplete() bool { return c.finished.Load() }

// Disconnected returns a channel that is closed when the request ends abnormally
// and only then: the specification's disconnect_future.
func (c *Connection) Disconnected() <-chan struct{} {
	c.looked()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.ended.Load() && !c.completed {
			close(c.done)
		}
	}
	return c.done
}

// OnDisconnect registers a callback for an abnormal end. When that has come
// already, f runs at once; after completion it never runs.
func (c *Connection) OnDisconnect(f func(reason string)) {
	c.looked()
	c.mu.Lock()
	if !c.ended.Load() {
		c.onDisconnect = append(c.onDisconnect, f)
		c.mu.Unlock()
		return
	}
	reason, completed := c.reason, c.completed
	c.mu.Unlock()
	if !completed {
		guard("on_disconnect", func() { f(reason) })
	}
}

// OnComplete registers a callback for the successful end. When that has come
// already, f runs at once; after a disconnect it never runs.
func (c *Connection) OnComplete(f func()) {
	c.mu.Lock()
	if !c.ended.Load() {
		c.onComplete = append(c.onComplete, f)
		c.mu.Unlock()
		return
	}
	completed := c.completed
	c.mu.Unlock()
	if completed {
		guard("on_complete", f)
	}
}

// ConnectionControl is the server's side of a Connection.
type ConnectionControl struct{ c *Connection }

// Start records that the response has started.
func (k ConnectionControl) Start() { k.c.started.Store(true) }

// Complete records that the response was delivered and runs the OnComplete
// callbacks. It does nothing after the request has ended.
func (k ConnectionControl) Complete() {
	callbacks, _ := k.complete()
	runCallbacks("on_complete", callbacks, func(f func()) { f() })
}

// complete is Complete without the callbacks, which it returns; ok is false where the
// request has ended already.
func (k ConnectionControl) complete() (callbacks []func(), ok bool) {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	if k.c.ended.Load() {
		return nil, false
	}
	k.c.finished.Store(true)
	k.c.completed = true
	k.c.ended.Store(true)
	callbacks = k.c.onComplete
	k.c.onComplete, k.c.onDisconnect = nil, nil
	return callbacks, true
}

// Disconnect records an abnormal end in the order the specification demands:
// IsConnected turns false, the reason is set, Disconnected is closed, callbacks
// run. The caller delivers the disconnect event after it has returned. It does
// nothing after the request has ended and reports whether it did something.
func (k ConnectionControl) Disconnect(reason string) bool {
	callbacks, ok := k.disconnect(reason)
	runOnDisconnect(callbacks, reason)
	return ok
}

// disconnect is Disconnect without the callbacks, which it returns.
func (k ConnectionControl) disconnect(reason string) (callbacks []func(string), ok bool) {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	if k.c.ended.Load() {
		return nil, false
	}
	k.c.ended.Store(true)
	k.c.reason = reason
	if k.c.done != nil {
		close(k.c.done)
	}
	callbacks = k.c.onDisconnect
	k.c.onComplete, k.c.onDisconnect = nil, nil
	return callbacks, true
}

func runOnDisconnect(callbacks []func(string), reason string) {
	runCallbacks("on_disconnect", callbacks, func(f func(string)) { f(reason) })
}

// runCallbacks calls what was registered for a request's end.
func runCallbacks[F any](kind string, callbacks []F, call func(F)) {
	for _, f := range callbacks {
		guardEnd(kind, func() { call(f) })
	}
}

// guardEnd is the guard of the callbacks of a request's end. inCallback looks for it.
//
//go:noinline
func guardEnd(kind string, f func()) { guard(kind, f) }

var guardEndName = runtime.FuncForPC(reflect.ValueOf(guardEnd).Pointer()).Name()

// inCallback reports whether its caller was called by a callback of a request's end. It
// looks at the stack, and is for a Receive while such callbacks run.
func inCallback() bool {
	const skipped = 2 // runtime.Callers and inCallback
	callers := make([]uintptr, 64)
	for skip := skipped; ; skip += len(callers) {
		n := runtime.Callers(skip, callers)
		if n == 0 {
			return false
		}
		frames := runtime.CallersFrames(callers[:n])
		for frame, more := frames.Next(); ; frame, more = frames.Next() {
			if frame.Function == guardEndName {
				return true
			}
			if !more {
				break
			}
		}
	}
}

// guard runs a callback and logs a panic in it.
func guard(kind string, f func()) {
	defer func() {
		if p := recover(); p != nil {
			slog.Error("panic in a connection callback", "callback", kind, "panic", fmt.Sprint(p))
		}
	}()
	f()
}
