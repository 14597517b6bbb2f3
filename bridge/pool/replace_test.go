package pool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// A worker ends from every state, even if it does not cooperate.
func TestWorkersThatDoNotGo(t *testing.T) {
	t.Run("after it said so", func(t *testing.T) {
		s := start(t, Options{Limits: Limits{Limits: worker.Limits{KillAfter: 200 * time.Millisecond}, RequestTimeout: time.Second}})
		if o := s.do("leave-slowly", false); o.err != nil {
			t.Fatal(o.err)
		}
		s.log.WaitFor(t, "had said that it goes")
		testkit.Eventually(t, "one worker to be left", func() bool { return fmt.Sprint(states(s.Status())) == "[ready]" })
	})
	t.Run("in the middle of a request", func(t *testing.T) {
		s := start(t, Options{Limits: Limits{Limits: worker.Limits{KillAfter: 200 * time.Millisecond}}})
		if o := s.do("leave-early", false); !errors.Is(o.err, ErrWorkerDied) {
			t.Errorf("%+v", o)
		}
		s.log.WaitFor(t, "EXITING in the middle of a request")
	})
	t.Run("while it cleans up", func(t *testing.T) {
		s := start(t, Options{Limits: Limits{Limits: worker.Limits{KillAfter: 200 * time.Millisecond}, RequestTimeout: 300 * time.Millisecond}})
		if o := s.do("cleanup /does/not/exist", false); o.err != nil {
			t.Fatal(o.err)
		}
		if o := s.do("pid", false); o.err != nil {
			t.Errorf("the next one: %+v", o)
		}
		s.log.WaitFor(t, "cleaning up after cleanup /does/not/exist took longer")
	})
	t.Run("and its child", func(t *testing.T) {
		s := start(t, Options{Limits: Limits{Limits: worker.Limits{KillAfter: 200 * time.Millisecond}, RequestTimeout: 300 * time.Millisecond}})
		o := s.do("child", false)
		pid, err := strconv.Atoi(o.body)
		if err != nil {
			t.Fatalf("%+v, %v", o, err)
		}
		if o := s.do("hang", false); !errors.Is(o.err, ErrTimeout) {
			t.Errorf("%+v", o)
		}
		testkit.Eventually(t, "the child to be gone", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
	})
}

// Failing restarts are logged once, with the reason, and do not disturb the other workers.
func TestFailingRestarts(t *testing.T) {
	t.Run("of a worker that died", func(t *testing.T) {
		broken := filepath.Join(t.TempDir(), "broken")
		s := start(t, Options{Processes: worker.Processes{Workers: 2}, Start: fakeStart("fails when:" + broken), Limits: Limits{Limits: worker.Limits{KillAfter: 100 * time.Millisecond}}})
		touch(t, broken)
		if o := s.do("crash", false); !errors.Is(o.err, ErrWorkerDied) {
			t.Errorf("%+v", o)
		}
		s.log.WaitFor(t, `level=ERROR msg="a worker cannot be started" mount="" worker=3`)
		if !strings.Contains(s.log.String(), `error="no app today"`) {
			t.Error("the reason is missing")
		}
		if o := s.do("pid", false); o.err != nil {
			t.Errorf("by the other worker: %+v", o)
		}
		testkit.Eventually(t, "another attempt", func() bool { return s.Status().Launched > 3 })
		if n := strings.Count(s.log.String(), "level=ERROR msg=\"a worker cannot be started\""); n != 1 {
			t.Errorf("told %d times", n)
		}
		if err := os.Remove(broken); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "two workers", func() bool { return fmt.Sprint(states(s.Status())) == "[ready ready]" })
	})
	t.Run("while another one serves", func(t *testing.T) {
		broken := filepath.Join(t.TempDir(), "broken")
		s := start(t, Options{Processes: worker.Processes{Workers: 2}, Start: fakeStart("fails when:" + broken), Limits: Limits{Limits: worker.Limits{KillAfter: 100 * time.Millisecond}}})
		testkit.Eventually(t, "the workers to be old", func() bool {
			for _, w := range s.Status().Workers {
				if time.Since(w.Since) < time.Second+100*time.Millisecond {
					return false
				}
			}
			return true
		})
		touch(t, broken)
		if o := s.do("crash", false); !errors.Is(o.err, ErrWorkerDied) {
			t.Errorf("%+v", o)
		}
		began := time.Now()
		testkit.Eventually(t, "three attempts", func() bool {
			if o := s.do("pid", true); o.err != nil {
				t.Errorf("by the other worker: %+v", o)
			}
			return s.Status().Launched >= 5
		})
		if took := time.Since(began); took < 3*time.Second { // after 1 s and 2 s more
			t.Errorf("they were made within %v", took)
		}
		if err := os.Remove(broken); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("of a worker that is due to be replaced", func(t *testing.T) {
		broken := filepath.Join(t.TempDir(), "broken")
		s := start(t, Options{Processes: worker.Processes{MaxRequests: 1}, Start: fakeStart("fails when:" + broken), Limits: Limits{Limits: worker.Limits{KillAfter: 100 * time.Millisecond}}})
		touch(t, broken)
		before := s.do("pid", false).body
		testkit.Eventually(t, "an attempt to replace it", func() bool { return s.Status().Launched > 1 })
		for range 20 {
			if o := s.do("pid", false); o.err != nil || o.body != before {
				t.Fatalf("%+v, before it was %s", o, before)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if strings.Contains(s.log.String(), "a worker is replaced") {
			t.Error("the log says that it was")
		}
		if err := os.Remove(broken); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "it to be replaced", func() bool { return s.do("pid", false).body != before })
		s.log.WaitFor(t, "a worker is replaced", "reason=max_requests", "worker=1 ")
	})
	t.Run("of a worker that ends as soon as it is ready", func(t *testing.T) {
		broken := filepath.Join(t.TempDir(), "broken")
		s := start(t, Options{Start: fakeStart("ends when:" + broken)})
		touch(t, broken)
		s.do("crash", false)
		s.log.WaitFor(t, "exit status 5")
		time.Sleep(500 * time.Millisecond)
		if n := s.Status().Launched; n > 3 {
			t.Errorf("%d workers were started", n)
		}
	})
}

func TestWorkerThatLeaves(t *testing.T) {
	s := start(t, Options{})
	before := s.do("pid", false).body
	if o := s.do("leave", false); o.err != nil {
		t.Error(o.err)
	}
	if o := s.do("pid", false); o.err != nil || o.body == before {
		t.Errorf("%+v, before: %s", o, before)
	}
	s.log.WaitFor(t, `reason="had enough"`)
}

// Recycling starts the new worker first: no request has to wait for a start.
func TestMaxRequests(t *testing.T) {
	s := start(t, Options{Processes: worker.Processes{Workers: 2, MaxRequests: 5}})
	pids := map[string]bool{}
	for range 100 {
		o := s.do("pid", true)
		if o.err != nil {
			t.Fatal(o.err)
		}
		pids[o.body] = true
		ready := 0
		for _, state := range states(s.Status()) {
			if state == Ready.String() || state == Busy.String() {
				ready++
			}
		}
		if ready < 2 {
			t.Errorf("only %d workers were there", ready)
		}
	}
	testkit.Eventually(t, "a third worker", func() bool { pids[s.do("pid", true).body] = true; return len(pids) > 2 })
}
