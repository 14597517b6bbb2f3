package pagitest

import (
	"context"
	"sync"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// memory is a pagi.WebSocketConn whose other end is a test. Neither side waits for the
// other to take a message.
type memory struct {
	hooks pagi.WebSocketHooks

	mu     sync.Mutex
	change *sync.Cond
	toApp  []pagi.WebSocketReceive
	toTest []pagi.WebSocketSend
	pongs  int // to be given to the application's side
	pinged int
	silent bool
	gone   *pagi.WebSocketEnd // what Receive ends with; nil: not yet
	closed *pagi.WebSocketEnd // what the test's end ends with; nil: not yet
}

func newMemory(hooks pagi.WebSocketHooks) *memory {
	m := &memory{hooks: hooks}
	m.change = sync.NewCond(&m.mu)
	return m
}

// Receive implements pagi.WebSocketConn.
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

// Send implements pagi.WebSocketConn.
func (m *memory) Send(_ context.Context, e pagi.WebSocketSend) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed == nil {
		if e.Binary {
			e.Bytes = append([]byte{}, e.Bytes...)
		}
		m.toTest = append(m.toTest, e)
		m.change.Broadcast()
	}
	return nil
}

// Ping implements pagi.WebSocketConn.
func (m *memory) Ping() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pinged++
	if !m.silent {
		m.pongs++
		m.change.Broadcast()
	}
}

// SendClose implements pagi.WebSocketConn. The test's end answers at once.
func (m *memory) SendClose(code int, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed == nil {
		m.closed = &pagi.WebSocketEnd{Code: code, Reason: reason, Peer: true}
	}
	if m.gone == nil {
		m.gone = &pagi.WebSocketEnd{Code: code, Reason: reason, Peer: true}
	}
	m.change.Broadcast()
}

// Close implements pagi.WebSocketConn.
func (m *memory) Close() { m.Drop() }

// Drop implements pagi.WebSocketConn.
func (m *memory) Drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	lost := &pagi.WebSocketEnd{Code: 1006, Reason: pagi.ReasonClientClosed}
	if m.closed == nil {
		m.closed = lost
	}
	if m.gone == nil {
		m.gone = lost
	}
	m.change.Broadcast()
}

// Sent implements pagi.WebSocketConn: here is no network.
func (m *memory) Sent() int64 { return 0 }

// put sends a message from the test.
func (m *memory) put(e pagi.WebSocketReceive) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone != nil {
		return m.gone
	}
	m.toApp = append(m.toApp, e)
	m.change.Broadcast()
	return nil
}

// take returns what the application sent.
func (m *memory) take() (pagi.WebSocketSend, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.toTest) == 0 {
		if m.closed != nil {
			return pagi.WebSocketSend{}, m.closed
		}
		m.change.Wait()
	}
	e := m.toTest[0]
	m.toTest = m.toTest[1:]
	return e, nil
}

// end sends the test's Close.
func (m *memory) end(end *pagi.WebSocketEnd) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone != nil {
		return m.gone
	}
	m.gone = end
	m.change.Broadcast()
	return nil
}

func (m *memory) mute() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.silent = true
}

func (m *memory) pings() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pinged
}
