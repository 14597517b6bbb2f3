package worker

import (
	"testing"
	"time"
)

func TestLimitsDiffer(t *testing.T) {
	for _, c := range []struct {
		jitter      float64
		least, most int
	}{
		{0, 900, 1000}, // the default
		{0.5, 500, 1000},
		{1, 1, 1000},
		{-1, 1000, 1000},
	} {
		opt := Options{Processes: Processes{MaxRequests: 1000, MaxAge: 1000 * time.Second}, Limits: Limits{MaxRequestsJitter: c.jitter}}
		opt.setDefaults()
		seen := map[int]bool{}
		for range 2000 {
			var w term
			since := time.Now()
			w.draw(&opt, since)
			seen[w.limit] = true
			age := w.expires.Sub(since).Seconds()
			if w.limit < c.least || w.limit > c.most || age < float64(c.least)-1 || age > float64(c.most) {
				t.Fatalf("jitter %g: %d requests and %g s, want %d to %d", c.jitter, w.limit, age, c.least, c.most)
			}
		}
		if c.jitter >= 0 && len(seen) < (c.most-c.least)/2 {
			t.Errorf("jitter %g: %d different limits", c.jitter, len(seen))
		}
	}
}
