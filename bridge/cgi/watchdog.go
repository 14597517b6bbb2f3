//go:build unix

package cgi

import (
	"sync"
	"time"
)

// watchdog calls a function when a script has made no progress for a time.
// Stretches in which somebody else is waited for do not count. A nil watchdog
// has no limit.
type watchdog struct {
	limit time.Duration

	mu      sync.Mutex
	timer   *time.Timer
	pauses  int
	stopped bool
}

// newWatchdog starts one; limit 0 or less means nil.
func newWatchdog(limit time.Duration, expired func()) *watchdog {
	if limit <= 0 {
		return nil
	}
	return &watchdog{limit: limit, timer: time.AfterFunc(limit, expired)}
}

// progress begins the time anew.
func (w *watchdog) progress() { w.change(0) }

// pause stops the time until resume is called as often; the time begins anew
// then.
func (w *watchdog) pause()  { w.change(1) }
func (w *watchdog) resume() { w.change(-1) }

func (w *watchdog) change(by int) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pauses += by
	switch {
	case w.stopped:
	case w.pauses == 0:
		w.timer.Reset(w.limit)
	case by > 0:
		w.timer.Stop()
	}
}

// stop ends it for good.
func (w *watchdog) stop() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
}
