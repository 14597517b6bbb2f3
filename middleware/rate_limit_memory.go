package middleware

import (
	"container/heap"
	"hash/maphash"
	"sync"
	"time"
)

// rateMemory keeps buckets in memory. Each is one time, that at which it will be full (the
// theoretical arrival time of GCRA), so a full bucket need not be kept.
//
// At most max buckets are kept. If a client floods the memory with keys, the bucket that is nearest
// to full is dropped for a new one. This forgets least: a bucket that is used much is dropped last.
type rateMemory struct {
	seed   maphash.Seed // clients cannot choose the shard of their keys
	start  time.Time
	now    func() time.Time // nil: time.Now
	shards []rateShard
}

// shardKeys is how many keys a shard has at least, before there is a second one.
const shardKeys = 512

func newRateMemory(max int, now func() time.Time) *rateMemory {
	n := 1
	for n < 16 && max/(2*n) >= shardKeys {
		n *= 2
	}
	m := &rateMemory{seed: maphash.MakeSeed(), now: now, shards: make([]rateShard, n)}
	if now == nil {
		m.start = time.Now()
	}
	for i := range m.shards {
		m.shards[i] = rateShard{max: max / n, buckets: map[string]*rateBucket{}}
	}
	return m
}

// elapsed is the time of the memory's clock, which is monotonic unless the program has set another.
func (m *rateMemory) elapsed() time.Duration {
	if m.now != nil {
		return time.Duration(m.now().UnixNano())
	}
	return time.Since(m.start)
}

// take is RateLimitStore.Take. It allocates only for a new key.
func (m *rateMemory) take(key []byte, policy RateLimitPolicy, n int) RateLimitResult {
	s := &m.shards[maphash.Bytes(m.seed, key)&uint64(len(m.shards)-1)]
	s.mu.Lock()
	defer s.mu.Unlock()
	now := m.elapsed() // with the lock held, so that it does not go back
	bucket := s.buckets[string(key)]
	full := now
	if bucket != nil {
		full = bucket.full
	}
	result, full := takeTokens(now, full, policy, n)
	switch {
	case !result.Allowed:
	case bucket != nil:
		bucket.full = full
		heap.Fix(&s.byFull, bucket.at)
	default:
		s.add(string(key), full, now)
	}
	return result
}

// takeTokens takes n tokens out of a bucket that will be full at a time, and returns when it will be
// full then.
func takeTokens(now, full time.Duration, policy RateLimitPolicy, n int) (RateLimitResult, time.Duration) {
	limit := policy.fill()
	// The clock may have gone back.
	full = min(max(full, now), now+limit)
	next := full + time.Duration(n)*policy.Interval
	if wait := next - limit - now; wait > 0 {
		return RateLimitResult{Remaining: int((now + limit - full) / policy.Interval), Reset: full - now, RetryAfter: wait}, full
	}
	return RateLimitResult{Allowed: true, Remaining: int((now + limit - next) / policy.Interval), Reset: next - now}, next
}

// rateShard is a part of the buckets with a lock of its own.
type rateShard struct {
	mu      sync.Mutex
	max     int
	buckets map[string]*rateBucket
	byFull  rateHeap
}

type rateBucket struct {
	key  string
	full time.Duration
	at   int // in the heap
}

// add stores a new bucket. Before, it drops two that are full, so that the memory of a flood is freed,
// and the nearest to full if there are too many.
func (s *rateShard) add(key string, full, now time.Duration) {
	for range 2 {
		if len(s.byFull) > 0 && s.byFull[0].full <= now {
			s.drop()
		}
	}
	for len(s.byFull) >= s.max {
		s.drop()
	}
	b := &rateBucket{key: key, full: full}
	s.buckets[key] = b
	heap.Push(&s.byFull, b)
}

// drop drops the bucket that is nearest to full.
func (s *rateShard) drop() {
	b := heap.Pop(&s.byFull).(*rateBucket)
	delete(s.buckets, b.key)
}

// rateHeap has the bucket that is nearest to full first.
type rateHeap []*rateBucket

func (h rateHeap) Len() int           { return len(h) }
func (h rateHeap) Less(i, j int) bool { return h[i].full < h[j].full }
func (h rateHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements heap.Interface.
func (h *rateHeap) Push(x any) {
	b := x.(*rateBucket)
	b.at = len(*h)
	*h = append(*h, b)
}

// Pop implements heap.Interface.
func (h *rateHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
