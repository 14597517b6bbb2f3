package status

import (
	"sync/atomic"
	"time"
)

// WaitBounds are the upper bounds, in seconds, of the times by which Totals.WaitsByTime counts.
var WaitBounds = [...]float64{0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}

// WaitTimes counts waits by their length: one number for each of WaitBounds, which has the waits that no smaller one has, and one
// for longer ones.
type WaitTimes [len(WaitBounds) + 1]int64

// WaitCounter counts waits. The zero value has counted none. All methods are safe for concurrent use.
type WaitCounter struct {
	counts [len(WaitBounds) + 1]atomic.Int64
	waited atomic.Int64 // nanoseconds
}

// Add counts a wait.
func (c *WaitCounter) Add(d time.Duration) {
	i, seconds := 0, d.Seconds()
	for i < len(WaitBounds) && seconds > WaitBounds[i] {
		i++
	}
	c.counts[i].Add(1)
	c.waited.Add(int64(d))
}

// Tell sets the fields of totals that tell of waits.
func (c *WaitCounter) Tell(t *Totals) {
	t.Waits = 0
	for i := range c.counts {
		t.WaitsByTime[i] = c.counts[i].Load()
		t.Waits += t.WaitsByTime[i]
	}
	t.Waited = Seconds(c.waited.Load())
}
