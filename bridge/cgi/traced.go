//go:build unix

package cgi

import (
	"log/slog"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/perlfork"
	"github.com/pagi-go/pagi-bridge/internal/spans"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// work is a run of a script in the trace of its request. Methods of a nil work, that of a request that is not recorded, do
// nothing.
type work struct {
	trace pagi.Trace
	asked time.Time
	span  pagi.TraceSpan
}

func beginWork(scope *pagi.Scope) *work {
	t := scope.Trace()
	if t == nil {
		return nil
	}
	now := time.Now()
	w := &work{trace: t, asked: now, span: t.Start("cgi", now)}
	if mount := scope.Notes.Mount(); mount != "" { // the gateway knows that of an adapter
		w.span.Set(slog.String(spans.Mount, mount))
	}
	return w
}

// admitted records the wait for a place to run in, which has ended with err. It returns w.
func (w *work) admitted(err error) *work {
	if w != nil {
		now := time.Now()
		spans.Wait(w.trace, w.asked, now, err)
		w.span.Begin(now)
	}
	return w
}

// below returns the scope for the script.
func (w *work) below(scope *pagi.Scope) *pagi.Scope {
	if w == nil {
		return scope
	}
	return scope.Below(w.span)
}

// started tells which process the run has.
func (w *work) started(r *run) {
	if w == nil {
		return
	}
	mode := perlfork.ModeExec
	switch {
	case r.compiled && r.app.perl.IsPersistent(r.script.file):
		mode = perlfork.ModePersistent
	case r.compiled:
		mode = perlfork.ModeFork
	}
	w.span.Set(slog.Int(spans.PID, r.job.Pid()), slog.String(spans.Script, r.script.file), slog.String(spans.Mode, mode))
}

// end records the run, which has ended with err.
func (w *work) end(err error) {
	if w != nil {
		w.span.End(time.Now(), err)
	}
}

// setTrace sets the variables that tell a script of its trace.
func (a *app) setTrace(scope *pagi.Scope, set func(name, value string)) {
	if parent := scope.Headers.Get(pagi.HeaderTraceparent); parent != "" {
		set("TRACEPARENT", parent)
		if state := scope.Headers.Joined("tracestate"); state != "" {
			set("TRACESTATE", state)
		}
	}
}
