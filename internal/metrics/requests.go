package metrics

import (
	"sync/atomic"
	"time"
)

// methods are the values of the label method. Any method that is not among them is "other".
var methods = [...]string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "other"}

// statuses are the values of the label status. "none" is a request that ended without an answer.
var statuses = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// durationBounds are the upper bounds of the buckets of request durations.
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
	counts  [len(methods)][len(statuses)]atomic.Uint64
	buckets [len(durationBounds) + 1]atomic.Uint64 // each has the durations that no smaller one has
	took    atomic.Int64                           // nanoseconds, of all that are in buckets
}

// Done counts a request that has ended. A stream, which is a WebSocket or an event stream, lasts as long as its client likes:
// its duration does not count.
func (r *Requests) Done(method string, status int, took time.Duration, stream bool) {
	r.counts[methodClass(method)][statusClass(status)].Add(1)
	if stream {
		return
	}
	i := 0
	for i < len(durationBounds) && took > durationBounds[i] {
		i++
	}
	r.buckets[i].Add(1)
	r.took.Add(int64(took))
}
