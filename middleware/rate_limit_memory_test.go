package middleware

import (
	"fmt"
	"testing"
	"time"
)

func (m *rateMemory) count() (n int) {
	for i := range m.shards {
		s := &m.shards[i]
		if len(s.buckets) != len(s.byFull) {
			panic("the map and the heap differ")
		}
		n += len(s.buckets)
	}
	return n
}

func TestRateMemoryForgetsFullBuckets(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for _, most := range []int{1, 10, 1000, 10000} {
		m := newRateMemory(most, func() time.Time { return now })
		policy := RateLimitPolicy{Burst: 5, Interval: time.Second}
		take := func(key string) bool { return m.take([]byte(key), policy, 1).Allowed }
		for i := range 2 * most {
			take(fmt.Sprint("first ", i))
		}
		if n := m.count(); n > most || n < most*8/10 {
			t.Errorf("%d buckets of %d", n, most)
		}
		for range 5 {
			take("busy")
		}
		now = now.Add(2 * time.Second) // the others are full again
		for i := range most {
			take(fmt.Sprint("second ", i))
		}
		if n := m.count(); n > most+1 {
			t.Errorf("%d buckets of %d", n, most)
		}
		if got := [3]bool{take("busy"), take("busy"), take("busy")}; most > 1 && got != [3]bool{true, true, false} {
			t.Errorf("with %d buckets a busy client has other than the two tokens of two seconds: %v", most, got)
		}
		now = now.Add(time.Hour)
		for i := range most {
			take(fmt.Sprint("first ", i))
		}
		if n := m.count(); n > most {
			t.Errorf("%d buckets of %d", n, most)
		}
	}
}

func TestRateMemoryWhoseClockGoesBack(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	m := newRateMemory(10, func() time.Time { return now })
	policy := RateLimitPolicy{Burst: 2, Interval: time.Second}
	for range 3 {
		m.take([]byte("a"), policy, 1)
	}
	now = now.Add(-time.Hour)
	if r := m.take([]byte("a"), policy, 1); r.Allowed || r.RetryAfter > policy.Interval {
		t.Errorf("%+v", r)
	}
	if r := m.take([]byte("b"), policy, 3); r.Allowed || m.count() != 1 {
		t.Errorf("more than a bucket holds: %+v, %d buckets", r, m.count())
	}
}
