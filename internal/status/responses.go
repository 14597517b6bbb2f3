package status

import (
	"slices"
	"time"
)

// Responses count the requests that have ended, as their clients saw them. They begin with the gateway, and a reload does not
// begin them anew.
type Responses struct {
	Requests int64 `json:"requests"`
	// Failed is the number of those among them that ended with a status of 500 or more, or without one.
	Failed int64 `json:"failed"`
	// Times are the durations, without WebSockets and event streams.
	Times Times `json:"times,omitempty"`
}

// Since returns what has been counted after an earlier look at the same counts. Counts that are lower than before have begun
// anew, and are returned as they are.
func (r Responses) Since(before Responses) Responses {
	if r.Requests < before.Requests || len(r.Times) < len(before.Times) {
		return r
	}
	r.Requests, r.Failed = r.Requests-before.Requests, r.Failed-before.Failed
	r.Times = slices.Clone(r.Times)
	for i, n := range before.Times {
		r.Times[i] -= n
	}
	return r
}

// Plus returns the sum of r and other.
func (r Responses) Plus(other Responses) Responses {
	more, most := other.Times, slices.Clone(r.Times)
	if len(more) > len(most) {
		more, most = r.Times, slices.Clone(other.Times)
	}
	for i, n := range more {
		most[i] += n
	}
	return Responses{Requests: r.Requests + other.Requests, Failed: r.Failed + other.Failed, Times: most}
}

// TimeBounds are the upper bounds of the durations by which Times counts: ten to each power of ten, so that a quantile is wrong
// by an eighth at most. What belongs to a bound is more than the bound before it.
var TimeBounds = makeTimeBounds()

// timeBounds is the number of TimeBounds.
const timeBounds = 7*10 + 1

func makeTimeBounds() (bounds [timeBounds]time.Duration) {
	steps := [...]time.Duration{100, 125, 160, 200, 250, 300, 400, 500, 640, 800}
	i := 0
	for unit := 100 * time.Nanosecond; i < timeBounds; unit *= 10 {
		for _, step := range steps {
			if i < timeBounds {
				bounds[i] = step * unit
				i++
			}
		}
	}
	return bounds
}

// TimeBucket returns the index in Times to which a duration belongs.
func TimeBucket(d time.Duration) int {
	low, high := 0, timeBounds
	for low < high {
		if middle := int(uint(low+high) >> 1); d > TimeBounds[middle] {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// Times count durations: one number for each of TimeBounds, and one for longer ones. Zeros at the end are left out.
type Times []int64

// Quantile returns the duration that a share q of all durations does not exceed, 0 where there are none. Within a bucket the
// durations are taken to be spread evenly. The longest bound stands for what is beyond it.
func (t Times) Quantile(q float64) time.Duration {
	all := int64(0)
	for _, n := range t {
		all += n
	}
	if all == 0 {
		return 0
	}
	rank := q * float64(all)
	below := int64(0)
	for i, n := range t {
		if n > 0 && float64(below+n) >= rank {
			if i >= timeBounds {
				break
			}
			from := time.Duration(0)
			if i > 0 {
				from = TimeBounds[i-1]
			}
			return from + time.Duration((rank-float64(below))/float64(n)*float64(TimeBounds[i]-from))
		}
		below += n
	}
	return TimeBounds[timeBounds-1]
}
