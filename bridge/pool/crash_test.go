package pool

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func TestCrashes(t *testing.T) {
	t.Run("unsafe, begun", func(t *testing.T) {
		s := start(t, Options{})
		if o := s.do("crash", false); !errors.Is(o.err, ErrWorkerDied) || !strings.Contains(o.err.Error(), "exit status 7") {
			t.Errorf("%+v", o)
		}
		if o := s.do("pid", false); o.err != nil {
			t.Errorf("the next one: %+v", o)
		}
		s.log.WaitFor(t, "the worker died in a request")
	})
	t.Run("safe, begun, nothing sent", func(t *testing.T) {
		s := start(t, Options{})
		if o := s.do("crash-once "+filepath.Join(t.TempDir(), "f"), true); o.err != nil || o.body != "second time" {
			t.Errorf("%+v", o)
		}
	})
	t.Run("safe, crashes every time", func(t *testing.T) {
		s := start(t, Options{Workers: 2})
		if o := s.do("crash", true); !errors.Is(o.err, ErrWorkerDied) {
			t.Errorf("%+v", o)
		}
		testkit.Eventually(t, "both workers to be replaced", func() bool { return fmt.Sprint(states(s.Status())) == "[ready ready]" })
		if n := s.Status().Launched; n != 4 {
			t.Errorf("%d workers were started, want 4", n)
		}
	})
	t.Run("safe, something sent", func(t *testing.T) {
		s := start(t, Options{})
		if o := s.do("start-and-crash", true); !errors.Is(o.err, ErrWorkerDied) || o.body != "begun" {
			t.Errorf("%+v", o)
		}
	})
	t.Run("what waited behind goes elsewhere", func(t *testing.T) {
		s := start(t, Options{Workers: 2})
		_, others := stalledBatch(t, s, "crash", func(int) string { return "pid" })
		for _, c := range others {
			if o := <-c; o.err != nil || o.body == "" {
				t.Errorf("%+v", o)
			}
		}
	})
	t.Run("a child holds the connection", func(t *testing.T) {
		s := start(t, Options{})
		o := s.do("daemon", false)
		if o.err != nil {
			t.Fatal(o.err)
		}
		pid, err := strconv.Atoi(o.body)
		if err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "another worker", func() bool { return s.Status().Launched == 2 })
		if o := s.do("pid", false); o.err != nil {
			t.Errorf("the next one: %+v", o)
		}
		if err := syscall.Kill(pid, 0); err != nil {
			t.Errorf("the child must go on as long as the pool does: %v", err)
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		testkit.Eventually(t, "the child to be gone", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
	})
}

// A worker that does not speak the protocol is killed; its request is answered,
// and so is the next one.
func TestBrokenProtocol(t *testing.T) {
	for _, do := range []string{"garbage", "unknown", "malformed"} {
		t.Run(do, func(t *testing.T) {
			s := start(t, Options{KillGrace: time.Second})
			if o := s.do(do, false); !errors.Is(o.err, ErrWorkerDied) {
				t.Errorf("%+v", o)
			}
			s.log.WaitFor(t, "the worker broke the protocol")
			if o := s.do("pid", false); o.err != nil {
				t.Errorf("the next one: %+v", o)
			}
		})
	}
}

func TestAnswerCutAtEveryByte(t *testing.T) {
	s := start(t, Options{Workers: 2})
	for n := range 30 {
		if o := s.do("cut "+strconv.Itoa(n), false); !errors.Is(o.err, ErrWorkerDied) {
			t.Fatalf("after %d bytes: %+v", n, o)
		}
	}
}

func TestAbort(t *testing.T) {
	s := start(t, Options{})
	var abort *AbortError
	if o := s.do("abort sorry", false); !errors.As(o.err, &abort) || abort.Message != "sorry" || abort.Kind != 1 {
		t.Errorf("%+v", o)
	}
}

// Workers die all the time; every request ends, and only those that were in a
// dying worker may fail.
func TestKillingAtRandom(t *testing.T) {
	s := start(t, Options{Workers: 4})
	done := make(chan struct{})
	var killer sync.WaitGroup
	kills := 0
	killer.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
			for _, w := range s.Status().Workers {
				if w.State == Ready || w.State == Busy {
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
	for range 16 {
		clients.Go(func() {
			for range 200 {
				switch o := s.do("pid", true); {
				case o.err == nil:
				case errors.Is(o.err, ErrWorkerDied), errors.Is(o.err, ErrNoWorkers):
					failed.Add(1)
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
}
