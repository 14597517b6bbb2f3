package server

import (
	"context"
	"errors"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// afterCut is how long requests that were cut get to notice, before the
// application's lifespan is shut down under them.
const afterCut = time.Second

// stop ends serving: gracefully within ShutdownTimeout, then by force. ctx is the
// ended context of Run.
func (r *running) stop(ctx context.Context, listeners listenerSet) {
	grace, cancel := context.WithTimeout(context.Background(), r.shutdownTimeout())
	defer cancel()
	defer afterClose(forced(ctx), cancel)()
	r.conns.closeUnserved()
	r.http1.Drain()
	r.ws.Drain()
	listeners.close()
	if errors.Join(r.http2.Shutdown(grace), r.http1.Shutdown(grace)) == nil {
		r.waitRequests(grace)
		return
	}
	r.log.Warn("cutting requests that did not finish in time", "shutdown_timeout", r.shutdownTimeout().String())
	r.cancelBase(&pagi.DisconnectError{Reason: pagi.ReasonServerShutdown})
	last, cancelLast := context.WithTimeout(context.Background(), afterCut)
	defer cancelLast()
	// What the listeners and connections have to say while they are closed is of
	// no use to anybody.
	_ = r.http2.Close()
	r.http1.Close()
	r.waitRequests(last)
}

// waitRequests waits until no request runs any more, or for ctx.
func (r *running) waitRequests(ctx context.Context) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for r.requests.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// afterClose calls f when ch (nil: never) is closed, unless the returned function
// is called first.
func afterClose(ch <-chan struct{}, f func()) (stop func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-ch:
			f()
		case <-done:
		}
	}()
	return func() { close(done) }
}
