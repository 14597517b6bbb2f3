package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

const (
	// afterCut is how long requests that were cut may take to end before the application's lifespan
	// shutdown begins.
	afterCut = time.Second
	// fadeTime is how long idle connections are kept when another process has taken over. It is
	// about as long as a request may be on its way to this process.
	fadeTime = 2 * time.Second
)

// ErrHandedOver as the cause (context.Cause) of the end of Run's context says that
// another process has the listeners now.
var ErrHandedOver = errors.New("another process has taken over")

// stop ends serving: gracefully within ShutdownTimeout, then by force. ctx is the
// ended context of Run.
func (r *running) stop(ctx context.Context, listeners listenerSet) {
	r.beginStop()
	defer r.endStop()
	g := r.current.Load() // a reload that replaces it from now on halts the new one itself
	g.halt()
	r.leaving.Range(func(old, _ any) bool {
		old.(*generation).halt()
		return true
	})
	grace, cancel := context.WithTimeout(context.Background(), g.shutdownTimeout())
	defer cancel()
	defer afterClose(r.force, cancel)()
	if errors.Is(context.Cause(ctx), ErrHandedOver) {
		listeners.disown()
		r.fade(grace, listeners)
	}
	r.conns.closeUnserved()
	r.http1.Drain()
	r.redirects.Drain()
	listeners.close()
	err := sideBySide(grace, r.http2.Shutdown, r.http1.Shutdown, r.redirects.Shutdown, r.quic.shutdown)
	if err == nil && r.waitRequests(grace) == nil { // some requests may have lost their connection
		return
	}
	r.log.Warn("cutting requests that did not finish in time", "shutdown_timeout", g.shutdownTimeout().String())
	r.cancelBase(&pagi.DisconnectError{Reason: pagi.ReasonServerShutdown})
	last, cancelLast := context.WithTimeout(context.Background(), afterCut)
	defer cancelLast()
	// Errors from closing the listeners and connections do not matter any more.
	_ = r.http2.Close()
	r.http1.Close()
	r.redirects.Close()
	r.quic.close()
	_ = r.waitRequests(last)
}

// sideBySide calls all at once and waits for them.
func sideBySide(ctx context.Context, all ...func(context.Context) error) error {
	errs := make([]error, len(all))
	var calls sync.WaitGroup
	for i, f := range all {
		calls.Go(func() { errs[i] = f(ctx) })
	}
	calls.Wait()
	return errors.Join(errs...)
}

// fade stops accepting, and answers one more request on each open connection. Connections that were
// accepted and are not served yet count, too.
func (r *running) fade(grace context.Context, listeners listenerSet) {
	ctx, cancel := context.WithTimeout(grace, fadeTime)
	defer cancel()
	r.http1.End()
	r.redirects.End()
	listeners.close()
	if waitUntil(ctx, func() bool { return r.entering.Load() == 0 }) == nil {
		_ = errors.Join(r.http1.WaitGone(ctx), r.redirects.WaitGone(ctx)) // the remaining connections have had their time
	}
}

// waitRequests waits until no request runs any more, also none of former applications, or until ctx
// ends.
func (r *running) waitRequests(ctx context.Context) error {
	return waitUntil(ctx, func() bool { return r.busy.Load() == 0 && r.current.Load().isIdle() })
}

// waitUntil waits until done reports true. If ctx ends first, it returns the error of ctx.
func waitUntil(ctx context.Context, done func() bool) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
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
