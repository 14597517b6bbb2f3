//go:build unix

package proc

import (
	"sync/atomic"
	"time"
)

// Waiter waits for an end: that of a process, or that of the work it does.
type Waiter interface {
	// Await returns when the end has come.
	Await()
	// AwaitBriefly waits in the calling thread, for about d, and reports whether the end has come.
	AwaitBriefly(d time.Duration) bool
}

// Watcher looks for one end. Either its goroutine looks, which Watch starts, or a caller of EndsWithin does; no second one
// does. Make it with NewWatcher.
type Watcher struct {
	waiter  Waiter
	done    chan struct{} // closed when the end is seen
	watched atomic.Bool   // the goroutine or a caller looks for the end, and closes done
	onEnd   func()
}

// NewWatcher returns a Watcher for the end that w waits for.
func NewWatcher(w Waiter) *Watcher { return &Watcher{waiter: w, done: make(chan struct{})} }

// Done returns a channel that is closed when the end has been seen. Somebody has to look: see Watch.
func (w *Watcher) Done() <-chan struct{} { return w.done }

// OnEnd has f called by the goroutine that sees the end. It must be called before Watch and EndsWithin. If
// EndsWithin sees the end itself, it returns true and does not call f.
func (w *Watcher) OnEnd(f func()) { w.onEnd = f }

// Watch has a goroutine wait for the end, unless one does already. The goroutine ends with what it waits for.
func (w *Watcher) Watch() {
	if w.watched.CompareAndSwap(false, true) {
		go w.keepWatch()
	}
}

func (w *Watcher) keepWatch() {
	w.waiter.Await()
	close(w.done)
	if w.onEnd != nil {
		w.onEnd()
	}
}

// EndsWithin waits for the end, but not much longer than d, and reports whether it came. If no goroutine looks for the end
// yet and it comes in time, that costs no goroutine. Otherwise a goroutine looks for it from then on.
func (w *Watcher) EndsWithin(d time.Duration) bool {
	select {
	case <-w.done:
		return true
	default:
	}
	if w.watched.CompareAndSwap(false, true) {
		if w.waiter.AwaitBriefly(d) {
			close(w.done)
			return true
		}
		go w.keepWatch()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-w.done:
		return true
	case <-timer.C:
		return false
	}
}

// EndUnwatched closes Done for a caller that knows of the end without having looked. It returns false, and does nothing,
// if a goroutine or a caller looks for the end: that one closes Done.
func (w *Watcher) EndUnwatched() bool {
	if !w.watched.CompareAndSwap(false, true) {
		return false
	}
	close(w.done)
	return true
}
