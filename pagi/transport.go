package pagi

import "sync"

// Transport is the "pagi.transport" handle: how much the server has taken from
// the application and not yet written to the network. All methods are safe for
// concurrent use.
type Transport interface {
	// BufferedAmount is the number of bytes waiting to be written.
	BufferedAmount() int
	// HighWaterMark is the amount at or above which Send blocks; 0: none.
	HighWaterMark() int
	// LowWaterMark is the amount below which a blocked Send goes on; 0: none.
	LowWaterMark() int
	// OnHighWater registers a callback for the moment the amount reaches the high
	// mark; it runs at once when that is the case already.
	OnHighWater(f func())
	// OnDrain registers a callback for the moment the amount falls below the low
	// mark after it had reached the high one.
	OnDrain(f func())
}

// Default marks of a FlowMeter, the reference server's.
const (
	DefaultHighWaterMark = 65536
	DefaultLowWaterMark  = 16384
)

// FlowMeter is a Transport that counts: the server adds what it takes over and
// subtracts what it has written. The callbacks form a cycle with hysteresis: high
// water once, drain once, then both are armed again. Callbacks run on the
// goroutine that crossed the mark, in registration order; one that panics is
// logged and does not keep the next from running.
type FlowMeter struct {
	high, low int

	mu          sync.Mutex
	amount      int
	above       bool
	onHighWater []func()
	onDrain     []func()
}

// NewFlowMeter returns a FlowMeter with the given marks; 0 stands for the
// defaults. A low mark above the high one is lowered to it.
func NewFlowMeter(high, low int) *FlowMeter {
	if high <= 0 {
		high = DefaultHighWaterMark
	}
	if low <= 0 {
		low = DefaultLowWaterMark
	}
	return &FlowMeter{high: high, low: min(low, high)}
}

// Add changes the amount by n, which is negative when bytes were written, and
// runs the callbacks of a mark that was crossed.
func (m *FlowMeter) Add(n int) {
	m.mu.Lock()
	m.amount = max(0, m.amount+n)
	var kind string
	var callbacks []func()
	switch {
	case !m.above && m.amount >= m.high:
		m.above, kind, callbacks = true, "on_high_water", m.onHighWater
	case m.above && m.amount < m.low:
		m.above, kind, callbacks = false, "on_drain", m.onDrain
	}
	m.mu.Unlock()
	for _, f := range callbacks {
		guard(kind, f)
	}
}

// BufferedAmount returns the current amount.
func (m *FlowMeter) BufferedAmount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.amount
}

// HighWaterMark returns the high mark.
func (m *FlowMeter) HighWaterMark() int { return m.high }

// LowWaterMark returns the low mark.
func (m *FlowMeter) LowWaterMark() int { return m.low }

// OnHighWater registers f; it runs at once when the amount is at the mark.
func (m *FlowMeter) OnHighWater(f func()) {
	m.mu.Lock()
	m.onHighWater = append(m.onHighWater[:len(m.onHighWater):len(m.onHighWater)], f)
	now := m.amount >= m.high
	m.mu.Unlock()
	if now {
		guard("on_high_water", f)
	}
}

// OnDrain registers f.
func (m *FlowMeter) OnDrain(f func()) {
	m.mu.Lock()
	m.onDrain = append(m.onDrain[:len(m.onDrain):len(m.onDrain)], f)
	m.mu.Unlock()
}
