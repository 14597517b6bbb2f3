package engine

import "sync"

// Default marks of a FlowMeter, the reference server's.
const (
	DefaultHighWaterMark = 65536
	DefaultLowWaterMark  = 16384
)

// FlowMeter is a pagi.Transport that counts: the server adds what it takes over and
// subtracts what it has written. The callbacks form a cycle with hysteresis: high
// water once, drain once, then both are armed again. Callbacks run one after another,
// in the order in which the marks were crossed and they were registered, on a
// goroutine that crossed a mark; one that panics is logged and does not keep the next
// from running.
type FlowMeter struct {
	high, low int

	mu          sync.Mutex
	amount      int
	above       bool
	onHighWater []func()
	onDrain     []func()
	due         []crossing // callbacks that are to run, in this order
	calling     bool       // a goroutine runs them
}

// crossing holds the callbacks of a mark that was crossed.
type crossing struct {
	kind      string
	callbacks []func()
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
// runs the callbacks of a mark that was crossed. Where another goroutine is running
// callbacks, that one runs these, too, after its own.
func (m *FlowMeter) Add(n int) {
	m.Count(n)
	m.CallDue()
}

// Count changes the amount by n and leaves the callbacks of a crossed mark to CallDue,
// which must follow: at once, or on another goroutine where callbacks may wait for the
// caller of Count.
func (m *FlowMeter) Count(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.amount = max(0, m.amount+n)
	switch {
	case !m.above && m.amount >= m.high:
		m.above = true
		m.due = append(m.due, crossing{"on_high_water", m.onHighWater})
	case m.above && m.amount < m.low:
		m.above = false
		m.due = append(m.due, crossing{"on_drain", m.onDrain})
	}
}

// CallDue runs the callbacks that are due, unless another goroutine is running callbacks:
// then that goroutine runs them.
func (m *FlowMeter) CallDue() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.calling {
		return
	}
	m.calling = true
	for len(m.due) > 0 {
		next := m.due[0]
		m.due = m.due[1:]
		m.mu.Unlock()
		for _, f := range next.callbacks {
			guard(next.kind, f)
		}
		m.mu.Lock()
	}
	m.due, m.calling = nil, false
}

// IsDue reports whether CallDue has callbacks to run.
func (m *FlowMeter) IsDue() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.due) > 0
}

// IsAbove reports whether the high mark was reached and not left by the low one since.
func (m *FlowMeter) IsAbove() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.above
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
