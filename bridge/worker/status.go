package worker

import (
	"slices"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/proc"
	"github.com/pagi-go/pagi-bridge/internal/status"
)

// What Status returns is part of what "pagi-bridge status --json" prints; docs/operations.md
// lists the fields.
type (
	// Status describes a group at one moment.
	Status = status.Backend
	// ProcessStatus describes one worker at one moment.
	ProcessStatus = status.Worker
	// ZygoteStatus describes one zygote at one moment.
	ZygoteStatus = status.Zygote
)

// cause is why a worker is replaced.
type cause uint8

const (
	causeNone cause = iota // as far as one knows
	causeDied
	causeExited
	causeTimedOut
	causeRequests
	causeAge
	causeMemory
	causeReload
	causeSurplus // it is not replaced
	causes
)

// causeNames are the names of causes in the status.
var causeNames = [causes]string{
	causeDied: "died", causeExited: "exited", causeTimedOut: "timed_out", causeRequests: "max_requests", causeAge: "max_age",
	causeMemory: "max_rss", causeReload: "reload",
}

// causeOf returns the cause of what is in term.due.
func causeOf(due string) cause {
	switch due {
	case dueRequests:
		return causeRequests
	case dueAge:
		return causeAge
	case dueMemory:
		return causeMemory
	}
	return causeReload
}

// blameLocked notes why the worker is replaced. The first cause counts.
func (w *Process) blameLocked(c cause) {
	if w.end.cause == causeNone {
		w.end.cause = c
	}
}

// counts count since New. Group.mu guards them.
type counts struct {
	restarts     [causes]int64
	failedStarts int64
	last         status.Restart
	hang         *status.Hang // the last one; what it points to does not change
}

// countEndLocked counts a worker that has ended; failed says that its start came to nothing. A
// worker that ends with the group is not counted.
func (g *Group) countEndLocked(w *Process, failed bool) {
	switch {
	case g.stage >= closing:
	case failed:
		g.counts.failedStarts++
	default:
		w.blameLocked(causeDied)
		g.counts.restarts[w.end.cause]++
		if name := causeNames[w.end.cause]; name != "" {
			g.counts.last = status.Restart{Cause: name, At: time.Now()}
		}
	}
}

// totals returns the counts as they are told.
func (c *counts) totals() status.Totals {
	r := &c.restarts
	var last *status.Restart
	if c.last.Cause != "" {
		copied := c.last
		last = &copied
	}
	return status.Totals{
		FailedStarts: c.failedStarts, LastRestart: last,
		Restarts: status.Restarts{
			Died: r[causeDied], Exited: r[causeExited], TimedOut: r[causeTimedOut],
			MaxRequests: r[causeRequests], MaxAge: r[causeAge], MaxRSS: r[causeMemory], Reload: r[causeReload],
		},
	}
}

// Status reports on the processes, without their memory; see Resident. The state of a worker is that of its process.
func (g *Group) Status() Status {
	g.mu.Lock()
	s := Status{Launched: g.launched, Circuit: g.circuitLocked().String(), Totals: g.counts.totals(), LastHang: g.counts.hang}
	if g.source != nil {
		s.Generation = g.source.generation
	}
	if g.starts.isFailing() {
		s.Problem, s.NextStart = g.starts.reason, g.starts.nextTry
	}
	if n := &g.nursery.starts; n.isFailing() {
		s.Problem, s.NextStart = n.reason, n.nextTry
	}
	for w := range g.workers {
		s.Workers = append(s.Workers, ProcessStatus{
			ID: w.id, PID: w.made.pid, State: w.State().String(), Generation: w.generation,
			Served: int(w.term.served.Load()), Since: w.since,
		})
	}
	for z := range g.nursery.all {
		s.Zygotes = append(s.Zygotes, ZygoteStatus{ID: z.id, PID: z.made.pid, State: z.state.String(), Children: len(z.children), Since: z.since})
	}
	g.mu.Unlock()
	slices.SortFunc(s.Zygotes, func(a, b ZygoteStatus) int { return a.ID - b.ID })
	slices.SortFunc(s.Workers, func(a, b ProcessStatus) int { return a.ID - b.ID })
	return s
}

// Resident adds the memory of the workers to a Status. It asks the system for that of each.
func Resident(s *Status) {
	for i := range s.Workers {
		if w := &s.Workers[i]; w.PID != 0 {
			w.Resident, _ = proc.Resident(w.PID) // 0 is what an error stands for here
		}
	}
}
