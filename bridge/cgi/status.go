//go:build unix

package cgi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/perlfork"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// counters count for a mount since it was built, but for waiting, which is the number of requests
// that wait for a place now.
type counters struct {
	requests               atomic.Int64
	waiting                atomic.Int64
	waits                  status.WaitCounter
	exec, fork, persistent atomic.Int64 // runs
	errors                 status.ErrorCounters
}

// wait counts a request that begins to wait for a place. What it returns counts its end.
func (c *counters) wait(begin time.Time) (end func()) {
	c.waiting.Add(1)
	return func() {
		c.waiting.Add(-1)
		c.waits.Add(time.Since(begin))
	}
}

// notAdmitted counts a request that has got no place. One whose client has left is no error.
func (c *counters) notAdmitted(err error) {
	switch {
	case errors.Is(err, errQueueFull):
		c.errors.Add(status.QueueFull)
	case errors.Is(err, errBusy):
		c.errors.Add(status.QueueTimeout)
	}
}

// notStarted counts a request whose script could not be started.
func (c *counters) notStarted(err error) {
	var asked *pagi.StatusError
	if errors.As(err, new(*refusal)) || errors.As(err, &asked) && asked.Status == http.StatusRequestHeaderFieldsTooLarge {
		c.errors.Add(status.Refused)
		return
	}
	c.errors.Add(status.Unavailable)
}

// failed counts a request that has ended with err. died says that the script had ended by itself,
// not well, before its answer was complete.
func (c *counters) failed(err error, died bool) {
	var gone *pagi.DisconnectError
	var late *timeoutError
	var limit *limitError
	switch {
	case errors.As(err, &late):
		c.errors.Add(status.TimedOut)
	case errors.As(err, &limit) && limit.status == http.StatusGatewayTimeout: // processor time
		c.errors.Add(status.TimedOut)
	case errors.As(err, &limit):
		c.errors.Add(status.Limit)
	case errors.As(err, &gone), errors.Is(err, context.Canceled): // the client has left
	case died, errors.Is(err, errDied):
		c.errors.Add(status.Died)
	case errors.Is(err, errStopped):
		c.errors.Add(status.Unavailable)
	default:
		c.errors.Add(status.Invalid)
	}
}

func (c *counters) totals() status.Totals {
	t := status.Totals{Requests: c.requests.Load(), Errors: c.errors.Errors()}
	c.waits.Tell(&t)
	return t
}

// runs returns the runs that have begun.
func (c *counters) runs() *status.Runs {
	return &status.Runs{Exec: c.exec.Load(), Fork: c.fork.Load(), Persistent: c.persistent.Load()}
}

// began counts a run by its mode.
func (c *counters) began(compiled, persistent bool) {
	switch {
	case compiled && persistent:
		c.persistent.Add(1)
	case compiled:
		c.fork.Add(1)
	default:
		c.exec.Add(1)
	}
}

// asked is what is told of the request of a run. Its strings are those of the scope.
type asked struct {
	method, root, path, id string
	since                  time.Time
}

func requestOf(scope *pagi.Scope) asked {
	id, _ := scope.Value(scopekey.RequestID).(string)
	return asked{scope.Method, scope.RootPath, scope.Path, id, time.Now()}
}

// Status tells which scripts run, which are compiled, and how many requests wait.
func (a *app) Status() status.Backend {
	m := a.mount
	s := status.Backend{Totals: m.counters.totals(), Runs: m.counters.runs(), Queued: int(m.counters.waiting.Load()), LastHang: m.lastHang.Load()}
	persistent := map[string]bool{}
	for _, part := range append([]*app{a}, m.directories...) {
		for _, one := range part.perl.Status() {
			s.Compiled = append(s.Compiled, compiledStatus(one))
			persistent[one.File] = one.Persistent
		}
	}
	s.Scripts = m.later.status(persistent)
	s.Running = len(s.Scripts)
	return s
}

func compiledStatus(one perlfork.Status) status.Compiled {
	c := status.Compiled{
		Script: one.File, State: one.State.String(), Reason: one.Reason, PID: one.PID, Persistent: one.Persistent,
		Processes: one.Processes, Idle: one.Idle, Requests: one.Requests, Used: one.Used,
	}
	if one.State == perlfork.Refused {
		c.State = "exec"
	}
	return c
}

// status describes the runs there are, the oldest first. persistent are the scripts whose processes
// stay.
func (l *afterwards) status(persistent map[string]bool) (list []status.Script) {
	l.mu.Lock()
	runs := make([]*run, 0, len(l.runs))
	for r := range l.runs {
		runs = append(runs, r)
	}
	l.mu.Unlock()
	for _, r := range runs {
		one := status.Script{Script: r.script.file, PID: r.job.Pid(), Mode: perlfork.ModeExec, Since: r.request.since}
		switch {
		case r.compiled && persistent[r.script.file]:
			one.Mode = perlfork.ModePersistent
		case r.compiled:
			one.Mode = perlfork.ModeFork
		}
		if !r.isAnswered() {
			one.Request = &status.Request{
				Method: r.request.method, Path: r.request.root + r.request.path, ID: r.request.id, Since: r.request.since,
				ClientLeft: r.ctx.Err() != nil,
			}
		}
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b status.Script) int { return a.Since.Compare(b.Since) })
	return list
}
