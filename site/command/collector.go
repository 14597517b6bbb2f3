package command

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How the garbage collector's percentage (GOGC) follows what collections cost.
const (
	collectorInterval = time.Second
	// enoughCycles are so many collections that their cost is a rate. collectorPatience is for how long fewer ones are
	// waited for.
	enoughCycles      = 4
	collectorPatience = 5 * time.Second
	// dearAbove and cheapBelow are shares of one processor. Between them the percentage stays. fairCost is what a change
	// aims at.
	dearAbove  = 0.01
	cheapBelow = 0.0025
	fairCost   = 0.005
	// The percentage stays within these.
	leastPercent = 50
	mostPercent  = 400
)

// collector gives the garbage collector memory where that saves processor time. A gateway of a few megabytes under load
// would collect dozens of times per second with a small percentage. One with thousands of quiet connections would hold
// several times the memory that it needs with a large one.
type collector struct {
	percent int
	since   time.Duration // the time since the percentage was considered last
	cycles  uint64        // how many collections there were until then
	cost    float64       // and their processor time, in seconds
}

// fitCollector adjusts GOGC until ctx ends. The environment variable GOGC turns it off.
func fitCollector(ctx context.Context) {
	if _, set := os.LookupEnv("GOGC"); set {
		return
	}
	c := &collector{percent: mostPercent} // many things are made at the start
	debug.SetGCPercent(c.percent)
	go c.follow(ctx)
}

func (c *collector) follow(ctx context.Context) {
	ticks := time.NewTicker(collectorInterval)
	defer ticks.Stop()
	now := []metrics.Sample{
		{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/gc/mark/idle:cpu-seconds"},
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		metrics.Read(now)
		before := c.percent
		c.fit(collectorInterval, now[0].Value.Uint64(), now[1].Value.Float64()-now[2].Value.Float64())
		if c.percent != before {
			debug.SetGCPercent(c.percent)
		}
	}
}

// fit adjusts the percentage after a time, by the number of all collections so far and the processor time they have used.
// What collections cost is about inversely proportional to the percentage.
func (c *collector) fit(passed time.Duration, cycles uint64, cost float64) {
	c.since += passed
	if cycles-c.cycles < enoughCycles && c.since < collectorPatience {
		return
	}
	share := (cost - c.cost) / c.since.Seconds()
	switch {
	case share > dearAbove:
		c.percent = int(min(float64(c.percent)*share/fairCost, mostPercent))
	case share < cheapBelow:
		c.percent = max(c.percent/2, leastPercent)
	}
	c.since, c.cycles, c.cost = 0, cycles, cost
}
