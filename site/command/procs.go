package command

import (
	"context"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// How GOMAXPROCS follows the load of the gateway. Decision 9 explains the numbers.
const (
	procsInterval = 100 * time.Millisecond
	// raiseAbove is a share of the processors that Go may use, lowerBelow a share of half of them.
	// calmIntervals is for how many intervals the gateway must have used little.
	raiseAbove    = 0.5
	lowerBelow    = 0.3
	calmIntervals = 10
)

// procs gives Go's scheduler as many processors as the gateway needs. While Perl workers keep the
// processors busy, each surplus one costs time. At each event Go wakes a thread to look for work.
// The thread finds none, but has taken a processor and its caches from a worker.
type procs struct {
	most, now int
	calm      int          // intervals in a row with little use
	least     atomic.Int32 // the least number that another goroutine has asked for
}

// fitProcs adjusts GOMAXPROCS, from one up to its value at the start, until ctx ends. The
// environment variable GOMAXPROCS turns it off.
func fitProcs(ctx context.Context) *procs {
	p := &procs{most: runtime.GOMAXPROCS(0), now: 1}
	if _, set := os.LookupEnv("GOMAXPROCS"); set || p.most == 1 {
		return p
	}
	runtime.GOMAXPROCS(p.now)
	go p.follow(ctx)
	return p
}

// startsPrograms tells whether programs are started for requests. A goroutine that starts a program
// occupies a processor until the program runs, for half a millisecond without using processor time.
// Other goroutines need another processor meanwhile. A nil procs does nothing.
func (p *procs) startsPrograms(yes bool) {
	switch {
	case p == nil:
	case yes:
		p.least.Store(2)
	default:
		p.least.Store(1)
	}
}

func (p *procs) follow(ctx context.Context) {
	ticks := time.NewTicker(procsInterval)
	defer ticks.Stop()
	used, at := processTime(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		usedNow, now := processTime(), time.Now()
		before := p.now
		if p.fit(float64(usedNow-used) / float64(now.Sub(at))); p.now != before {
			runtime.GOMAXPROCS(p.now)
		}
		used, at = usedNow, now
	}
}

// fit adjusts GOMAXPROCS after an interval in which so many processors were used.
func (p *procs) fit(used float64) {
	switch {
	case used > raiseAbove*float64(p.now):
		p.now, p.calm = min(2*p.now, p.most), 0
	case p.now > 1 && used < lowerBelow*float64(p.now)/2:
		if p.calm++; p.calm == calmIntervals {
			p.now, p.calm = (p.now+1)/2, 0
		}
	default:
		p.calm = 0
	}
	p.now = max(p.now, min(int(p.least.Load()), p.most))
}

// processTime is the processor time this process has used.
func processTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0 // it cannot fail
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
