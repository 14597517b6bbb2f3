package server

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// forceKey is the context key of the channel that is closed to force a stop.
type forceKey struct{}

// Forced returns the channel that is closed to force the stop of a Run with ctx. It returns nil if
// ctx has none.
func Forced(ctx context.Context) <-chan struct{} {
	force, _ := ctx.Value(forceKey{}).(<-chan struct{})
	return force
}

const (
	// sameSignal is how long after a signal another one counts as the same, because timeout(1), a
	// shell and systemd signal both a process and its group.
	sameSignal = 500 * time.Millisecond
	// forcedTime is longer than a forced stop takes.
	forcedTime = 15 * time.Second
)

// SignalContext returns a context for Run that ends at the first SIGTERM or SIGINT, which makes Run
// stop gracefully. A second one forces it: requests are cut, and the application's lifespan
// shutdown, if it is already running, is no longer waited for. A signal that comes within half a
// second of another is the same. Further ones do nothing, so that a forced stop can finish its
// work. After stop, and 15 seconds after the second one, the signals have the system's default
// action.
func SignalContext(parent context.Context) (ctx context.Context, stop func()) {
	force := make(chan struct{})
	parent = context.WithValue(parent, forceKey{}, (<-chan struct{})(force))
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	done := make(chan struct{})
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		defer cancel()
		defer signal.Stop(signals)
		for _, act := range []func(){cancel, func() { close(force) }} {
			if !take(signals, done) {
				return
			}
			act()
			if !pass(signals, sameSignal, done) {
				return
			}
		}
		pass(signals, forcedTime, done)
	}()
	return ctx, sync.OnceFunc(func() {
		close(done)
		<-finished
	})
}

// take waits for a signal. It reports whether one came before done was closed.
func take(signals <-chan os.Signal, done <-chan struct{}) bool {
	select {
	case <-signals:
		return true
	case <-done:
		return false
	}
}

// pass drops the signals that come within d. It reports false if done was closed meanwhile.
func pass(signals <-chan os.Signal, d time.Duration, done <-chan struct{}) bool {
	over := time.NewTimer(d)
	defer over.Stop()
	for {
		select {
		case <-signals:
		case <-over.C:
			return true
		case <-done:
			return false
		}
	}
}
