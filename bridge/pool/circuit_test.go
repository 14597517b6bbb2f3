package pool

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// An application whose every worker fails to start: closed, open, half-open, open
// again, half-open, closed.
func TestCircuit(t *testing.T) {
	dir := t.TempDir()
	broken, gate := filepath.Join(dir, "broken"), filepath.Join(dir, "gate")
	touch(t, gate)
	s := start(t, Options{Processes: worker.Processes{Workers: 2}, Start: fakeStart("fails when:" + broken + ":" + gate), Limits: Limits{Limits: worker.Limits{KillAfter: 100 * time.Millisecond}}})
	circuit := func(want worker.Circuit) {
		t.Helper()
		testkit.Eventually(t, "the circuit to be "+want.String(), func() bool { return s.Status().Circuit == want.String() })
	}
	refused := func() {
		t.Helper()
		began := time.Now()
		if o := s.do("pid", true); !errors.Is(o.err, ErrNoWorkers) || time.Since(began) > 500*time.Millisecond {
			t.Errorf("%+v after %v", o, time.Since(began))
		}
	}
	if status := s.Status(); status.Circuit != worker.Closed.String() || status.Problem != "" {
		t.Errorf("%+v", status)
	}
	touch(t, broken)
	s.do("crash", false)
	s.do("crash", false)
	circuit(worker.Open)
	refused()
	status := s.Status()
	if status.Problem != "no app today" || status.NextStart.Before(time.Now()) || status.Queued != 0 {
		t.Errorf("%+v", status)
	}
	if after := s.RetryAfter(); after < time.Second || after > 4*time.Second {
		t.Errorf("retry after %v", after)
	}
	if err := os.Remove(gate); err != nil { // attempts hang now
		t.Fatal(err)
	}
	circuit(worker.HalfOpen)
	refused()
	launched := s.Status().Launched
	time.Sleep(300 * time.Millisecond)
	if status := s.Status(); status.Launched != launched || len(status.Workers) != 1 {
		t.Errorf("more than one attempt at a time: %+v", status)
	}
	touch(t, gate)
	circuit(worker.Open)
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	circuit(worker.Closed)
	if o := s.do("pid", true); o.err != nil {
		t.Error(o.err)
	}
	testkit.Eventually(t, "both workers, and the failure to be forgotten", func() bool {
		status := s.Status()
		return len(generations(status)) == 2 && status.Problem == ""
	})
	s.log.WaitFor(t, "level=INFO", "workers can be started again")
	for _, once := range []string{`level=ERROR msg="no worker can be started`, `level=ERROR msg="a worker cannot be started"`} {
		if n := strings.Count(s.log.String(), once); n != 1 {
			t.Errorf("%s: told %d times", once, n)
		}
	}
}

// Requests in the queue fail at once when the last worker is lost.
func TestCircuitOpensOverTheQueue(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken")
	s := start(t, Options{Start: fakeStart("fails when:" + broken), Limits: Limits{Limits: worker.Limits{KillAfter: 100 * time.Millisecond}}})
	gate := filepath.Join(t.TempDir(), "gate")
	first := s.async("wait-and-crash "+gate, false)
	waiting := s.async("pid", false)
	touch(t, broken)
	touch(t, gate)
	if o := testkit.Await(t, first); !errors.Is(o.err, ErrWorkerDied) {
		t.Errorf("%+v", o)
	}
	if o := testkit.Await(t, waiting); !errors.Is(o.err, ErrNoWorkers) {
		t.Errorf("%+v", o)
	}
}

func TestLoaded(t *testing.T) {
	files := make(chan []string, 1)
	s := start(t, Options{Loaded: func(names []string) { files <- names }})
	if o := s.do("loaded /a/B.pm", false); o.err != nil {
		t.Fatal(o.err)
	}
	if got := testkit.Await(t, files); len(got) != 1 || got[0] != "/a/B.pm" {
		t.Errorf("%q", got)
	}
	s.do("loaded relative", false)
	s.log.WaitFor(t, "the worker broke the protocol", "LOADED")
}
