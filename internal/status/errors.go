package status

import "sync/atomic"

// Class is a class of failed requests.
type Class uint8

// The classes. The fields of Errors say what is in each.
const (
	Application Class = iota
	Invalid
	Died
	TimedOut
	Limit
	QueueFull
	QueueTimeout
	Unavailable
	Refused
	classes
)

// ErrorCounters count the failed requests of a mount. The zero value has counted none. All methods
// are safe for concurrent use.
type ErrorCounters struct{ counts [classes]atomic.Int64 }

// Add counts a request that has failed.
func (c *ErrorCounters) Add(as Class) { c.counts[as].Add(1) }

// Errors returns the counts.
func (c *ErrorCounters) Errors() Errors {
	of := func(as Class) int64 { return c.counts[as].Load() }
	return Errors{
		Application: of(Application), Invalid: of(Invalid), Died: of(Died), TimedOut: of(TimedOut), Limit: of(Limit),
		QueueFull: of(QueueFull), QueueTimeout: of(QueueTimeout), Unavailable: of(Unavailable), Refused: of(Refused),
	}
}
