package pool

import (
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/proc"
)

const (
	// surveyInterval is the least time between two looks at what the workers wait for.
	surveyInterval = 250 * time.Millisecond
	// surveyAnswers is how many requests a worker must have answered on average for a look to say anything.
	surveyAnswers = 8
)

// crowd says how many workers may have requests at one time. Workers that only compute gain nothing by being more than
// the processors: the kernel takes turns among them, which costs switches and caches, and each one's batches are smaller.
// So requests then wait for the workers that are busy, although others are idle. A worker that waits within its requests,
// for a database say, leaves its processor to another one. With such workers there is no limit.
//
// A worker that has given no sign of life for the stall time does not count, and an idle one takes its place.
//
// Pool.mu guards the fields, survey apart, which Pool.Look alone uses.
type crowd struct {
	limit   int         // how many workers may have requests; 0: all
	busy    int         // how many have
	late    int         // how many of them do not count
	watch   *time.Timer // looks for workers that are late, while requests wait beside idle ones
	watched bool        // watch runs
	asked   time.Time   // when the survey was made
	survey  survey
}

// part is what a worker is in the crowd.
type part uint8

const (
	absent  part = iota // it has no requests
	present             // it has some, and counts
	late                // it has some, and does not count
)

// survey is what is known of what the workers wait for.
type survey map[*station]waits

// waits count what a worker has waited for since its start.
type waits struct {
	answers int64 // how many requests it has answered
	turns   int64 // how often it was given requests when it had none
	ahead   int64 // how often it was given requests while it was at work
	sleeps  int64 // how often it has given up its processor
}

// isFull reports whether as many workers have requests as may.
func (c *crowd) isFull() bool { return c.limit > 0 && c.busy-c.late >= c.limit }

// computes reports whether the workers are known to wait for nothing but requests.
func (c *crowd) computes() bool { return c.limit > 0 }

// suffices reports whether more workers than these would not be given requests.
func (c *crowd) suffices(workers int) bool { return c.limit > 0 && workers >= c.limit }

// joinLocked counts a worker that is given requests.
func (w *station) joinLocked() {
	if w.part == absent && w.phase == employed {
		w.part = present
		w.waits.turns++
		w.pool.crowd.busy++
	}
}

// leaveLocked is called for a worker that has no requests any more, or is given no others.
func (w *station) leaveLocked() {
	c := &w.pool.crowd
	if w.part == late {
		c.late--
	}
	if w.part != absent {
		c.busy--
	}
	w.part = absent
}

// lagLocked is called for a worker whose requests take long.
func (w *station) lagLocked() {
	if w.part == present {
		w.part = late
		w.pool.crowd.late++
	}
}

// watchLocked has lookForLate called while requests wait beside idle workers.
func (p *Pool) watchLocked() {
	c := &p.crowd
	if c.watched || p.queue.len() == 0 || len(p.idle) == 0 {
		return
	}
	c.watched = true
	if c.watch == nil {
		c.watch = time.AfterFunc(p.stall, p.lookForLate)
	} else {
		c.watch.Reset(p.stall)
	}
}

// lookForLate gives requests that wait to idle workers, in place of workers that are late.
func (p *Pool) lookForLate() {
	now := time.Now()
	p.mu.Lock()
	p.crowd.watched = false
	for w := range p.stations {
		if now.Sub(w.progress) >= w.patience() {
			w.lagLocked()
		}
	}
	send := p.fillLocked()
	p.mu.Unlock()
	flush(send)
}

// surveyCrowd sets the limit by what the workers have waited for since the last time.
func (p *Pool) surveyCrowd(now time.Time) {
	c := &p.crowd
	p.mu.Lock()
	if now.Sub(c.asked) < surveyInterval {
		p.mu.Unlock()
		return
	}
	c.asked = now
	busy := survey{}
	for w := range p.stations {
		if before, known := c.survey[w]; w.phase == employed && (!known || w.waits.answers > before.answers) {
			busy[w] = w.waits
		}
	}
	p.mu.Unlock()
	limit := c.survey.take(busy)
	p.mu.Lock()
	for w := range c.survey {
		if _, is := p.stations[w]; !is {
			delete(c.survey, w)
		}
	}
	c.limit = limit
	send := p.fillLocked()
	p.mu.Unlock()
	flush(send)
}

// take asks the system about the workers that had requests since the last time, and returns the limit. Without an answer
// there is none.
func (s survey) take(busy survey) int {
	var sum waits
	workers := 0
	for w, now := range busy {
		var err error
		if now.sleeps, err = proc.Sleeps(w.process.PID()); err != nil {
			delete(s, w) // it has ended, or the system does not tell
			continue
		}
		if before, known := s[w]; known {
			sum.answers += now.answers - before.answers
			sum.turns += now.turns - before.turns
			sum.ahead += now.ahead - before.ahead
			sum.sleeps += now.sleeps - before.sleeps
			workers++
		}
		s[w] = now
	}
	return limitOf(sum, workers)
}

// limitOf returns how many of these workers may have requests at one time. A worker that only computes sleeps once for
// each of its turns, until the next one. What it is given ahead comes too late at times, and then it sleeps as well.
func limitOf(sum waits, workers int) int {
	if workers == 0 || sum.answers < int64(surveyAnswers*workers) || sum.sleeps > sum.turns+(sum.turns+sum.ahead)/8+int64(workers) {
		return 0
	}
	return worker.Processors()
}
