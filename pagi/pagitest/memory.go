package pagitest

import (
	"context"
	"sync"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// memory is an engine.WebSocketConn whose other end is a test. Neither side waits for the
// other to take a message, except for a slow test.
type memory struct {
	hooks engine.WebSocketHooks
	slow  bool // Send waits at the high mark

	mu     sync.Mutex
	change *sync.Cond
	toApp  []pagi.WebSocketReceive
	toTest []pagi.WebSocketSend
	pongs  int // pongs that the application's side has not got yet
	pinged int
	silent bool
	gone   *engine.WebSocketEnd // the error that ends Receive; nil: not yet
	closed *engine.WebSocketEnd // the error that ends the test's side; nil: not yet
}

func newMemory(hooks engine.WebSocketHooks, slow bool) *memory {
	m := &memory{hooks: hooks, slow: slow}
	m.change = sync.NewCond(&m.mu)
	return m
}

// Receive implements engine.WebSocketConn.
func (m *memory) Receive() (pagi.WebSocketReceive, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		switch {
		case m.pongs > 0:
			m.pongs--
			m.mu.Unlock()
			m.hooks.Pong()
			m.mu.Lock()
		case len(m.toApp) > 0:
			ev := m.toApp[0]
			m.toApp = m.toApp[1:]
			return ev, nil
		case m.gone != nil:
			return pagi.WebSocketReceive{}, m.gone
		default:
			m.change.Wait()
		}
	}
}

// Send implements engine.WebSocketConn.
func (m *memory) Send(ctx context.Context, e pagi.WebSocketSend) error {
	m.mu.Lock()
	if m.closed != nil {
		m.mu.Unlock()
		return nil
	}
	if e.Binary {
		e.Bytes = append([]byte{}, e.Bytes...)
	}
	m.toTest = append(m.toTest, e)
	m.change.Broadcast()
	m.mu.Unlock()
	if !m.slow {
		return nil
	}
	m.hooks.Flow.Add(messageSize(e))
	defer context.AfterFunc(ctx, m.wake)()
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.hooks.Flow.IsAbove() && m.closed == nil && m.gone == nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		m.change.Wait()
	}
	return nil
}

// Ping implements engine.WebSocketConn.
func (m *memory) Ping() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pinged++
	if !m.silent {
		m.pongs++
		m.change.Broadcast()
	}
}

// SendClose implements engine.WebSocketConn. The test's end answers at once.
func (m *memory) SendClose(code int, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed == nil {
		m.closed = &engine.WebSocketEnd{Code: code, Reason: reason, Peer: true}
	}
	if m.gone == nil {
		m.gone = &engine.WebSocketEnd{Code: code, Reason: reason, Peer: true}
	}
	m.change.Broadcast()
}

// Close implements engine.WebSocketConn.
func (m *memory) Close() { m.Drop() }

// Drop implements engine.WebSocketConn.
func (m *memory) Drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	lost := &engine.WebSocketEnd{Code: 1006, Reason: pagi.ReasonClientClosed}
	if m.closed == nil {
		m.closed = lost
	}
	if m.gone == nil {
		m.gone = lost
	}
	m.change.Broadcast()
}

// Sent implements engine.WebSocketConn. There is no network, so it returns 0.
func (m *memory) Sent() int64 { return 0 }

// memoryClient is the test's end.
type memoryClient struct {
	*memory
	session *engine.WebSocketSession
}

// Send implements WebSocketWire.
func (m memoryClient) Send(e pagi.WebSocketReceive) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone != nil {
		return m.gone
	}
	m.toApp = append(m.toApp, e)
	m.change.Broadcast()
	return nil
}

// Receive implements WebSocketWire.
func (m memoryClient) Receive() (pagi.WebSocketSend, error) {
	m.mu.Lock()
	for len(m.toTest) == 0 {
		if m.closed != nil {
			defer m.mu.Unlock()
			return pagi.WebSocketSend{}, m.closed
		}
		m.change.Wait()
	}
	e := m.toTest[0]
	m.toTest = m.toTest[1:]
	m.mu.Unlock()
	if m.slow {
		m.hooks.Flow.Add(-messageSize(e))
		m.wake()
	}
	return e, nil
}

// Close implements WebSocketWire.
func (m memoryClient) Close(code int, reason string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone != nil {
		return m.gone
	}
	m.gone = &engine.WebSocketEnd{Code: code, Reason: reason, Answer: code, Peer: true}
	m.change.Broadcast()
	return nil
}

// Drop implements WebSocketWire.
func (m memoryClient) Drop(reason string) { m.session.Cut(reason) }

// Mute implements WebSocketWire.
func (m memoryClient) Mute() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.silent = true
}

// Pings implements WebSocketWire.
func (m memoryClient) Pings() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pinged
}

// wake makes those that wait look again. Taking mu makes sure that they wait already.
func (m *memory) wake() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.change.Broadcast()
}
