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

// forced returns what is closed to force the stop of a Run that got ctx; nil where
// nothing can.
func forced(ctx context.Context) <-chan struct{} {
	force, _ := ctx.Value(forceKey{}).(<-chan struct{})
	return force
}

// SignalContext returns a context for Run that ends at the first SIGTERM or
// SIGINT, which makes Run stop gracefully. A second one forces it: requests are
// cut, and the application's lifespan shutdown, if it is already running, is no
// longer waited for. From then on, as after stop, the signals have the system's
// default action: a third one ends the process.
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
					signal.Stop(signals)
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
