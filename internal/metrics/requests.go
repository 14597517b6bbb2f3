package metrics

import (
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
)

// methods are the values of the label method. Any method that is not among them is "other".
var methods = [...]string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "other"}

// statuses are the values of the label status. "none" is a request that ended without an answer.
var statuses = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// durationBounds are the upper bounds of the buckets of request durations. They are among status.TimeBounds.
var durationBounds = [...]time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second,
	10 * time.Second, 30 * time.Second,
}

func methodClass(method string) int {
	for i, m := range methods[:len(methods)-1] {
		if m == method {
			return i
		}
	}
	return len(methods) - 1
}

func statusClass(status int) int {
	if status < 100 || status > 599 {
		return 0
	}
	return status / 100
}

// Requests count the requests of one mount. The zero value has counted none. Counting allocates nothing and takes no lock.
type Requests struct {
	counts [len(methods)][len(statuses)]atomic.Uint64
	times  [len(status.TimeBounds) + 1]atomic.Uint64
	took   atomic.Int64 // nanoseconds, of all that are in times
}

// Done counts a request that has ended. A stream, which is a WebSocket or an event stream, lasts as long as its client likes:
// its duration does not count.
func (r *Requests) Done(method string, code int, took time.Duration, stream bool) {
	r.counts[methodClass(method)][statusClass(code)].Add(1)
	if stream {
		return
	}
	r.times[status.TimeBucket(took)].Add(1)
	r.took.Add(int64(took))
}

// Responses returns the counts as the status tells them.
func (r *Requests) Responses() (all status.Responses) {
	for m := range r.counts {
		for class := range r.counts[m] {
			n := int64(r.counts[m][class].Load())
			all.Requests += n
			if statuses[class] == "none" || statuses[class] == "5xx" {
				all.Failed += n
			}
		}
	}
	for i := range r.times {
		if n := int64(r.times[i].Load()); n > 0 {
			all.Times = append(all.Times, make(status.Times, i-len(all.Times))...)
			all.Times = append(all.Times, n)
		}
	}
	return all
}

// durations returns the number of durations in each bucket of durationBounds, and of longer ones.
func (r *Requests) durations() (counts [len(durationBounds) + 1]uint64) {
	bucket := 0
	for i := range r.times {
		for bucket < len(durationBounds) && (i == len(status.TimeBounds) || status.TimeBounds[i] > durationBounds[bucket]) {
			bucket++
		}
		counts[bucket] += r.times[i].Load()
	}
	return counts
}
