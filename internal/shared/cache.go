package shared

import (
	"errors"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
)

// Errors of a cache. Their texts reach the application.
var (
	errNumber   = errors.New("the value is not a whole number of 64 bits")
	errOverflow = errors.New("the counter would not fit into 64 bits")
	errTooSmall = errors.New("the value is larger than the cache")
)

// entryCost is what an entry takes beside its key and its value, about.
const entryCost = 120

// How set treats a key that has a value, and one that has none.
const (
	always  = 0 // set
	absent  = 1 // add
	present = 2 // replace
)

// cache has values under keys, up to a size. The value that was not used for the longest time goes first.
type cache struct {
	now func() time.Time

	mu      sync.Mutex
	size    int64
	used    int64
	entries map[string]*entry
	ring    entry // ring.next is the latest used, ring.prev the one to go
	hits    int64
	misses  int64
	evicted int64
}

type entry struct {
	key, value string
	until      time.Time // zero: no end
	prev, next *entry
}

func (e *entry) cost() int64 { return int64(len(e.key) + len(e.value) + entryCost) }

func newCache(size int64) *cache {
	c := &cache{now: time.Now, size: size, entries: map[string]*entry{}}
	c.ring.prev, c.ring.next = &c.ring, &c.ring
	return c
}

// get returns a value, and uses it.
func (c *cache) get(key string) (value string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.findLocked(key)
	if e == nil {
		c.misses++
		return "", false
	}
	c.hits++
	return e.value, true
}

// findLocked returns the entry of a key, and makes it the latest used.
func (c *cache) findLocked(key string) *entry {
	e := c.entries[key]
	switch {
	case e == nil:
		return nil
	case !e.until.IsZero() && !c.now().Before(e.until):
		c.dropLocked(e)
		return nil
	}
	e.unlink()
	c.frontLocked(e)
	return e
}

func (e *entry) unlink() { e.prev.next, e.next.prev = e.next, e.prev }

func (c *cache) frontLocked(e *entry) {
	e.prev, e.next = &c.ring, c.ring.next
	e.prev.next, e.next.prev = e, e
}

func (c *cache) dropLocked(e *entry) {
	e.unlink()
	delete(c.entries, e.key)
	c.used -= e.cost()
}

// set stores a value for ttl, or without an end if that is 0. It reports whether how allowed it.
func (c *cache) set(how byte, key, value string, ttl time.Duration) (stored bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.findLocked(key); how == absent && old != nil || how == present && old == nil {
		return false, nil
	}
	return true, c.storeLocked(key, value, c.end(ttl))
}

func (c *cache) end(ttl time.Duration) time.Time {
	if ttl <= 0 || ttl > maxTTL {
		return time.Time{}
	}
	return c.now().Add(ttl)
}

func (c *cache) storeLocked(key, value string, until time.Time) error {
	if old := c.entries[key]; old != nil {
		c.dropLocked(old)
	}
	e := &entry{key: key, value: value, until: until}
	if e.cost() > c.size {
		return errTooSmall
	}
	c.entries[key] = e
	c.used += e.cost()
	c.frontLocked(e)
	c.shrinkLocked()
	return nil
}

func (c *cache) shrinkLocked() {
	for c.used > c.size {
		last := c.ring.prev
		c.dropLocked(last)
		if last.until.IsZero() || c.now().Before(last.until) {
			c.evicted++
		}
	}
}

// add adds to a counter, which begins at 0, and returns what it is then. ttl is for a counter that begins.
func (c *cache) add(key string, by int64, ttl time.Duration) (is int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.findLocked(key)
	if e == nil {
		return by, c.storeLocked(key, strconv.FormatInt(by, 10), c.end(ttl))
	}
	is, err = strconv.ParseInt(e.value, 10, 64)
	if err != nil {
		return 0, errNumber
	}
	if by > 0 && is > math.MaxInt64-by || by < 0 && is < math.MinInt64-by {
		return 0, errOverflow
	}
	is += by
	return is, c.storeLocked(key, strconv.FormatInt(is, 10), e.until)
}

// remove removes a value, and reports whether there was one.
func (c *cache) remove(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.findLocked(key)
	if e != nil {
		c.dropLocked(e)
	}
	return e != nil
}

// clear removes all values.
func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries)
	c.ring.prev, c.ring.next = &c.ring, &c.ring
	c.used = 0
}

func (c *cache) resize(size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.size = size
	c.shrinkLocked()
}

func (c *cache) describe(s *status.Space) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Entries, s.Bytes, s.Size = len(c.entries), c.used, c.size
	s.Hits, s.Misses, s.Evicted = c.hits, c.misses, c.evicted
}
