package apps

import (
	"context"
	"time"
)

// bucket allows so many events in a second, and so many at once. One goroutine uses it.
type bucket struct {
	rate, burst float64
	left        float64
	at          time.Time
}

func newBucket(rate, burst int) bucket {
	return bucket{rate: float64(rate), burst: float64(burst), left: float64(burst), at: time.Now()}
}

// take reports whether an event is allowed now.
func (b *bucket) take(now time.Time) bool {
	b.left = min(b.burst, b.left+now.Sub(b.at).Seconds()*b.rate)
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// wait waits until an event is allowed, or ctx ends.
func (b *bucket) wait(ctx context.Context) error {
	for !b.take(time.Now()) {
		timer := time.NewTimer(time.Duration((1 - b.left) / b.rate * float64(time.Second)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
	return nil
}
