package pool

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// totalsBecome waits until the totals, without the time that was waited, are what they should be. The last restart must have
// the cause that want.Restarts counts.
func (s *started) totalsBecome(want status.Totals) {
	s.t.Helper()
	var got status.Totals
	defer func() {
		if s.t.Failed() {
			s.t.Logf("totals %+v\nwant   %+v", got, want)
		}
	}()
	cause := countedCause(s.t, want.Restarts)
	testkit.Eventually(s.t, "the totals", func() bool {
		got = s.Status().Totals
		last := got.LastRestart
		if got.LastRestart = nil; cause == "" && last != nil || cause != "" && (last == nil || last.Cause != cause || time.Since(last.At) > time.Minute) {
			got.LastRestart = last // for the log
			return false
		}
		got.Waited = 0
		byTime := int64(0)
		for _, n := range got.WaitsByTime {
			byTime += n
		}
		got.WaitsByTime = status.WaitTimes{}
		return got == want && byTime == got.Waits
	})
}

// countedCause returns the name of the field of Restarts that counts something, which is one at most.
func countedCause(t *testing.T, restarts status.Restarts) (cause string) {
	t.Helper()
	text, err := json.Marshal(restarts)
	if err != nil {
		t.Fatal(err)
	}
	var counts map[string]int
	if err := json.Unmarshal(text, &counts); err != nil {
		t.Fatal(err)
	}
	for name, n := range counts {
		if n > 0 {
			cause = name
		}
	}
	return cause
}

func TestStatusShowsTheRunningRequest(t *testing.T) {
	s := start(t, Options{Processes: worker.Processes{Workers: 1}})
	gate := filepath.Join(t.TempDir(), "gate")
	began := time.Now()
	answer, err := s.Do(newRequest("wait "+gate, false))
	if err != nil {
		t.Fatal(err)
	}
	now := s.Status()
	r := now.Workers[0].Request
	if r == nil || r.Method != "wait" || r.Path != gate || r.ID != "id of wait "+gate || r.Since.Before(began) || r.ClientLeft || now.Running != 1 {
		t.Errorf("while it runs: %+v of %+v", r, now)
	}
	answer.Close()
	if r := s.Status().Workers[0].Request; r == nil || !r.ClientLeft {
		t.Errorf("when its client has left: %+v", r)
	}
	touch(t, gate)
	testkit.Eventually(t, "nothing to be running", func() bool {
		now := s.Status()
		return now.Workers[0].Request == nil && now.Running == 0 && now.Workers[0].State == "ready"
	})
}

// What an application does after its answer is not shown as the request that was answered.
func TestStatusHidesAnAnsweredRequest(t *testing.T) {
	s := start(t, Options{Processes: worker.Processes{Workers: 1}})
	gate := filepath.Join(t.TempDir(), "gate")
	if o := s.do("cleanup "+gate, false); o.err != nil {
		t.Fatal(o.err)
	}
	testkit.Eventually(t, "the request to be hidden", func() bool { return s.Status().Workers[0].Request == nil })
	if w := s.Status().Workers[0]; w.State != "busy" {
		t.Errorf("%+v", w)
	}
	touch(t, gate)
	testkit.Eventually(t, "the worker to be ready", func() bool { return s.Status().Workers[0].State == "ready" })
}

// Of a batch the request that the worker is busy with is shown, from when that was begun.
func TestStatusShowsTheNextRequestOfABatch(t *testing.T) {
	s := start(t, Options{Processes: worker.Processes{Workers: 1}})
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	one, two := s.async("wait "+first, false), s.async("wait "+second, false)
	running := func() string {
		if r := s.Status().Workers[0].Request; r != nil {
			return r.Path
		}
		return ""
	}
	testkit.Eventually(t, "the first to run", func() bool { return running() == first })
	touch(t, first)
	<-one
	testkit.Eventually(t, "the second to run", func() bool { return running() == second })
	touch(t, second)
	<-two
	testkit.Eventually(t, "nothing to run", func() bool { return running() == "" })
}

func TestStatusCountsErrorsByClass(t *testing.T) {
	for _, tt := range []struct {
		name, do string
		opt      Options
		want     status.Totals
	}{
		{"a good answer is none", "status 404", Options{}, status.Totals{Requests: 1}},
		{"a 500 of the application's", "status 500", Options{}, status.Totals{Requests: 1, Errors: status.Errors{Application: 1}}},
		{"an exception", "abort oops", Options{}, status.Totals{Requests: 1, Errors: status.Errors{Application: 1}}},
		{"a crash is an error and a restart", "crash", Options{}, status.Totals{Requests: 1, Errors: status.Errors{Died: 1}, Restarts: status.Restarts{Died: 1}}},
		{"a broken protocol is both as well", "garbage", Options{}, status.Totals{Requests: 1, Errors: status.Errors{Died: 1}, Restarts: status.Restarts{Died: 1}}},
		{"a time-out is both", "hang", Options{Limits: Limits{RequestTimeout: 50 * time.Millisecond}}, status.Totals{Requests: 1, Errors: status.Errors{TimedOut: 1}, Restarts: status.Restarts{TimedOut: 1}}},
		{"a worker that tells that it goes", "leave", Options{}, status.Totals{Requests: 1, Restarts: status.Restarts{Exited: 1}}},
		{"max_requests", "pid", Options{Processes: worker.Processes{MaxRequests: 1}}, status.Totals{Requests: 1, Restarts: status.Restarts{MaxRequests: 1}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.opt.KillAfter = 100 * time.Millisecond
			s := start(t, tt.opt)
			s.do(tt.do, false)
			s.totalsBecome(tt.want)
		})
	}
}

func TestStatusCountsTheQueue(t *testing.T) {
	s := start(t, Options{Processes: worker.Processes{Workers: 1}, Limits: Limits{QueueSize: 1, QueueTimeout: 200 * time.Millisecond}})
	gate := filepath.Join(t.TempDir(), "gate")
	running := s.async("wait "+gate, false)
	waiting := s.async("pid", false)
	if o := s.do("pid", false); !errors.Is(o.err, ErrQueueFull) {
		t.Fatal(o.err)
	}
	if o := <-waiting; !errors.Is(o.err, ErrQueueTimeout) {
		t.Fatal(o.err)
	}
	s.totalsBecome(status.Totals{Requests: 3, Waits: 1, Errors: status.Errors{QueueFull: 1, QueueTimeout: 1}})
	if waited := time.Duration(s.Status().Totals.Waited); waited < 200*time.Millisecond {
		t.Errorf("waited %v", waited)
	}
	waiting = s.async("pid", false)
	touch(t, gate)
	if o := <-waiting; o.err != nil {
		t.Fatal(o.err)
	}
	<-running
	s.totalsBecome(status.Totals{Requests: 4, Waits: 2, Errors: status.Errors{QueueFull: 1, QueueTimeout: 1}})
}

func TestStatusCountsRestartsByCause(t *testing.T) {
	t.Run("age", func(t *testing.T) {
		s := start(t, Options{Processes: worker.Processes{Workers: 1, MaxAge: 200 * time.Millisecond}})
		testkit.Eventually(t, "a replacement", func() bool { return s.Status().Totals.Restarts.MaxAge > 0 })
	})
	t.Run("memory", func(t *testing.T) {
		s := start(t, Options{Processes: worker.Processes{Workers: 1, MaxRSS: 1}})
		testkit.Eventually(t, "a replacement", func() bool { return s.Status().Totals.Restarts.MaxRSS > 0 })
	})
	t.Run("a reload", func(t *testing.T) {
		s := start(t, Options{Processes: worker.Processes{Workers: 2}})
		if err := s.reload(); err != nil {
			t.Fatal(err)
		}
		s.totalsBecome(status.Totals{Restarts: status.Restarts{Reload: 2}})
	})
	t.Run("by itself while idle", func(t *testing.T) {
		s := start(t, Options{Processes: worker.Processes{Workers: 1}})
		s.do("pid", false)
		s.signal(s.Status().Workers[0].PID, 9)
		s.totalsBecome(status.Totals{Requests: 1, Restarts: status.Restarts{Died: 1}})
	})
}

// Workers that cannot be started are counted apart, and the requests that find none.
func TestStatusCountsFailedStarts(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken")
	s := start(t, Options{Processes: worker.Processes{Workers: 1}, Start: fakeStart("fails when:" + broken), Limits: Limits{Limits: worker.Limits{KillAfter: 100 * time.Millisecond}}})
	touch(t, broken)
	s.do("crash", false)
	testkit.Eventually(t, "a failed start", func() bool {
		now := s.Status()
		return now.Totals.FailedStarts > 0 && now.Circuit == "open" && strings.Contains(now.Problem, "no app today")
	})
	if o := s.do("pid", false); !errors.Is(o.err, ErrNoWorkers) {
		t.Fatal(o.err)
	}
	if e := s.Status().Totals.Errors; fmt.Sprint(e.Died, e.Unavailable) != "1 1" {
		t.Errorf("%+v", e)
	}
}
