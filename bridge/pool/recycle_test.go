package pool

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/proc"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func TestMaxAge(t *testing.T) {
	s := start(t, Options{Processes: worker.Processes{Workers: 2, MaxAge: 300 * time.Millisecond}})
	gate := filepath.Join(t.TempDir(), "gate")
	running := s.async("wait "+gate, false)
	var busy worker.ProcessStatus
	testkit.Eventually(t, "a busy worker", func() bool {
		for _, w := range s.Status().Workers {
			if w.State == Busy.String() {
				busy = w
			}
		}
		return busy.PID != 0
	})
	testkit.Eventually(t, "all workers but the busy one to be young", func() bool {
		for _, w := range s.Status().Workers {
			if w.State == Ready.String() && w.ID <= 2 {
				return false
			}
		}
		return s.Status().Launched >= 4
	})
	if got := fmt.Sprint(states(s.Status())); !strings.Contains(got, "busy") {
		t.Errorf("the busy worker did not stay: %s", got)
	}
	touch(t, gate)
	if o := <-running; o.err != nil || o.body != strconv.Itoa(busy.PID) {
		t.Errorf("%+v, want an answer of the worker that had begun it, %d", o, busy.PID)
	}
	s.log.WaitFor(t, "level=INFO", `msg="a worker is replaced"`, "reason=max_age", "worker=")
}

// The memory of a worker is checked between two requests, whether the worker is idle or not.
func TestMaxRSS(t *testing.T) {
	if _, err := proc.Resident(os.Getpid()); err != nil {
		t.Skip(err)
	}
	for name, busy := range map[string]bool{"of an idle worker": false, "of one that always has work": true} {
		t.Run(name, func(t *testing.T) {
			s := start(t, Options{Processes: worker.Processes{MaxRSS: 100 << 20}})
			first := s.do("pid", false).body
			if o := s.do("bloat 150", false); o.err != nil || o.body != first {
				t.Fatalf("%+v", o)
			}
			testkit.Eventually(t, "another worker", func() bool {
				if !busy {
					return s.Status().Launched == 2 && len(s.Status().Workers) == 1
				}
				o := s.do("pid", false)
				return o.err != nil || o.body != first
			})
			if o := s.do("pid", false); o.err != nil || o.body == first {
				t.Errorf("%+v, before it was %s", o, first)
			}
			s.log.WaitFor(t, `msg="a worker is replaced"`, "reason=max_rss")
		})
	}
}

// At most a quarter of the workers are replaced at a time, even if all are due at once.
func TestRecyclingIsSpread(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "gate")
	touch(t, gate)
	s := start(t, Options{Processes: worker.Processes{Workers: 8, MaxAge: 3 * time.Second}, Limits: Limits{Limits: worker.Limits{MaxRequestsJitter: -1, KillAfter: 100 * time.Millisecond}}, Start: fakeStart("starts when:" + gate)})
	if err := os.Remove(gate); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the first to be replaced", func() bool { return s.Status().Launched > 8 })
	time.Sleep(200 * time.Millisecond) // several looks
	if n := s.Status().Launched - 8; n != 2 {
		t.Errorf("%d of 8 are being replaced at once", n)
	}
	touch(t, gate)
	testkit.Eventually(t, "the rest", func() bool { return s.Status().Launched >= 16 })
}

func TestBadOptions(t *testing.T) {
	for _, c := range []struct {
		opt  Options
		want string
	}{
		{Options{}, ""},
		{Options{Processes: worker.Processes{Workers: 3, MaxRequests: 5, MaxAge: time.Hour, MaxRSS: 1}, Limits: Limits{Limits: worker.Limits{MaxRequestsJitter: 1}, RequestTimeout: -1, AnswerSpool: -1}}, ""},
		{Options{Processes: worker.Processes{MinWorkers: 1, MaxWorkers: 1}}, ""},
		{Options{Processes: worker.Processes{Workers: -1}}, "workers: must not be negative, is -1"},
		{Options{Processes: worker.Processes{MaxRequests: -1, MaxAge: -1}}, "max_requests: must not be negative, is -1\nmax_age: must not be negative, is -1ns"},
		{Options{Processes: worker.Processes{Workers: 3, MinWorkers: 1, MaxWorkers: 3}}, "workers: excludes min_workers and max_workers"},
		{Options{Processes: worker.Processes{MinWorkers: 1}}, "max_workers: is missing"},
		{Options{Processes: worker.Processes{MaxWorkers: 1}}, "min_workers: is missing"},
		{Options{Processes: worker.Processes{MinWorkers: 2, MaxWorkers: 1}}, "max_workers: must not be less than min_workers, is 1 and 2"},
		{Options{Limits: Limits{Limits: worker.Limits{MaxRequestsJitter: 1.5}}}, "max_requests_jitter: must be at most 1, is 1.5"},
	} {
		err := c.opt.Check()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.opt, err, c.want)
		}
	}
}
