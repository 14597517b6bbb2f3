package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/leased"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func states(s Status) (out []string) {
	for _, w := range s.Workers {
		out = append(out, w.State)
	}
	return out
}

func TestStates(t *testing.T) {
	s := start(t, Options{Processes: worker.Processes{Workers: 2}})
	if got := fmt.Sprint(states(s.Status())); got != "[ready ready]" {
		t.Errorf("after the start: %s", got)
	}
	gate := filepath.Join(t.TempDir(), "gate")
	running := s.async("wait "+gate, false)
	testkit.Eventually(t, "a busy worker", func() bool { return strings.Contains(fmt.Sprint(states(s.Status())), "busy") })
	touch(t, gate)
	if o := <-running; o.err != nil {
		t.Error(o.err)
	}
	testkit.Eventually(t, "two ready workers", func() bool { return fmt.Sprint(states(s.Status())) == "[ready ready]" })
	for state, name := range map[worker.State]string{worker.Starting: "starting", worker.Draining: "draining", worker.Exiting: "exiting", worker.Dead: "dead"} {
		if state.String() != name {
			t.Errorf("%d is called %s, want %s", state, state, name)
		}
	}
}

func TestStartFailures(t *testing.T) {
	for mode, want := range map[string]string{
		"no start":          "cannot find my boots",
		"failed":            "no app today",
		"silent":            "not ready after 300ms",
		"wrong version":     "version 99 of the protocol",
		"wrong token":       "it ended before it had served anything",
		"failed and stays":  "no app today",
		"idle before ready": "IDLE from a worker that was not busy",
	} {
		t.Run(mode, func(t *testing.T) {
			patience := time.Minute
			if mode == "silent" {
				patience = 300 * time.Millisecond
			}
			p := New(Options{Crew: leased.Maker(), Start: fakeStart(mode), Processes: worker.Processes{Workers: 2}, Limits: Limits{Limits: worker.Limits{StartTimeout: patience, KillAfter: 100 * time.Millisecond}}, Logger: (&testkit.Log{}).Logger()})
			err := p.Start(t.Context())
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
			if _, err := os.Stat(p.Dir()); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the directory is left: %v", err)
			}
			if _, err := p.Do(newRequest("pid", true)); !errors.Is(err, ErrClosed) {
				t.Errorf("a request afterwards: %v", err)
			}
		})
	}
}

func TestDirectoryIsPrivate(t *testing.T) {
	s := start(t, Options{})
	info, err := os.Stat(s.Dir())
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestWorkersServeSideBySide(t *testing.T) {
	s := start(t, Options{Processes: worker.Processes{Workers: 3}})
	gate := filepath.Join(t.TempDir(), "gate")
	var running []<-chan outcome
	for range 3 {
		running = append(running, s.async("wait "+gate, false))
	}
	testkit.Eventually(t, "three busy workers", func() bool { return fmt.Sprint(states(s.Status())) == "[busy busy busy]" })
	touch(t, gate)
	pids := map[string]bool{}
	for _, c := range running {
		pids[(<-c).body] = true
	}
	if len(pids) != 3 {
		t.Errorf("served by %v", pids)
	}
}

func TestAbandonedInTheQueue(t *testing.T) {
	s := start(t, Options{})
	gate := filepath.Join(t.TempDir(), "gate")
	notes := filepath.Join(t.TempDir(), "notes")
	first := s.async("wait "+gate, false)
	answer, err := s.Do(newRequest("note "+notes, false))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.ErrClosedPipe)
	if _, err := answer.Next(ctx); err != io.ErrClosedPipe {
		t.Errorf("error %v, want the context's cause", err)
	}
	answer.Close()
	if n := s.Status().Queued; n != 0 {
		t.Errorf("%d are queued", n)
	}
	touch(t, gate)
	<-first
	s.do("pid", false)
	if _, err := os.Stat(notes); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was done all the same: %v", err)
	}
}

func TestQueueLimits(t *testing.T) {
	s := start(t, Options{Limits: Limits{QueueSize: 2, QueueTimeout: 100 * time.Millisecond}})
	gate := filepath.Join(t.TempDir(), "gate")
	first := s.async("wait "+gate, false)
	a, b, c := s.async("pid", false), s.async("pid", false), s.async("pid", false)
	if o := <-c; !errors.Is(o.err, ErrQueueFull) {
		t.Errorf("one too many: %+v", o)
	}
	for _, waiting := range []<-chan outcome{a, b} {
		if o := <-waiting; !errors.Is(o.err, ErrQueueTimeout) {
			t.Errorf("one that waited too long: %+v", o)
		}
	}
	touch(t, gate)
	if o := <-first; o.err != nil {
		t.Error(o.err)
	}
}

func TestRequestTimeout(t *testing.T) {
	s := start(t, Options{Limits: Limits{Limits: worker.Limits{KillAfter: time.Second}, RequestTimeout: 100 * time.Millisecond}})
	if o := s.do("hang", true); !errors.Is(o.err, ErrTimeout) {
		t.Errorf("%+v", o)
	}
	if o := s.do("pid", true); o.err != nil {
		t.Errorf("the next one: %+v", o)
	}
}

// The answer is complete before the worker's clean-up is done, but the worker is free only
// afterwards.
func TestBusyAfterTheAnswer(t *testing.T) {
	s := start(t, Options{})
	gate := filepath.Join(t.TempDir(), "gate")
	if o := s.do("cleanup "+gate, false); o.err != nil {
		t.Fatal(o.err)
	}
	next := s.async("pid", false)
	if n := s.Status().Queued; n != 1 {
		t.Errorf("%d are queued, want 1", n)
	}
	touch(t, gate)
	if o := <-next; o.err != nil {
		t.Error(o.err)
	}
}

func TestOutputBeforeReady(t *testing.T) {
	s := start(t, Options{Start: fakeStart("talks")})
	s.log.WaitFor(t, `level=WARN msg="deprecated: all of it"`)
}

func TestOutputIsLogged(t *testing.T) {
	s := start(t, Options{Name: "/mount"})
	if o := s.do("print hello", false); o.err != nil {
		t.Fatal(o.err)
	}
	s.log.WaitFor(t, `level=WARN msg=hello mount=/mount worker=1 pid=`)
	s.log.WaitFor(t, `msg="logged hello"`)
	s.log.WaitFor(t, `request="print hello"`)
}

func TestStopWaitsForWhatIsRunning(t *testing.T) {
	s := start(t, Options{})
	gate := filepath.Join(t.TempDir(), "gate")
	running := s.async("wait "+gate, false)
	queued := s.async("pid", false)
	stopped := make(chan error)
	go func() { stopped <- s.Stop(context.Background()) }()
	testkit.Eventually(t, "new requests to be refused", func() bool { _, err := s.Do(newRequest("pid", false)); return errors.Is(err, ErrClosed) })
	touch(t, gate)
	for _, c := range []<-chan outcome{running, queued} {
		if o := <-c; o.err != nil {
			t.Error(o.err)
		}
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestStopKillsInTheEnd(t *testing.T) {
	s := start(t, Options{Limits: Limits{Limits: worker.Limits{KillAfter: 100 * time.Millisecond}}})
	running := s.async("hang", false)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
	if o := <-running; !errors.Is(o.err, ErrWorkerDied) {
		t.Errorf("%+v", o)
	}
}

// TestStopWithoutTimeLeft has workers, a zygote and left-over children ignore TERM. All are killed
// long before the kill grace is over, and the directory is removed.
func TestStopWithoutTimeLeft(t *testing.T) {
	for name, begin := range map[string]func(*testing.T, Options) *started{
		"started": start,
		"forked":  func(t *testing.T, opt Options) *started { return preloading(t, "", opt) },
	} {
		t.Run(name, func(t *testing.T) {
			s := begin(t, Options{Processes: worker.Processes{Workers: 2}, Limits: Limits{Limits: worker.Limits{KillAfter: time.Hour}}})
			pids := []int{}
			for _, w := range s.Status().Workers {
				pids = append(pids, w.PID)
			}
			for _, z := range s.Status().Zygotes {
				pids = append(pids, z.PID)
			}
			running := s.async("hang-deaf", false)
			testkit.Eventually(t, "a worker to be busy", func() bool { return slices.Contains(states(s.Status()), Busy.String()) })
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			began := time.Now()
			if err := s.Stop(ctx); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took > 6*time.Second {
				t.Errorf("it took %v", took)
			}
			if o := <-running; !errors.Is(o.err, ErrWorkerDied) {
				t.Errorf("%+v", o)
			}
			for _, pid := range pids {
				if state := processState(pid); state != "" && state != "Z" {
					t.Errorf("process %d is left (%s)", pid, state)
				}
			}
			if _, err := os.Stat(s.Dir()); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the directory: %v", err)
			}
		})
	}
}

// processState returns the letter of a process's state, "" for none.
func processState(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return rest[:1]
}
