//go:build unix

package cgi

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// limiter hands out places to run in. A nil places channel has no limit.
type limiter struct {
	places chan struct{}
	wait   time.Duration
}

func newLimiter(n int, wait time.Duration) limiter {
	l := limiter{wait: wait}
	if n > 0 {
		l.places = make(chan struct{}, n)
	}
	return l
}

var errBusy = errors.New("no place became free")

// acquire waits for a place. The error is a 503 after the wait, or why ctx ended.
func (l *limiter) acquire(ctx context.Context) error {
	if l.places == nil {
		return nil
	}
	select {
	case l.places <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(max(l.wait, 0))
	defer timer.Stop()
	select {
	case l.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cgi: while waiting for a place to run: %w", context.Cause(ctx))
	case <-timer.C:
		return unavailable(fmt.Errorf("cgi: %d scripts are running (option concurrency) and after %v %w", cap(l.places), max(l.wait, 0), errBusy))
	}
}

func (l *limiter) release() {
	if l.places != nil {
		<-l.places
	}
}

// unavailable is a 503 that asks the client to come again.
func unavailable(err error) error {
	return &pagi.StatusError{
		Status:  503,
		Message: "The server is busy. Please try again in a moment.",
		Headers: pagi.NewHeaders("retry-after", "1"),
		Err:     err,
	}
}
