//go:build unix

package beside

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
)

// longestWait is how long a job waits without a look at the clock, which may have been set meanwhile.
const longestWait = 30 * time.Second

// job runs a program at its times.
type job struct {
	Job
	key  string
	log  *slog.Logger
	set  *Set
	end  context.CancelFunc
	slot *slot

	mu   sync.Mutex
	next time.Time
}

// slot is the room for one run of a job. A job that takes the place of another has the same.
type slot struct {
	mu   sync.Mutex
	busy bool
	run  *run // nil while none runs

	runs, failures, skipped int
	began                   time.Time
	took                    time.Duration
	exit                    string
}

func (j *Job) jobKey() string { return j.key() + " " + j.Schedule + " " + j.Timeout.String() }

func (s *Set) scheduleLocked(spec Job, slot *slot) *job {
	ctx, end := context.WithCancel(s.due)
	j := &job{Job: spec, key: spec.jobKey(), log: s.log.With("job", spec.Name), set: s, end: end, slot: slot}
	s.tasks.Go(func() {
		defer end()
		select {
		case <-s.begin:
		case <-ctx.Done():
			return
		}
		j.tick(ctx)
	})
	return j
}

// tick runs the program at each of its times until ctx ends.
func (j *job) tick(ctx context.Context) {
	for {
		next := j.Next(j.set.now())
		j.mu.Lock()
		j.next = next
		j.mu.Unlock()
		if next.IsZero() {
			j.log.Warn("the job is never due", "schedule", j.Schedule)
			return
		}
		if !j.await(ctx, next) {
			return
		}
		if !j.fire() {
			j.slot.mu.Lock()
			j.slot.skipped++
			j.slot.mu.Unlock()
			j.log.Warn("the job is due, and is left out because its last run has not ended")
		}
	}
}

// await waits until a time, and reports whether it has come before the end of ctx.
func (j *job) await(ctx context.Context, until time.Time) bool {
	for {
		left := until.Round(0).Sub(j.set.now().Round(0)) // by the clock on the wall
		if left <= 0 {
			return ctx.Err() == nil
		}
		timer := time.NewTimer(min(left, longestWait))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
}

// fire starts a run, and reports whether the last one is over.
func (j *job) fire() bool {
	s := j.slot
	s.mu.Lock()
	if s.busy {
		s.mu.Unlock()
		return false
	}
	s.busy = true
	s.mu.Unlock()
	j.set.mu.Lock()
	defer j.set.mu.Unlock()
	if j.set.stopped {
		s.mu.Lock()
		s.busy = false
		s.mu.Unlock()
		return true
	}
	j.set.tasks.Go(j.once)
	return true
}

// once runs the program once.
func (j *job) once() {
	s, began := j.slot, time.Now()
	ctx, cancel := context.WithCancel(j.set.runs)
	defer cancel()
	if j.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, j.Timeout)
		defer cancel()
	}
	exit, failed := "", true
	r, err := j.start(j.log)
	if err == nil {
		s.mu.Lock()
		s.run = r
		s.mu.Unlock()
		j.log.Info("the job begins", "pid", r.Pid())
		ended := r.finish(ctx.Done())
		exit, failed = ended.String(), ended.Status != 0
	} else {
		exit = "it cannot be started: " + err.Error()
	}
	timedOut := j.Timeout > 0 && context.Cause(ctx) == context.DeadlineExceeded
	took := time.Since(began)
	s.mu.Lock()
	s.busy, s.run = false, nil
	s.runs++
	if failed {
		s.failures++
	}
	s.began, s.took, s.exit = began, took, exit
	s.mu.Unlock()
	switch log := j.log.With("exit", exit, "took", took.Round(time.Millisecond).String()); {
	case timedOut:
		log.Warn("the job was ended because it took too long", "timeout", j.Timeout.String())
	case failed:
		log.Warn("the job has failed")
	default:
		log.Info("the job has ended")
	}
}

// kill kills the run if it was told to end.
func (s *slot) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != nil {
		s.run.kill()
	}
}

func (j *job) status() status.Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.slot
	s.mu.Lock()
	defer s.mu.Unlock()
	is := status.Job{
		Job: j.Name, Schedule: j.Schedule, Next: j.next, Runs: s.runs, Failures: s.failures, Skipped: s.skipped,
		LastRun: s.began, LastSeconds: status.Seconds(s.took), LastExit: s.exit,
	}
	if s.run != nil {
		is.PID, is.Since = s.run.Pid(), s.run.since
	}
	return is
}
