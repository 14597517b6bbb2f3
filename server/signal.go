package server

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// forceKey is the context key of the channel that is closed to force a stop.
type forceKey struct{}

// SignalContext returns a context for Run that ends at the first SIGTERM or
// SIGINT, which makes Run stop gracefully; a second one forces it. stop gives the
// signals back to the system's default.
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
		for range 2 {
			select {
			case <-signals:
				if ctx.Err() != nil {
					close(force)
					return
				}
				cancel()
			case <-done:
				return
			}
		}
	}()
	return ctx, sync.OnceFunc(func() {
		signal.Stop(signals)
		close(done)
		<-finished
	})
}
