package pool

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func TestWorkersFollowTheLoad(t *testing.T) {
	s := start(t, Options{Processes: worker.Processes{MinWorkers: 1, MaxWorkers: 3}, Limits: Limits{Limits: worker.Limits{IdleTimeout: 300 * time.Millisecond}}})
	gate := filepath.Join(t.TempDir(), "gate")
	var running []<-chan outcome
	for range 8 {
		running = append(running, s.async("wait "+gate, false))
	}
	testkit.Eventually(t, "three busy workers", func() bool { return fmt.Sprint(states(s.Status())) == "[busy busy busy]" })
	if oldest := s.Status().Oldest; time.Duration(oldest) < 100*time.Millisecond {
		t.Errorf("the first in the queue has waited for %v only", oldest)
	}
	touch(t, gate)
	for _, c := range running {
		if o := <-c; o.err != nil {
			t.Error(o.err)
		}
	}
	testkit.Eventually(t, "one worker to be left", func() bool { return fmt.Sprint(states(s.Status())) == "[ready]" })
	if n := s.Status().Launched; n != 3 {
		t.Errorf("%d workers were started, want 3", n)
	}
	s.log.WaitFor(t, `msg="workers are added"`, `reason="requests wait"`, "workers=3")
	s.log.WaitFor(t, `msg="a worker goes"`, "reason=idle", "workers=1")
	if o := s.do("pid", false); o.err != nil {
		t.Error(o.err)
	}
}

func TestResize(t *testing.T) {
	s := start(t, Options{Processes: worker.Processes{Workers: 2}})
	count := func() int { return len(states(s.Status())) }
	first := s.Status().Workers[0].PID
	for _, step := range []struct{ by, want int }{{1, 3}, {2, 5}, {-3, 2}, {-5, 1}, {-1, 1}, {1, 2}} {
		if n := s.Resize(step.by); n != step.want {
			t.Errorf("%+d: %d workers, want %d", step.by, n, step.want)
		}
		testkit.Eventually(t, fmt.Sprintf("%d workers", step.want), func() bool { return count() == step.want })
	}
	// A busy worker goes once it is idle.
	gate := filepath.Join(t.TempDir(), "gate")
	busy := []<-chan outcome{s.async("wait "+gate, false), s.async("wait "+gate, false)}
	testkit.Eventually(t, "two busy workers", func() bool { return fmt.Sprint(states(s.Status())) == "[busy busy]" })
	s.Resize(-1)
	touch(t, gate)
	for _, c := range busy {
		if o := <-c; o.err != nil {
			t.Error(o.err)
		}
	}
	testkit.Eventually(t, "one worker", func() bool { return count() == 1 })
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "one worker of the next generation", func() bool { return count() == 1 && s.Status().Workers[0].PID != first })
}

func TestResizeMovesBothLimits(t *testing.T) {
	s := start(t, Options{Processes: worker.Processes{MinWorkers: 1, MaxWorkers: 2}, Limits: Limits{Limits: worker.Limits{IdleTimeout: 300 * time.Millisecond}}})
	if n := s.Resize(1); n != 2 {
		t.Errorf("%d workers, want 2", n)
	}
	gate := filepath.Join(t.TempDir(), "gate")
	var running []<-chan outcome
	for range 6 {
		running = append(running, s.async("wait "+gate, false))
	}
	testkit.Eventually(t, "three busy workers", func() bool { return fmt.Sprint(states(s.Status())) == "[busy busy busy]" })
	touch(t, gate)
	for _, c := range running {
		if o := <-c; o.err != nil {
			t.Error(o.err)
		}
	}
	testkit.Eventually(t, "two to be left", func() bool { return fmt.Sprint(states(s.Status())) == "[ready ready]" })
}
