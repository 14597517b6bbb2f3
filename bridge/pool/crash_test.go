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

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
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
		s := start(t, Options{Limits: Limits{Retry: RetrySafe}})
		if o := s.do("crash-once "+filepath.Join(t.TempDir(), "f"), true); o.err != nil || o.body != "second time" {
			t.Errorf("%+v", o)
		}
	})
	for retry, launched := range map[string]int{"": 3, RetryUnread: 3, RetryOff: 3, RetrySafe: 4} {
		t.Run("safe, crashes every time, retry "+retry, func(t *testing.T) {
			s := start(t, Options{Processes: worker.Processes{Workers: 2}, Limits: Limits{Retry: retry}})
			if o := s.do("crash", true); !errors.Is(o.err, ErrWorkerDied) {
				t.Errorf("%+v", o)
			}
			testkit.Eventually(t, "the workers to be replaced", func() bool {
				return s.Status().Launched == launched && fmt.Sprint(states(s.Status())) == "[ready ready]"
			})
			if o := s.do("pid", false); o.err != nil {
				t.Errorf("the next one: %+v", o)
			}
			if n := s.Status().Launched; n != launched {
				t.Errorf("%d workers were started, want %d", n, launched)
			}
		})
	}
	// A worker that is stopped (SIGSTOP) has read nothing of its request when it is killed.
	for retry, repeated := range map[string]bool{"": true, RetryOff: false, RetrySafe: true} {
		t.Run("safe, and not read by the worker that died, retry "+retry, func(t *testing.T) {
			s := start(t, Options{Limits: Limits{Retry: retry}})
			pid := s.Status().Workers[0].PID
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			answer := s.async("pid", true)
			testkit.Eventually(t, "the request to be written", func() bool { return s.isWritten() })
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			o := testkit.Await(t, answer)
			if repeated && (o.err != nil || o.body == strconv.Itoa(pid)) || !repeated && !errors.Is(o.err, ErrWorkerDied) {
				t.Errorf("%+v", o)
			}
		})
	}
	t.Run("safe, something sent", func(t *testing.T) {
		s := start(t, Options{})
		if o := s.do("start-and-crash", true); !errors.Is(o.err, ErrWorkerDied) || o.body != "begun" {
			t.Errorf("%+v", o)
		}
	})
	t.Run("what waited behind goes elsewhere", func(t *testing.T) {
		s := start(t, Options{Processes: worker.Processes{Workers: 2}})
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
			s := start(t, Options{Limits: Limits{Limits: worker.Limits{KillAfter: time.Second}}})
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

// A worker that breaks the protocol and does not go gives up all its requests at once. The fault is the
// worker's: the error must not be one that says that the request cannot be sent.
func TestBrokenProtocolOfAWorkerThatStays(t *testing.T) {
	s := start(t, Options{Limits: Limits{Limits: worker.Limits{KillAfter: time.Hour}}})
	pid, err := strconv.Atoi(s.do("pid", false).body)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) }) // before the pool is stopped, which would wait for it
	current, others := stalledBatch(t, s, "garbage-deaf", func(int) string { return "pid" })
	if o := <-current; !errors.Is(o.err, ErrWorkerDied) || errors.Is(o.err, wire.ErrTooLarge) || errors.Is(o.err, wire.ErrMalformed) {
		t.Errorf("%+v", o)
	}
	for _, c := range others {
		if o := <-c; o.err != nil || o.body == "" || o.body == strconv.Itoa(pid) {
			t.Errorf("%+v", o)
		}
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("the worker has ended: %v", err)
	}
}

// A frame that is too large, or breaks the protocol, costs one worker, even if the request could be
// repeated. The log gets one short line about it.
func TestBrokenProtocolCostsOneWorker(t *testing.T) {
	for do, want := range map[string]string{
		"large-head 300000":   "a head of",
		"large-head 20000000": "RESPONSE of",
		"large-abort 100000":  "ABORT with a message of",
		"large-abort 5000000": "ABORT of",
		"garbage":             "size limit",
		"malformed":           "malformed",
	} {
		t.Run(do, func(t *testing.T) {
			s := start(t, Options{Processes: worker.Processes{Workers: 3}, Limits: Limits{Limits: worker.Limits{KillAfter: 100 * time.Millisecond}}})
			launched := s.Status().Launched
			if o := s.do(do, true); !errors.Is(o.err, ErrWorkerDied) {
				t.Errorf("%+v", o)
			}
			s.log.WaitFor(t, "the worker broke the protocol", want)
			testkit.Eventually(t, "three workers", func() bool { return fmt.Sprint(states(s.Status())) == "[ready ready ready]" })
			if n := s.Status().Launched - launched; n != 1 {
				t.Errorf("%d workers were replaced", n)
			}
			if n := len(s.log.String()); n > 20_000 {
				t.Errorf("the log has %d bytes", n)
			}
		})
	}
}

// The same with requests behind it, which other workers answer.
func TestBrokenProtocolBeforeOthers(t *testing.T) {
	for _, do := range []string{"answer-while-busy", "twice", "garbage", "malformed", "out-of-order"} {
		t.Run(do, func(t *testing.T) {
			s := start(t, Options{Processes: worker.Processes{Workers: 2}, Limits: Limits{Limits: worker.Limits{KillAfter: 100 * time.Millisecond}}})
			b := newBatch(t, s)
			b.add(do, false)
			var others []<-chan outcome
			for i := range 4 {
				others = append(others, b.add(fmt.Sprint("echo ", i), false))
			}
			b.send()
			failed := 0
			for i, c := range others {
				if o := testkit.Await(t, c); errors.Is(o.err, ErrWorkerDied) {
					failed++ // a second answer on its stream may be taken for the next one's doing
				} else if o.err != nil || o.body != fmt.Sprint(i) {
					t.Errorf("request %d gets %+v", i, o)
				}
			}
			if failed > 1 {
				t.Errorf("%d other requests failed", failed)
			}
			s.log.WaitFor(t, "the worker broke the protocol")
			testkit.Eventually(t, "all workers to be idle", s.isQuiet)
		})
	}
}

// The client gets the whole message of an exception, the log a short form.
func TestLongMessage(t *testing.T) {
	s := start(t, Options{})
	text := strings.Repeat("sorry ", 10_000)
	o := s.do("abort "+text, false)
	var abort *AbortError
	if !errors.As(o.err, &abort) || abort.Message != text || len(abort.Error()) > 2*4096 || !strings.Contains(abort.Error(), "bytes more") {
		t.Errorf("%.100v", o.err)
	}
}

func TestAnswerCutAtEveryByte(t *testing.T) {
	s := start(t, Options{Processes: worker.Processes{Workers: 2}})
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

// Workers die all the time. Every request ends, and only requests of a dying worker may fail.
func TestKillingAtRandom(t *testing.T) {
	s := start(t, Options{Processes: worker.Processes{Workers: 4}})
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
				if w.State == Ready.String() || w.State == Busy.String() {
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

// isWritten reports whether a request was written to the only worker.
func (s *started) isWritten() (is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.stations {
		is = len(w.duties) == 1 && w.process.Delivery().Written == w.duties[0].stream
		w.process.Flush() // returns when the write has ended
	}
	return is
}
