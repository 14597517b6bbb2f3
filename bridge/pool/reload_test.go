package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// versioned starts a pool whose workers answer "version" with the content that the file had when
// they were started. Without the file no worker can be started.
func versioned(t *testing.T, opt Options) (s *started, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "version")
	setVersion(t, file, "one")
	opt.Start = fakeStart("version:" + file)
	if opt.KillAfter == 0 {
		opt.KillAfter = 200 * time.Millisecond
	}
	return start(t, opt), file
}

func setVersion(t *testing.T, file, version string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(version), 0o600); err != nil {
		t.Fatal(err)
	}
}

// reload reloads the pool, within the time limit of a test.
func (s *started) reload() error {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	return s.Reload(ctx)
}

func generations(s Status) (out []int) {
	for _, w := range s.Workers {
		if w.State == worker.Starting.String() || w.State == Ready.String() || w.State == Busy.String() {
			out = append(out, w.Generation)
		}
	}
	return out
}

func TestReload(t *testing.T) {
	s, file := versioned(t, Options{Processes: worker.Processes{Workers: 5}})
	for n, version := range []string{"two", "three"} {
		setVersion(t, file, version)
		if err := s.reload(); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if o := s.do("version", false); o.body != version || o.err != nil {
				t.Fatalf("after the reload: %+v, want %s", o, version)
			}
		}
		want := fmt.Sprint([]int{n + 2, n + 2, n + 2, n + 2, n + 2})
		if got := fmt.Sprint(generations(s.Status())); got != want || s.Status().Generation != n+2 {
			t.Errorf("generations %s of %d, want %s", got, s.Status().Generation, want)
		}
		if launched := s.Status().Launched; launched != 5*(n+2) {
			t.Errorf("%d workers were started, want %d", launched, 5*(n+2))
		}
	}
	testkit.Eventually(t, "the old ones to be gone", func() bool { return len(s.Status().Workers) == 5 })
}

// A worker with a request finishes it; its successor serves meanwhile.
func TestReloadWaitsForNoRequest(t *testing.T) {
	s, file := versioned(t, Options{Processes: worker.Processes{Workers: 1}})
	gate := filepath.Join(t.TempDir(), "gate")
	running := s.async("wait "+gate, false)
	setVersion(t, file, "two")
	if err := s.reload(); err != nil {
		t.Fatal(err)
	}
	if o := s.do("version", false); o.body != "two" {
		t.Errorf("%+v", o)
	}
	touch(t, gate)
	if o := <-running; o.err != nil {
		t.Error(o.err)
	}
	testkit.Eventually(t, "the old one to be gone", func() bool { return len(s.Status().Workers) == 1 })
}

func TestReloadUnderLoad(t *testing.T) {
	s, file := versioned(t, Options{Processes: worker.Processes{Workers: 4}})
	done := make(chan struct{})
	var clients sync.WaitGroup
	for n := range 8 {
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if o := s.do("version", n%2 == 0); o.err != nil || o.body == "" {
					t.Errorf("%+v", o)
					return
				}
			}
		})
	}
	for n := range 4 {
		setVersion(t, file, fmt.Sprint(n))
		if err := s.reload(); err != nil {
			t.Error(err)
		}
	}
	close(done)
	clients.Wait()
}

// A version that cannot be loaded costs one start, and the old workers go on.
func TestReloadOfABrokenVersion(t *testing.T) {
	for name, c := range map[string]struct{ mode, words string }{
		"that says why":               {"fails when:", "no app today"},
		"that ends with words":        {"dies when:", "cannot find my boots"},
		"that is never ready":         {"hangs when:", "not ready after 3s"},
		"that ends as soon as it can": {"exits when:", "exit status 9"},
	} {
		t.Run(name, func(t *testing.T) {
			broken := filepath.Join(t.TempDir(), "broken")
			patience := time.Minute
			if c.mode == "hangs when:" {
				patience = 3 * time.Second // a start of the repaired version must be faster
			}
			s := start(t, Options{Processes: worker.Processes{Workers: 3}, Start: fakeStart(c.mode + broken), Limits: Limits{Limits: worker.Limits{StartTimeout: patience, KillAfter: 100 * time.Millisecond}}})
			touch(t, broken)
			if err := s.reload(); err == nil || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%v, want %q", err, c.words)
			}
			status := s.Status()
			if got := fmt.Sprint(generations(status)); got != "[1 1 1]" || status.Launched != 4 || status.Generation != 1 {
				t.Errorf("%+v", status)
			}
			if status.Problem != "" || status.Circuit != worker.Closed.String() {
				t.Errorf("a failed reload counts as a failed start: %+v", status)
			}
			if o := s.do("pid", false); o.err != nil {
				t.Error(o.err)
			}
			if err := os.Remove(broken); err != nil {
				t.Fatal(err)
			}
			if err := s.reload(); err != nil {
				t.Errorf("once it is repaired: %v", err)
			}
			if got := fmt.Sprint(generations(s.Status())); got != "[3 3 3]" {
				t.Errorf("generations %s", got)
			}
		})
	}
}

// A reload that fails half-way leaves the new workers and the old ones in place.
func TestReloadThatBreaksHalfWay(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken")
	s := start(t, Options{Processes: worker.Processes{Workers: 3}, Start: fakeStart("fails from:6:" + broken)})
	touch(t, broken)
	if err := s.reload(); err == nil || !strings.Contains(err.Error(), "no app today") {
		t.Errorf("%v", err)
	}
	if got := fmt.Sprint(generations(s.Status())); got != "[1 2 2]" {
		t.Errorf("generations %s, want the last one as it was", got)
	}
	if got := s.Status().Generation; got != 2 {
		t.Errorf("what is started now is of generation %d", got)
	}
}

// A reload repairs a pool that cannot start any worker, without waiting for the time
// of the next attempt.
func TestReloadOfADeadPool(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken")
	s := start(t, Options{Processes: worker.Processes{Workers: 2}, Start: fakeStart("exits when:" + broken)})
	touch(t, broken)
	for s.Status().Circuit == worker.Closed.String() {
		s.do("crash", false)
	}
	testkit.Eventually(t, "no worker to be left and a long wait", func() bool {
		status := s.Status()
		return len(status.Workers) == 0 && time.Until(status.NextStart) > 2*time.Second
	})
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := s.reload(); err != nil {
		t.Fatal(err)
	}
	if o := s.do("pid", false); o.err != nil || time.Since(began) > 2*time.Second {
		t.Errorf("%+v after %v", o, time.Since(began))
	}
	testkit.Eventually(t, "both workers", func() bool { return fmt.Sprint(generations(s.Status())) == "[2 2]" })
}

func TestReloadOfAClosedPool(t *testing.T) {
	s := start(t, Options{})
	if err := New(Options{}).Reload(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("before the start: %v", err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("afterwards: %v", err)
	}
}
