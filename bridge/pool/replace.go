package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

const (
	// maxReason is how many bytes of the reason for a worker's end or failure go into the log.
	maxReason = 4 << 10
	// longEnough is how long a worker must have lived for its end not to count
	// as a failed start.
	longEnough = time.Second
	// tellAgain is how long the same reason for a failed start is not logged again.
	tellAgain = 5 * time.Minute
	// maxBackoff is the longest time between two attempts to start a worker.
	maxBackoff = 30 * time.Second
)

// backoff returns how long to wait after a number of failed starts in a row.
func backoff(failures int) time.Duration {
	return min(time.Second<<min(failures-1, 5), maxBackoff)
}

// mayLaunchLocked reports whether the time for another attempt has come.
func (p *Pool) mayLaunchLocked() bool {
	return !p.closing && p.nurseLocked() && (p.failures == 0 || time.Now().After(p.nextTry))
}

// topUpLocked starts workers until there are as many as wanted. While starts fail it starts one at
// a time.
func (p *Pool) topUpLocked() {
	if !p.nurseLocked() {
		return
	}
	serving := 0
	for w := range p.workers {
		if w.state == Starting && p.failures > 0 {
			return
		}
		if w.state == Exiting && !w.wasReady && w.trial == nil {
			return // it has failed, and is about to be counted
		}
		if w.state <= Busy && w.successor == nil {
			serving++
		}
	}
	for ; serving < p.want && p.mayLaunchLocked(); serving++ {
		p.launchLocked(nil)
		if p.failures > 0 {
			return
		}
	}
}

// settleLocked forgets failed starts once a worker has lived long enough.
func (p *Pool) settleLocked(now time.Time) {
	for w := range p.workers {
		if w.isServing() && now.Sub(w.since) > longEnough {
			p.provedLocked(w)
		}
	}
	if p.failures > 0 && now.After(p.nextTry) && !p.wantsWorkersLocked() {
		p.failures = 0
	}
}

// wantsWorkersLocked reports whether a worker is missing or about to be replaced. Otherwise no
// start is due that could end a row of failed starts, so that row must be forgotten.
func (p *Pool) wantsWorkersLocked() bool {
	if p.reloading != nil {
		return true
	}
	serving := 0
	for w := range p.workers {
		if w.state == Starting || w.due != "" {
			return true
		}
		if w.state <= Busy {
			serving++
		}
	}
	return serving < p.want
}

// provedLocked is called when a worker has served a request, or has lived long enough. A worker
// that was started after the last failed start ends the row of failures. An older one says nothing
// about the next start.
func (p *Pool) provedLocked(w *worker) {
	if w.since.After(p.failedAt) {
		p.failures = 0
	}
}

// unlinkLocked removes w as the successor of other workers: they no longer wait for it.
func (p *Pool) unlinkLocked(w *worker) {
	for other := range p.workers {
		if other.successor == w {
			other.successor = nil
		}
	}
}

// bury removes a worker that has ended from the pool. Its requests go to other workers or fail, and
// another worker is started in its place.
func (w *worker) bury() {
	p := w.pool
	words := ""
	if w.output != nil {
		words = w.output.lastWords()
	}
	p.mu.Lock()
	if w.stall != nil {
		w.stall.Stop()
	}
	delete(p.workers, w)
	delete(p.tokens, w.token)
	p.remains.add(w.pid)
	var in subject // the request during which it died
	if d := w.duties.current(); d != nil && !w.cleaning && d.stream != w.undelivered {
		in = d.subject
	}
	begun, waiting := w.partLocked()
	send := p.requeueLocked(waiting)
	w.state = Dead
	p.unlinkLocked(w)
	startError := w.recordLocked(words, in.label != "")
	p.countEndLocked(w, startError != nil || w.unborn)
	w.settleTrialLocked(startError)
	p.topUpLocked()
	p.checkDrainedLocked()
	var stranded []*exchange
	if p.circuitLocked() != Closed {
		stranded = p.queue.takeAll()
		now := time.Now()
		for _, x := range stranded {
			p.waitedLocked(x, now)
		}
	}
	note, next := p.noteCircuitLocked(), p.nextAttemptLocked()
	p.mu.Unlock()

	p.tellCircuit(note, next)
	switch {
	case w.unborn:
	case startError != nil:
	case in.label != "":
		in.on(w.logger()).Error("the worker died in a request", "exit", w.exit)
	case w.surprise:
		w.logger().Warn("the worker ended by itself", "exit", w.exit)
	default:
		w.logger().Debug("the worker ended", "exit", w.exit)
	}
	if begun != nil {
		begun.fail(fmt.Errorf("%w (%s)", ErrWorkerDied, w.exit))
	}
	for _, x := range stranded {
		x.fail(ErrNoWorkers)
	}
	for _, other := range send {
		other.sendBatch()
	}
}

// partLocked divides the requests of a dead worker. begun is the request that must fail, or nil.
// waiting are those that other workers can get: the ones that were not begun, and the current one
// if it may be repeated.
func (w *worker) partLocked() (begun *exchange, waiting []*exchange) {
	d := w.duties.current()
	if d == nil || d.x == nil || w.cleaning || d.stream == w.undelivered {
		waiting, _ = w.duties.releaseFrom(0)
		return nil, waiting
	}
	if w.mayRepeatLocked(d) {
		d.x.repeated = true
		waiting, _ = w.duties.releaseFrom(0)
		return nil, waiting
	}
	begun = d.release()
	waiting, _ = w.duties.releaseFrom(1)
	return begun, waiting
}

// mayRepeatLocked reports whether the request during which a worker died may go to another worker.
// It may go once, if its method is safe and no part of its answer has arrived. Unless the options
// say otherwise, the kernel must also have told that the worker had not read the request. Then the
// request cannot have caused the worker's death.
func (w *worker) mayRepeatLocked(d *duty) bool {
	if d.begun || !d.x.safe || d.x.repeated || w.pool.closing {
		return false
	}
	switch w.pool.opt.Retry {
	case RetryOff:
		return false
	case RetrySafe:
		return true
	}
	return w.reset && w.written == d.stream
}

// recordLocked counts failed starts. It returns the failure of this worker's start, or nil if the
// start had succeeded.
func (w *worker) recordLocked(words string, inRequest bool) error {
	p := w.pool
	if w.unborn { // the end of the zygote was logged, and another one is being started
		p.startedLocked(errors.New(w.failure))
		return nil
	}
	if p.closing || w.wasReady && (w.retired || w.killed || inRequest || w.served > 0 || time.Since(w.since) > longEnough) {
		return nil
	}
	reason := w.failure
	if reason == "" {
		reason = "it ended before it had served anything (" + w.exit + ")"
		if words != "" {
			reason += ": " + words
		}
	}
	err := errors.New(reason)
	if w.trial != nil {
		return err // Reload returns the error, and the old workers go on
	}
	now := time.Now()
	p.reason = reason
	if p.failures == 0 || w.since.After(p.failedAt) { // workers that were started side by side count as one attempt
		p.failures++
		p.nextTry = now.Add(backoff(p.failures))
	}
	p.failedAt = now
	if !w.wasReady && p.startedLocked(err) {
		return err // Start returns the error
	}
	level := slog.LevelDebug
	if reason != p.told || now.Sub(p.toldAt) > tellAgain {
		level, p.told, p.toldAt = slog.LevelError, reason, now
	}
	w.logger().Log(context.Background(), level, "a worker cannot be started", "error", reason, "next", p.nextTry.Format(time.TimeOnly))
	return err
}
