package command

import (
	"testing"
	"time"
)

func TestThePercentageFollowsWhatCollectionsCost(t *testing.T) {
	c := &collector{percent: mostPercent}
	cycles, cost := uint64(0), 0.0
	for _, step := range []struct {
		name    string
		seconds int
		cycles  uint64  // in each second
		cost    float64 // of each cycle, in seconds
		want    int
	}{
		{"at rest, but not for long", 4, 0, 0, 400},
		{"at rest for five seconds", 1, 0, 0, 200},
		{"and for longer", 5, 0, 0, 100},
		{"down to the least", 100, 0, 0, 50},
		{"a busy second", 1, 30, 0.001, 300},
		{"a fair cost", 20, 6, 0.001, 300},
		{"a dear one", 1, 20, 0.001, 400},
		{"not more than the most", 20, 20, 0.01, 400},
		{"a large heap with few collections", 10, 1, 0.05, 400},
		{"which become cheap", 6, 1, 0.001, 200},
	} {
		for range step.seconds {
			cycles += step.cycles
			cost += float64(step.cycles) * step.cost
			c.fit(time.Second, cycles, cost)
		}
		if c.percent != step.want {
			t.Fatalf("%s: GOGC is %d instead of %d", step.name, c.percent, step.want)
		}
	}
}
