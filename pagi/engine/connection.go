package engine

import (
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// connection is the pagi.Connection of one request.
type connection struct {
	started atomic.Bool
	state   atomic.Uint32 // a connState; changed with mu held

	mu           sync.Mutex
	reason       string // of connLost
	onDisconnect []func(reason string)
	onComplete   []func()
	done         chan struct{} // made on demand, closed on disconnect

	// look, where set, makes sure that from now on the client's leaving is noticed,
	// and notices it at once when it has happened.
	look interface{ Look() }
}

// connState is how far a request has come. Each of the two ends is final.
//
//	connOpen ── Complete ────> connComplete
//	       └───────── Disconnect ──> connLost
type connState = uint32

const (
	connOpen connState = iota
	connComplete
	connLost
)

// IsConnected implements pagi.Connection.
func (c *connection) IsConnected() bool {
	c.looked()
	return c.state.Load() == connOpen
}

// looked calls look.
func (c *connection) looked() {
	if c.look != nil && c.state.Load() == connOpen {
		c.look.Look()
	}
}

// DisconnectReason implements pagi.Connection.
func (c *connection) DisconnectReason() string {
	c.looked()
	return c.knownReason()
}

func (c *connection) knownReason() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason
}

// ResponseStarted implements pagi.Connection.
func (c *connection) ResponseStarted() bool { return c.started.Load() }

// ResponseComplete implements pagi.Connection.
func (c *connection) ResponseComplete() bool { return c.state.Load() == connComplete }

// Disconnected implements pagi.Connection.
func (c *connection) Disconnected() <-chan struct{} {
	c.looked()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.state.Load() == connLost {
			close(c.done)
		}
	}
	return c.done
}

// OnDisconnect implements pagi.Connection.
func (c *connection) OnDisconnect(f func(reason string)) {
	c.looked()
	c.mu.Lock()
	state, reason := c.state.Load(), c.reason
	if state == connOpen {
		c.onDisconnect = append(c.onDisconnect, f)
	}
	c.mu.Unlock()
	if state == connLost {
		guard("on_disconnect", func() { f(reason) })
	}
}

// OnComplete implements pagi.Connection.
func (c *connection) OnComplete(f func()) {
	c.mu.Lock()
	state := c.state.Load()
	if state == connOpen {
		c.onComplete = append(c.onComplete, f)
	}
	c.mu.Unlock()
	if state == connComplete {
		guard("on_complete", f)
	}
}

// ConnectionControl is a pagi.Connection with the methods by which its maker, a server or a
// test client, moves it along. Its zero value is that of a request which has just begun.
// It must not be copied.
type ConnectionControl struct{ conn connection }

// Connection returns what the application gets.
func (k *ConnectionControl) Connection() pagi.Connection { return &k.conn }

// LookWith has the Connection's methods call l.Look before they look at the state. Look
// makes sure that from now on the client's leaving is noticed, and notices it at once
// when it has happened; a server spares itself that watch for the many requests whose
// application never asks. LookWith must be called before the application is.
func (k *ConnectionControl) LookWith(l interface{ Look() }) { k.conn.look = l }

// Start records that the response has started.
func (k *ConnectionControl) Start() { k.conn.started.Store(true) }

// IsOver reports whether the request has ended, without a call of Look.
func (k *ConnectionControl) IsOver() bool { return k.conn.state.Load() != connOpen }

// Reason is the Connection's DisconnectReason, without a call of Look.
func (k *ConnectionControl) Reason() string { return k.conn.knownReason() }

// Complete records that the response was delivered. It returns the OnComplete
// callbacks, which the caller runs; first is false, and nothing is done, where the
// request has ended before.
func (k *ConnectionControl) Complete() (callbacks EndCallbacks, first bool) {
	return k.end(connComplete, "")
}

// Disconnect records an abnormal end: IsConnected turns false, the reason is set,
// Disconnected is closed. It returns the OnDisconnect callbacks. The caller runs them
// next and delivers the disconnect event when they have returned, which is the order
// that the specification demands. first is false, and nothing is done, where the
// request has ended before.
func (k *ConnectionControl) Disconnect(reason string) (callbacks EndCallbacks, first bool) {
	return k.end(connLost, reason)
}

func (k *ConnectionControl) end(state connState, reason string) (callbacks EndCallbacks, first bool) {
	c := &k.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Load() != connOpen {
		return EndCallbacks{}, false
	}
	if state == connLost {
		callbacks = EndCallbacks{lost: c.onDisconnect, reason: reason}
	} else {
		callbacks = EndCallbacks{complete: c.onComplete}
	}
	c.onComplete, c.onDisconnect = nil, nil
	c.reason = reason
	c.state.Store(state)
	if c.done != nil && state == connLost {
		close(c.done)
	}
	return callbacks, true
}

// EndCallbacks are the callbacks that were registered for the end of a request which
// has come.
type EndCallbacks struct {
	complete []func()
	lost     []func(reason string)
	reason   string
}

// Run calls them, one after another.
func (c EndCallbacks) Run() {
	for _, f := range c.complete {
		guardEnd("on_complete", f)
	}
	for _, f := range c.lost {
		guardEnd("on_disconnect", func() { f(c.reason) })
	}
}

// guardEnd is the guard of the callbacks of a request's end. inEndCallback looks for it.
//
//go:noinline
func guardEnd(kind string, f func()) { guard(kind, f) }

var guardEndName = runtime.FuncForPC(reflect.ValueOf(guardEnd).Pointer()).Name()

// inEndCallback reports whether its caller was called by a callback of a request's end. A
// server asks in a Receive that is called while such callbacks run. It looks at the stack.
func inEndCallback() bool {
	const skipped = 2 // runtime.Callers and inEndCallback
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
