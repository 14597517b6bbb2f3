package pool

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func TestForkedWorkers(t *testing.T) {
	s := preloading(t, "", Options{Processes: worker.Processes{Workers: 2}})
	z := s.zygote()
	workers := s.readyWorkers(2)
	if z.Children != 2 || workers[0].PID == workers[1].PID || workers[0].PID == z.PID || workers[1].PID == z.PID {
		t.Errorf("zygote %+v, workers %+v", z, workers)
	}
	s.log.WaitFor(t, `level=WARN msg=loaded`, "zygote=1", "pid="+strconv.Itoa(z.PID))
	if o := s.do("print hello", false); o.err != nil {
		t.Fatal(o.err)
	}
	s.log.WaitFor(t, "msg=hello")
	if !slices.ContainsFunc(workers, func(w worker.ProcessStatus) bool {
		return strings.Contains(s.log.String(), fmt.Sprintf(`msg=hello mount="" worker=%d pid=%d`, w.ID, w.PID))
	}) {
		t.Errorf("the worker's output does not name it:\n%s", s.log)
	}
	if left, err := filepath.Glob(filepath.Join(s.Dir(), "output-*")); err != nil || len(left) > 0 {
		t.Errorf("still there: %v, %v", left, err)
	}
	for do, want := range map[string]string{"crash": "exit status 7", "hang": "signal: killed"} {
		c := s.async(do, false)
		if do == "hang" {
			testkit.Eventually(t, "a busy worker", func() bool { return slices.Contains(states(s.Status()), Busy.String()) })
			for _, w := range s.Status().Workers {
				if w.State == Busy.String() {
					s.signal(w.PID, syscall.SIGKILL)
				}
			}
		}
		if o := testkit.Await(t, c); !errors.Is(o.err, ErrWorkerDied) || !strings.Contains(o.err.Error(), want) {
			t.Errorf("%s: %+v, want %s", do, o, want)
		}
		s.readyWorkers(2)
	}
	if again := s.zygote(); again.PID != z.PID || again.Children != 2 {
		t.Errorf("%+v, before it was %+v", again, z)
	}
	last := s.readyWorkers(2)
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{z.PID, last[0].PID, last[1].PID} {
		if !isGone(pid) {
			t.Errorf("process %d is left", pid)
		}
	}
	if log := s.log.String(); !strings.Contains(log, `msg="drained with 0 children"`) || strings.Contains(log, "the zygote died") {
		t.Errorf("the workers end first, then the zygote is told to; the log says:\n%s", log)
	}
}

func TestKillingAForkedWorkerAndItsChild(t *testing.T) {
	s := preloading(t, "", Options{Limits: Limits{RequestTimeout: 300 * time.Millisecond}})
	worker := s.readyWorkers(1)[0].PID
	o := s.do("child", false)
	child, err := strconv.Atoi(o.body)
	if err != nil {
		t.Fatalf("%+v, %v", o, err)
	}
	if o := s.do("hang", false); !errors.Is(o.err, ErrTimeout) {
		t.Errorf("%+v", o)
	}
	testkit.Eventually(t, "worker and child to be gone", func() bool { return isGone(worker) && isGone(child) })
	if o := s.do("pid", false); o.err != nil {
		t.Errorf("the next one: %+v", o)
	}
}

func TestForkedWorkersAreReplaced(t *testing.T) {
	s := preloading(t, "", Options{Processes: worker.Processes{Workers: 2, MaxRequests: 5}})
	pids := map[string]bool{}
	testkit.Eventually(t, "five workers to have served", func() bool {
		o := s.do("pid", true)
		if o.err != nil {
			t.Fatal(o.err)
		}
		pids[o.body] = true
		return len(pids) >= 5
	})
	if z := s.zygote(); z.ID != 1 {
		t.Errorf("%+v", z)
	}
}

// Workers and zygotes die all the time; every request ends.
func TestKillingZygotesAtRandom(t *testing.T) {
	s := preloading(t, "", Options{Processes: worker.Processes{Workers: 4}})
	done := make(chan struct{})
	var killer sync.WaitGroup
	kills := 0
	killer.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
			status := s.Status()
			if n%5 == 0 && len(status.Zygotes) > 0 && status.Zygotes[0].PID != 0 {
				_ = syscall.Kill(status.Zygotes[0].PID, syscall.SIGKILL)
			}
			for _, w := range status.Workers {
				if w.PID != 0 && (w.State == Ready.String() || w.State == Busy.String()) {
					if syscall.Kill(w.PID, syscall.SIGKILL) == nil {
						kills++
					}
					break
				}
			}
		}
	})
	var failed atomic.Int64
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 100 {
				switch o := s.do("pid", true); {
				case o.err == nil:
				case errors.Is(o.err, ErrWorkerDied):
					failed.Add(1)
				case errors.Is(o.err, ErrNoWorkers):
					time.Sleep(10 * time.Millisecond)
				default:
					t.Error(o.err)
				}
			}
		})
	}
	clients.Wait()
	close(done)
	killer.Wait()
	if n := failed.Load(); n > int64(2*kills) {
		t.Errorf("%d requests failed, %d workers were killed", n, kills)
	}
	s.readyWorkers(4)
}
