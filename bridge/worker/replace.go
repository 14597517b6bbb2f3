package worker

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

const (
	// maxReason is how many bytes of the reason for a worker's end or failure go into the log.
	maxReason = 4 << 10
	// longEnough is how long a worker must have lived for its end not to count
	// as a failed start.
	longEnough = time.Second
)

// mayLaunchLocked reports whether the time for another attempt has come.
func (g *Group) mayLaunchLocked() bool {
	return g.stage < closing && g.nurseLocked() && g.starts.mayTry(time.Now())
}

// topUpLocked starts workers until there are as many as wanted. While starts fail it starts one at
// a time.
func (g *Group) topUpLocked() {
	if !g.nurseLocked() {
		return
	}
	staying := 0
	for w := range g.workers {
		if w.State() == Starting && g.starts.isFailing() {
			return
		}
		if w.State() == Exiting && !w.wasReady && w.trial == nil {
			return // it has failed, and is about to be counted
		}
		if w.staysLocked() {
			staying++
		}
	}
	for ; staying < g.size.want && g.mayLaunchLocked(); staying++ {
		g.launchLocked(nil)
		if g.starts.isFailing() {
			return
		}
	}
}

// settleLocked forgets failed starts once a worker has lived long enough.
func (g *Group) settleLocked(now time.Time) {
	for w := range g.workers {
		if w.State() == Serving && now.Sub(w.since) > longEnough {
			g.provedLocked(w)
		}
	}
	if g.starts.isFailing() && g.starts.mayTry(now) && !g.wantsWorkersLocked() {
		g.forgetFailuresLocked()
	}
}

// wantsWorkersLocked reports whether a worker is missing or about to be replaced. Otherwise no
// start is due that could end a row of failed starts, so that row must be forgotten.
func (g *Group) wantsWorkersLocked() bool {
	if g.reloads.running != nil {
		return true
	}
	serving := 0
	for w := range g.workers {
		if w.State() == Starting || w.term.due != "" {
			return true
		}
		if w.State() == Serving {
			serving++
		}
	}
	return serving < g.size.want
}

// provedLocked is called when a worker has served a request, or has lived long enough. A worker
// that was started after the last failed start ends the row of failures.
func (g *Group) provedLocked(w *Process) {
	if g.starts.proves(w.since) {
		g.forgetFailuresLocked()
	}
}

func (g *Group) forgetFailuresLocked() {
	g.starts.forget()
	g.doubtLocked()
}

// bury removes a worker that has ended from the group, and starts another one in its place. The host takes the work
// back first.
func (w *Process) bury() {
	g := w.group
	words := w.lastWords()
	w.removeAddress()
	g.mu.Lock()
	end := End{Exit: w.exit, Reset: w.reset}
	g.mu.Unlock()
	atWork := w.station.Ended(end)
	g.mu.Lock()
	w.leaveLocked(time.Now())
	w.enterLocked(Dead)
	delete(g.workers, w)
	delete(g.tokens, w.token)
	g.remains.add(w.made.pid)
	g.unlinkLocked(w)
	startError := w.recordLocked(words, atWork)
	g.countEndLocked(w, startError != nil || w.end.unborn)
	w.settleTrialLocked(startError)
	g.topUpLocked()
	g.doubtLocked()
	stranded := g.circuitLocked() != Closed
	note, next := g.noteCircuitLocked(), g.nextAttemptLocked()
	g.mu.Unlock()

	g.tellCircuit(note, next)
	switch {
	case w.end.unborn, startError != nil, atWork:
	case w.end.surprise:
		w.logger().Warn("the worker ended by itself", "exit", w.exit)
	default:
		w.logger().Debug("the worker ended", "exit", w.exit)
	}
	if stranded {
		g.host.Stranded()
	}
}

// recordLocked counts failed starts. It returns the failure of this worker's start, or nil if the
// start had succeeded.
func (w *Process) recordLocked(words string, atWork bool) error {
	g := w.group
	if w.end.unborn { // the end of the zygote was logged, and another one is being started
		g.startedLocked(errors.New(w.failure))
		return nil
	}
	worked := atWork || w.term.served.Load() > 0 || time.Since(w.since) > longEnough
	if g.stage >= closing || w.wasReady && (w.end.retired || w.end.killed || worked) {
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
	g.starts.fail(w.since, now, reason)
	if !w.wasReady && g.startedLocked(err) {
		return err // Start returns the error
	}
	level := slog.LevelDebug
	if g.starts.tells(reason, now) {
		level = slog.LevelError
	}
	w.logger().Log(context.Background(), level, "a worker cannot be started", "error", reason, "next", g.starts.nextTry.Format(time.TimeOnly))
	return err
}
