package pool

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/leased"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// newest returns the worker that was started last.
func (s *started) newest() (w *station) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for other := range s.stations {
		if w == nil || other.process.ID() > w.process.ID() {
			w = other
		}
	}
	return w
}

// told returns the state of a worker, as Status tells it; "dead" for one that has ended.
func (w *station) told() string {
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	return w.stateOf(w.process.State().String())
}

// isGone reports whether a worker gets no more requests.
func (w *station) isGone() bool {
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	return w.phase == gone
}

// passes waits until w has been in each of the states, in this order.
func (s *started) passes(w *station, states ...fmt.Stringer) {
	s.t.Helper()
	for _, state := range states {
		testkit.Eventually(s.t, "a worker to be "+state.String(), func() bool { return w.told() == state.String() })
	}
}

// pid returns the process number of a worker.
func (s *started) pid(w *station) (pid int) {
	for _, told := range s.Status().Workers {
		if told.ID == w.process.ID() {
			pid = told.PID
		}
	}
	return pid
}

// TestTransitions takes a worker through every arrow of the drawings in state.go and in state.go of package worker.
func TestTransitions(t *testing.T) {
	if leased.Maker() != nil {
		t.Skip("a gateway has no station for a worker that is starting at its keeper")
	}
	const grace = 200 * time.Millisecond
	path := func(t *testing.T) string { return filepath.Join(t.TempDir(), "f") }
	background := context.Background()
	kill := func(t *testing.T, pid int) {
		t.Helper()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	// reloadInto starts a reload and returns the new worker; the reload runs while the test goes
	// on.
	reloadInto := func(s *started) *station {
		before := s.newest()
		result := make(chan error, 1)
		go func() { result <- s.Reload(background) }()
		s.t.Cleanup(func() { <-result }) // the outcome of the reload does not matter here
		testkit.Eventually(s.t, "a new worker", func() bool { return s.newest() != before })
		return s.newest()
	}

	t.Run("starting, ready, busy, ready", func(t *testing.T) {
		gate, work := path(t), path(t)
		touch(t, gate)
		s := start(t, Options{Start: fakeStart("starts when:" + gate)})
		if err := os.Remove(gate); err != nil {
			t.Fatal(err)
		}
		old := s.newest()
		w := reloadInto(s)
		s.passes(w, worker.Starting)
		touch(t, gate)
		s.passes(w, Ready)
		testkit.Eventually(t, "the old worker to get no more requests", old.isGone)
		running := s.async("wait "+work, false)
		s.passes(w, Busy)
		touch(t, work)
		<-running
		s.passes(w, Ready)
	})
	t.Run("starting, exiting because it failed, dead", func(t *testing.T) {
		broken := path(t)
		s := start(t, Options{Start: fakeStart("fails when:" + broken), Limits: Limits{Limits: worker.Limits{KillAfter: grace}}})
		touch(t, broken)
		s.passes(reloadInto(s), worker.Exiting, worker.Dead)
	})
	t.Run("starting, exiting because it is late, dead", func(t *testing.T) {
		broken := path(t)
		s := start(t, Options{Start: fakeStart("hangs deaf when:" + broken), Limits: Limits{Limits: worker.Limits{StartTimeout: 300 * time.Millisecond, KillAfter: grace}}})
		touch(t, broken)
		s.passes(reloadInto(s), worker.Starting, worker.Exiting, worker.Dead)
	})
	t.Run("starting, exiting because it was told to go, dead", func(t *testing.T) {
		broken := path(t)
		s := start(t, Options{Start: fakeStart("hangs deaf when:" + broken), Limits: Limits{Limits: worker.Limits{KillAfter: grace}}})
		touch(t, broken)
		w := reloadInto(s)
		testkit.Eventually(t, "it not to listen", func() bool { _, err := os.Stat(broken + ".deaf"); return err == nil })
		stopped := make(chan error, 1)
		go func() { stopped <- s.Stop(background) }()
		s.passes(w, worker.Exiting, worker.Dead)
		<-stopped
	})
	t.Run("ready, draining, exiting because it does not go, dead", func(t *testing.T) {
		s := start(t, Options{Start: fakeStart("lingers"), Limits: Limits{Limits: worker.Limits{KillAfter: grace}}})
		w := s.newest()
		reloadInto(s)
		s.passes(w, worker.Draining, worker.Exiting, worker.Dead)
		s.log.WaitFor(t, "it was told to go and has not gone for 200ms")
	})
	t.Run("busy, draining, dead", func(t *testing.T) {
		s := start(t, Options{Limits: Limits{Limits: worker.Limits{KillAfter: grace}}})
		w := s.newest()
		running := s.async("hang-deaf", false)
		s.passes(w, Busy)
		time.Sleep(50 * time.Millisecond) // it must have stopped listening
		ctx, cancel := context.WithCancel(background)
		cancel()
		stopped := make(chan error, 1)
		go func() { stopped <- s.Stop(ctx) }()
		s.passes(w, worker.Draining, worker.Dead)
		<-running
		<-stopped
	})
	t.Run("busy, exiting because it said so, dead", func(t *testing.T) {
		s := start(t, Options{Limits: Limits{Limits: worker.Limits{KillAfter: grace}}})
		w := s.newest()
		s.do("leave-slowly", false)
		s.passes(w, worker.Exiting, worker.Dead)
	})
	t.Run("busy, exiting because it ran into its limit, dead", func(t *testing.T) {
		s := start(t, Options{Limits: Limits{Limits: worker.Limits{KillAfter: grace}, RequestTimeout: 200 * time.Millisecond}})
		w := s.newest()
		s.do("hang-deaf", false)
		s.passes(w, worker.Exiting, worker.Dead)
	})
	t.Run("ready, exiting because its process ended, dead", func(t *testing.T) {
		s := start(t, Options{})
		w := s.newest()
		child, err := strconv.Atoi(s.do("daemon stays", false).body) // the child keeps the connection open
		if err != nil {
			t.Fatal(err)
		}
		s.passes(w, Ready)
		kill(t, s.pid(w))
		s.passes(w, worker.Exiting, worker.Dead)
		kill(t, child)
	})
	t.Run("draining, dead because it went", func(t *testing.T) {
		s := start(t, Options{})
		w := s.newest()
		reloadInto(s)
		s.passes(w, worker.Dead)
	})
}
