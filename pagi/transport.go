package pagi

import "sync"

// Transport is the "pagi.transport" handle: how much the server has taken from
// the application and not yet written to the network. All methods are safe for
// concurrent use.
//
// An application that never calls one has its events written through: Send returns
// when the network has taken the bytes. From the first call on, what an event stream
// or a streaming body sends waits in the server's memory, and Send blocks only at the
// high mark.
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
	calling     bool       // somebody runs them
}

// crossing is what is to be called because a mark was crossed.
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
// callbacks it runs these, too, after its own.
func (m *FlowMeter) Add(n int) {
	m.count(n)
	m.call()
}

// Count is Add for a goroutine that callbacks may wait for: it returns what runs those
// that are due, to be called on another one; nil where none are.
func (m *FlowMeter) Count(n int) (call func()) {
	m.count(n)
	if !m.isDue() {
		return nil
	}
	return m.call
}

// count changes the amount and leaves the callbacks of a crossed mark to call, which
// must follow.
func (m *FlowMeter) count(n int) {
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

// call runs the callbacks that are due.
func (m *FlowMeter) call() {
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

// isDue reports whether call has callbacks to run.
func (m *FlowMeter) isDue() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.due) > 0
}

// isAbove reports whether the high mark was reached and not left by the low one since.
func (m *FlowMeter) isAbove() bool {
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
