package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/leased"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// preloading starts a pool with a zygote that has that fault.
func preloading(t *testing.T, fault string, opt Options) *started {
	t.Helper()
	opt.Preload, opt.Start = true, fakePreload(fault)
	if opt.KillAfter == 0 {
		opt.KillAfter = 200 * time.Millisecond
	}
	return start(t, opt)
}

// zygote waits until the only zygote is ready, and returns it.
func (s *started) zygote() (z worker.ZygoteStatus) {
	s.t.Helper()
	testkit.Eventually(s.t, "a zygote", func() bool {
		all := s.Status().Zygotes
		if len(all) != 1 || all[0].State != "ready" {
			return false
		}
		z = all[0]
		return true
	})
	return z
}

func (s *started) signal(pid int, signal syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(pid, signal); err != nil {
		s.t.Fatal(err)
	}
}

// readyWorkers waits until there are n ready workers and no others.
func (s *started) readyWorkers(n int) []worker.ProcessStatus {
	s.t.Helper()
	testkit.Eventually(s.t, fmt.Sprintf("%d ready workers", n), func() bool {
		all := states(s.Status())
		return len(all) == n && !slices.ContainsFunc(all, func(s string) bool { return s != Ready.String() })
	})
	return s.Status().Workers
}

func isGone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// The pool notices the end of every process and replaces it, in whatever order a zygote and its
// workers die.
func TestOrdersOfDeath(t *testing.T) {
	crash := func(t *testing.T, s *started, want string) {
		t.Helper()
		if o := s.do("crash", false); !errors.Is(o.err, ErrWorkerDied) || !strings.Contains(o.err.Error(), want) {
			t.Errorf("%+v, want %q", o, want)
		}
		if o := s.do("pid", false); o.err != nil {
			t.Errorf("the next one: %+v", o)
		}
	}
	t.Run("the worker", func(t *testing.T) {
		crash(t, preloading(t, "", Options{}), "exit status 7")
	})
	t.Run("the zygote, then the worker", func(t *testing.T) {
		s := preloading(t, "", Options{})
		z, before := s.zygote(), s.do("pid", false).body
		s.signal(z.PID, syscall.SIGKILL)
		s.log.WaitFor(t, "the zygote died; its workers go on", `exit="signal: killed"`, "workers=1")
		if o := s.do("pid", false); o.body != before {
			t.Errorf("%+v, before it was %s", o, before)
		}
		if again := s.zygote(); again.ID != 2 || again.Children != 0 {
			t.Errorf("%+v", again)
		}
		crash(t, s, "how is not known")
		if again := s.zygote(); again.Children != 1 {
			t.Errorf("the new zygote forks: %+v", again)
		}
	})
	t.Run("the zygote, then the worker before there is another zygote", func(t *testing.T) {
		s := preloading(t, "", Options{})
		s.signal(s.zygote().PID, syscall.SIGKILL)
		crash(t, s, "")
	})
	t.Run("both at once", func(t *testing.T) {
		s := preloading(t, "", Options{Processes: worker.Processes{Workers: 2}})
		z, workers := s.zygote(), s.readyWorkers(2)
		for _, pid := range []int{workers[0].PID, z.PID, workers[1].PID} {
			s.signal(pid, syscall.SIGKILL)
		}
		testkit.Eventually(t, "both workers to be gone", func() bool { return isGone(workers[0].PID) && isGone(workers[1].PID) })
		testkit.Eventually(t, "an answer", func() bool { return s.do("pid", true).err == nil })
		s.readyWorkers(2)
	})
	t.Run("the worker, while the zygote says nothing", func(t *testing.T) {
		s := preloading(t, "keeps silent", Options{})
		crash(t, s, "its zygote having kept silent")
	})
	t.Run("the worker, while the zygote is stopped", func(t *testing.T) {
		s := preloading(t, "", Options{Limits: Limits{Limits: worker.Limits{StartTimeout: 2 * time.Second}}})
		z := s.zygote()
		s.signal(z.PID, syscall.SIGSTOP)
		crash(t, s, "its zygote having kept silent")
		s.log.WaitFor(t, "the zygote was killed", "has not forked it in time")
		if again := s.zygote(); again.PID == z.PID {
			t.Errorf("%+v", again)
		}
	})
	t.Run("the zygote, when it is to fork", func(t *testing.T) { testFaultyFork(t, "dies on fork") })
	t.Run("the zygote, when it has forked", func(t *testing.T) { testFaultyFork(t, "dies after fork") })
	t.Run("none, but the zygote hangs when it is to fork", func(t *testing.T) { testFaultyFork(t, "hangs on fork") })
}

// testFaultyFork has a zygote fail when it forks the second worker. A request waits for the zygote
// that replaces it.
func testFaultyFork(t *testing.T, fault string) {
	file := filepath.Join(t.TempDir(), "now")
	opt := Options{}
	if fault == "hangs on fork" {
		opt.StartTimeout = 2 * time.Second
	}
	s := preloading(t, fault+":"+file, opt)
	touch(t, file)
	if o := s.do("crash", false); !errors.Is(o.err, ErrWorkerDied) {
		t.Errorf("%+v", o)
	}
	s.log.WaitFor(t, "level=ERROR msg=\"the zygote ", "zygote=1")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "an answer", func() bool { return s.do("pid", false).err == nil })
	if strings.Contains(s.log.String(), "a worker cannot be started") {
		t.Errorf("that is the zygote's fault:\n%s", s.log)
	}
}

// A zygote that breaks the protocol is killed and replaced; the workers go on.
func TestZygoteThatBreaksTheProtocol(t *testing.T) {
	for fault, want := range map[string]string{
		"garbage":       "over the size limit",
		"unknown frame": "a 0x77 frame from a zygote",
		"an answer":     "a RESPONSE frame from a zygote",
		"ready twice":   "a second READY",
		"unknown child": "none of its children",
		"malformed":     "malformed frame: EXITED",
		"unasked fork":  "FORKED for a worker that nobody has asked for",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			s := preloading(t, fault, Options{})
			z, before := s.zygote(), s.do("pid", false).body
			s.signal(z.PID, syscall.SIGUSR1)
			s.log.WaitFor(t, "the zygote broke the protocol and is killed", want, "zygote=1")
			s.log.WaitFor(t, "the zygote was killed; its workers go on", want)
			if again := s.zygote(); again.PID == z.PID {
				t.Errorf("%+v", again)
			}
			if o := s.do("pid", false); o.err != nil || o.body != before {
				t.Errorf("%+v, before it was %s", o, before)
			}
		})
	}
	for _, fault := range []string{"says pid 1", "says the gateway's pid", "says its own pid", "announces another"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			log := &testkit.Log{}
			p := New(Options{Crew: leased.Maker(), Processes: worker.Processes{Preload: true, Workers: 1}, Start: fakePreload(fault), Logger: log.Logger(), Limits: Limits{Limits: worker.Limits{StartTimeout: time.Second, KillAfter: 200 * time.Millisecond}}})
			err := p.Start(t.Context())
			want := "which is no such process"
			if fault == "announces another" {
				want = "where the zygote has announced process"
			}
			if err == nil || !strings.Contains(log.String(), want) {
				t.Errorf("error %v, want %q in the log:\n%s", err, want, log)
			}
		})
	}
}

// An application that cannot be loaded again is logged once, and meanwhile the workers serve. Once
// it can be loaded, a new zygote replaces the old one.
func TestFailingZygotes(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken")
	s := preloading(t, "failed:"+broken, Options{Processes: worker.Processes{Workers: 2}})
	touch(t, broken)
	s.signal(s.zygote().PID, syscall.SIGKILL)
	s.log.WaitFor(t, `level=ERROR msg="the application cannot be loaded"`, `error="no app today"`)
	if o := s.do("crash", false); !errors.Is(o.err, ErrWorkerDied) {
		t.Errorf("%+v", o)
	}
	if o := s.do("pid", false); o.err != nil {
		t.Errorf("by the other worker: %+v", o)
	}
	if o := s.do("crash", false); !errors.Is(o.err, ErrWorkerDied) {
		t.Errorf("%+v", o)
	}
	testkit.Eventually(t, "the last worker to be gone", func() bool { return len(s.Status().Workers) == 0 })
	testkit.Eventually(t, "a request to be refused", func() bool { return errors.Is(s.do("pid", false).err, ErrNoWorkers) })
	if after := s.RetryAfter(); after < time.Second || after > 30*time.Second {
		t.Errorf("to be tried again after %v", after)
	}
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	s.readyWorkers(2)
	if n := strings.Count(s.log.String(), `level=ERROR msg="the application cannot be loaded"`); n != 1 {
		t.Errorf("told %d times", n)
	}
	if n := s.Status().Zygotes[0].ID; n > 6 {
		t.Errorf("%d zygotes were started", n)
	}
}

// Stop does not wait for a zygote that sends no frames.
func TestStopWithABadZygote(t *testing.T) {
	for _, fault := range []string{"silent", "hangs on fork"} {
		t.Run(fault, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "now")
			s := preloading(t, fault+":"+file, Options{})
			z := s.zygote()
			touch(t, file)
			if fault == "silent" {
				s.signal(z.PID, syscall.SIGKILL)
				testkit.Eventually(t, "the next one", func() bool {
					all := s.Status().Zygotes
					return len(all) == 1 && all[0].State == "starting" && all[0].PID != 0
				})
			} else {
				s.do("crash", false)
				testkit.Eventually(t, "a worker to be forked", func() bool { return s.Status().Launched == 2 })
			}
			began := time.Now()
			if err := s.Stop(context.Background()); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}
