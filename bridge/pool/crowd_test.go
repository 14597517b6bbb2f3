package pool

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func TestTheLimitFollowsWhatWorkersWaitFor(t *testing.T) {
	for _, c := range []struct {
		what    string
		sum     waits
		workers int
		limited bool
	}{
		{"nothing is known", waits{}, 0, false},
		{"they had too little to do", waits{answers: 15, turns: 15, sleeps: 15}, 2, false},
		{"they sleep between their turns only", waits{answers: 400, turns: 400, sleeps: 400}, 2, true},
		{"there was always work", waits{answers: 400, turns: 400, sleeps: 10}, 2, true},
		{"they were never without", waits{answers: 400, ahead: 400, sleeps: 1}, 2, true},
		{"what was given ahead came too late at times", waits{answers: 400, turns: 20, ahead: 380, sleeps: 60}, 2, true},
		{"they were never without, and each request asks a database", waits{answers: 400, ahead: 400, sleeps: 400}, 2, false},
		{"each request asks a database", waits{answers: 400, turns: 400, sleeps: 800}, 2, false},
		{"each batch of eight does, once", waits{answers: 3200, turns: 400, sleeps: 450 + 3}, 2, false},
	} {
		want := 0
		if c.limited {
			want = worker.Processors()
		}
		if got := limitOf(c.sum, c.workers); got != want {
			t.Errorf("%s: %d, want %d", c.what, got, want)
		}
	}
}

// crowded starts workers of which so many may have requests, as if they only computed.
func crowded(t *testing.T, processes worker.Processes, limit int, stall time.Duration) *started {
	t.Helper()
	s := start(t, Options{Processes: processes})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stall, s.crowd.limit = stall, limit
	s.crowd.asked = time.Now().Add(time.Hour) // the next survey must not change it
	return s
}

// served returns how many workers have answered.
func (s *started) served() (n int) {
	for _, w := range s.Status().Workers {
		if w.Served > 0 {
			n++
		}
	}
	return n
}

func TestRequestsWaitForWorkersThatCompute(t *testing.T) {
	s := crowded(t, worker.Processes{Workers: 4}, 2, time.Hour)
	var outcomes []<-chan outcome
	for i := range 200 {
		outcomes = append(outcomes, s.async("pid", i%2 == 0))
	}
	for _, o := range outcomes {
		if got := <-o; got.err != nil {
			t.Fatal(got.err)
		}
	}
	testkit.Eventually(t, "no worker to count", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.crowd.busy == 0 && s.crowd.late == 0
	})
	if n := s.served(); n != 2 {
		t.Errorf("%d workers have answered, want 2", n)
	}
}

// An idle worker takes the place of one whose request takes long.
func TestALateWorkerDoesNotHoldUpOthers(t *testing.T) {
	s := crowded(t, worker.Processes{Workers: 3}, 1, time.Millisecond)
	open := filepath.Join(t.TempDir(), "open")
	first, second := s.async("wait "+open, true), s.async("wait "+open, true)
	if got := s.do("pid", true); got.err != nil {
		t.Fatal(got.err)
	}
	if err := os.WriteFile(open, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range []<-chan outcome{first, second} {
		if got := <-o; got.err != nil {
			t.Fatal(got.err)
		}
	}
	testkit.Eventually(t, "all three workers to have answered", func() bool { return s.served() == 3 })
}

// A request is not refused while a worker is idle, and does not overtake one that waits.
func TestAFullQueueUsesAllWorkers(t *testing.T) {
	s := crowded(t, worker.Processes{Workers: 2}, 1, time.Hour)
	s.mu.Lock()
	s.opt.QueueSize = 1
	s.mu.Unlock()
	open, notes := filepath.Join(t.TempDir(), "open"), filepath.Join(t.TempDir(), "notes")
	first := s.async("wait "+open, true)
	second, third := s.async("note "+notes, false), s.async("pid", false)
	for _, o := range []<-chan outcome{third, second} {
		if got := <-o; got.err != nil {
			t.Fatal(got.err)
		}
		if _, err := os.Stat(notes); err != nil {
			t.Errorf("the request that came last has overtaken another one: %v", err)
		}
	}
	if err := os.WriteFile(open, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := <-first; got.err != nil {
		t.Fatal(got.err)
	}
}

// What waits for a worker goes to another one when that worker dies, or makes way for its successor.
func TestWorkersThatGoHoldUpNothing(t *testing.T) {
	for _, end := range []string{"crash", "hang"} {
		t.Run(end, func(t *testing.T) {
			s := crowded(t, worker.Processes{Workers: 3}, 1, time.Hour)
			failed := s.async(end, false)
			var outcomes []<-chan outcome
			for range 5 {
				outcomes = append(outcomes, s.async("pid", true))
			}
			if end == "hang" {
				kill(t, s)
			}
			if got := <-failed; got.err == nil {
				t.Error("the request that ends its worker did not fail")
			}
			for i, o := range outcomes {
				if got := <-o; got.err != nil {
					t.Errorf("request %d: %v", i, got.err)
				}
			}
		})
	}
}

// kill ends the worker that has requests.
func kill(t *testing.T, s *started) {
	t.Helper()
	for _, w := range s.Status().Workers {
		if w.Inflight > 0 {
			if err := syscall.Kill(w.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("no worker has a request")
}

func TestRecycledWorkersHoldUpNothing(t *testing.T) {
	s := crowded(t, worker.Processes{Workers: 3, MaxRequests: 3}, 1, time.Hour)
	for range 4 {
		var outcomes []<-chan outcome
		for range 15 {
			outcomes = append(outcomes, s.async("pid", true))
		}
		for _, o := range outcomes {
			if got := <-o; got.err != nil {
				t.Fatal(got.err)
			}
		}
	}
}

// Where more workers would not be given requests, none are added.
func TestNoWorkersAreAddedForWhatComputes(t *testing.T) {
	s := crowded(t, worker.Processes{Workers: 2}, 2, time.Hour)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue.push(&exchange{since: time.Now().Add(-time.Hour)})
	if load := s.loadOfLocked(time.Now()); load.Oldest != 0 || load.Queued != 1 {
		t.Errorf("with as many workers as are used: %+v", load)
	}
	s.crowd.limit = 0
	if load := s.loadOfLocked(time.Now()); load.Oldest < time.Hour {
		t.Errorf("where all workers are used: %+v", load)
	}
	s.queue.takeAll()
}
