package shared

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
)

// clocked returns a cache of a size whose clock goes on by the function's argument.
func clocked(size int64) (*cache, func(time.Duration)) {
	c, now := newCache(size), time.Unix(1_700_000_000, 0)
	c.now = func() time.Time { return now }
	return c, func(d time.Duration) { now = now.Add(d) }
}

func (c *cache) has(t *testing.T, key, want string) {
	t.Helper()
	if got, ok := c.get(key); got != want || ok != (want != "") {
		t.Errorf("%s is %q (%v), want %q", key, got, ok, want)
	}
}

func (c *cache) put(t *testing.T, how byte, key, value string, ttl time.Duration, want bool) {
	t.Helper()
	if stored, err := c.set(how, key, value, ttl); err != nil || stored != want {
		t.Errorf("set %s: %v %v, want %v", key, stored, err, want)
	}
}

func TestValuesEndAtTheirTime(t *testing.T) {
	c, pass := clocked(1 << 20)
	c.put(t, always, "short", "1", time.Second, true)
	c.put(t, always, "long", "2", 0, true)
	c.put(t, always, "longest", "3", maxTTL+time.Hour, true)
	pass(time.Second - 1)
	c.has(t, "short", "1")
	c.put(t, absent, "short", "x", 0, false)
	pass(1)
	c.has(t, "short", "")
	c.has(t, "long", "2")
	c.put(t, present, "short", "x", 0, false)
	c.put(t, absent, "short", "4", time.Second, true)
	c.put(t, present, "short", "5", 0, true)
	pass(time.Hour)
	c.has(t, "short", "5")
	if !c.remove("short") || c.remove("short") {
		t.Error("a value is removed once")
	}
	c.clear()
	c.has(t, "long", "")
	c.has(t, "longest", "")
	if c.used != 0 {
		t.Errorf("an empty cache uses %d bytes", c.used)
	}
}

func TestTheValueThatWasNotUsedForTheLongestTimeGoesFirst(t *testing.T) {
	one := (&entry{key: "a", value: "1"}).cost()
	c, _ := clocked(3 * one)
	for _, key := range []string{"a", "b", "c"} {
		c.put(t, always, key, "1", 0, true)
	}
	c.has(t, "a", "1")
	c.put(t, always, "d", "1", 0, true)
	c.has(t, "b", "")
	c.has(t, "a", "1")
	if _, err := c.set(always, "a", strings.Repeat("x", int(3*one)), 0); err != errTooSmall {
		t.Errorf("a value larger than the cache: %v", err)
	}
	c.has(t, "a", "") // the old value must not be taken for the new one
	c.has(t, "d", "1")
	c.resize(one)
	var s status.Space
	c.describe(&s)
	if s.Entries != 1 || s.Bytes != one || s.Evicted != 2 {
		t.Errorf("after resize there are %+v", s)
	}
}

func TestCounters(t *testing.T) {
	c, pass := clocked(1 << 20)
	for _, step := range []struct {
		by, want int64
		err      error
	}{{1, 1, nil}, {41, 42, nil}, {-2, 40, nil}, {1<<63 - 41, 1<<63 - 1, nil}, {1, 0, errOverflow}, {0, 1<<63 - 1, nil}} {
		if is, err := c.add("n", step.by, 0); is != step.want || err != step.err {
			t.Errorf("add %d: %d %v, want %d %v", step.by, is, err, step.want, step.err)
		}
	}
	c.put(t, always, "word", "x", 0, true)
	if _, err := c.add("word", 1, 0); err != errNumber {
		t.Errorf("add to a word: %v", err)
	}
	for range 3 {
		if _, err := c.add("minute", 1, time.Minute); err != nil {
			t.Fatal(err)
		}
		pass(29 * time.Second)
	}
	if is, _ := c.add("minute", 1, time.Minute); is != 1 {
		t.Errorf("a counter goes on after its end with %d", is)
	}
}

func BenchmarkCacheOfManyValues(b *testing.B) {
	c := newCache(8 << 20)
	for i := range b.N {
		if _, err := c.set(always, fmt.Sprint("key", i%100_000), "some value", 0); err != nil {
			b.Fatal(err)
		}
		c.get("key1")
	}
}
