package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

const (
	// longEnough is how long a worker must have lived for its end not to count
	// as a failed start.
	longEnough = time.Second
	// tellAgain is how long the same reason for a failed start is told only once.
	tellAgain = 5 * time.Minute
	// maxBackoff is the longest time between two attempts to start a worker.
	maxBackoff = 30 * time.Second
)

// backoff is how long to wait after a number of starts in a row that came to nothing.
func backoff(failures int) time.Duration {
	return min(time.Second<<min(failures-1, 5), maxBackoff)
}

// mayLaunchLocked reports whether the time for another attempt has come.
func (p *Pool) mayLaunchLocked() bool {
	return !p.closing && p.nurseLocked() && (p.failures == 0 || time.Now().After(p.nextTry))
}

// topUpLocked starts workers until there are as many as there should be; one at a
// time while starting fails.
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
			p.failures = 0
		}
	}
}

// unlinkLocked makes whoever waits for w to take over wait no longer.
func (p *Pool) unlinkLocked(w *worker) {
	for other := range p.workers {
		if other.successor == w {
			other.successor = nil
		}
	}
}

// bury is the last thing done for a worker: what it had goes elsewhere or fails,
// and another one is started in its place.
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
	label, id := "", ""
	if len(w.inflight) > 0 && !w.cleaning && w.inflight[0].stream != w.undelivered {
		label, id = w.inflight[0].label, w.inflight[0].id
		if !w.runsFirstLocked() {
			label, id = fmt.Sprintf("%s, or one of the %d behind it", label, len(w.inflight)-1), ""
		}
	}
	if w.unsure {
		label, id = "one that was taken back", ""
	}
	begun, waiting := w.partLocked()
	send := p.requeueLocked(waiting)
	w.state = Dead
	p.unlinkLocked(w)
	startError := w.recordLocked(words, label != "")
	w.settleTrialLocked(startError)
	p.topUpLocked()
	p.checkDrainedLocked()
	var stranded []*exchange
	if p.circuitLocked() != Closed {
		stranded = p.queue.takeAll()
	}
	note, next := p.noteCircuitLocked(), p.nextAttemptLocked()
	p.mu.Unlock()

	p.tellCircuit(note, next)
	switch {
	case w.unborn:
	case startError != nil:
	case label != "":
		about(w.logger(), label, id).Error("the worker died in a request", "exit", w.exit)
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

// partLocked divides what a dead worker had into the request that must fail, or
// nil, and those that can be given to others: the ones it had not begun, and the
// begun one once, when its method is safe and nothing has been seen of its answer.
// Where it is not known which that is, it may be any of them.
func (w *worker) partLocked() (begun *exchange, waiting []*exchange) {
	runsFirst := w.runsFirstLocked()
	waiting = w.inflight
	w.inflight = nil
	for _, x := range waiting {
		x.worker = nil
	}
	if len(waiting) == 0 || w.cleaning || waiting[0].stream == w.undelivered {
		return nil, waiting
	}
	first := waiting[0]
	if !runsFirst && !w.pool.closing {
		for _, x := range waiting {
			x.repeated = true
		}
		return nil, waiting
	}
	if first.safe && !first.repeated && !first.isTouched() && !w.pool.closing {
		first.repeated = true
		return nil, waiting
	}
	return first, waiting[1:]
}

// recordLocked keeps account of starts that came to nothing and returns what there
// is to be told about this one, nil when it had been a working worker.
func (w *worker) recordLocked(words string, inRequest bool) error {
	p := w.pool
	if w.unborn { // the zygote's end has been told, and the next one is under way
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
		return err // Reload tells it, and what serves goes on
	}
	now := time.Now()
	p.reason = reason
	if p.failures == 0 || w.since.After(p.failedAt) { // those started side by side are one attempt
		p.failures++
		p.nextTry = now.Add(backoff(p.failures))
	}
	p.failedAt = now
	if !w.wasReady && p.startedLocked(err) {
		return err // Start tells it
	}
	level := slog.LevelDebug
	if reason != p.told || now.Sub(p.toldAt) > tellAgain {
		level, p.told, p.toldAt = slog.LevelError, reason, now
	}
	w.logger().Log(context.Background(), level, "a worker cannot be started", "error", reason, "next", p.nextTry.Format(time.TimeOnly))
	return err
}
