package worker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// Any number of calls during a reload leads to one further reload.
func TestReloadsAreJoined(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "gate")
	touch(t, gate)
	s := start(t, Options{Start: fakeStart("starts when:" + gate)})
	if err := os.Remove(gate); err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 6)
	ask := func() { results <- s.reload() }
	go ask()
	testkit.Eventually(t, "the first to begin", func() bool { return s.Status().Launched == 2 })
	for range 5 {
		go ask()
	}
	testkit.Eventually(t, "the others to wait", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.reloads.pending != nil
	})
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Reload(short); !errors.Is(err, context.Canceled) {
		t.Errorf("one that does not want to wait: %v", err)
	}
	touch(t, gate)
	for range 6 {
		if err := testkit.Await(t, results); err != nil {
			t.Error(err)
		}
	}
	if status := s.Status(); status.Launched > 4 || status.Generation > 4 { // 1, the first, the joined, and one of the 5 that came late
		t.Errorf("%+v", status)
	}
}

func TestStopEndsAReload(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "gate")
	touch(t, gate)
	s := start(t, Options{Start: fakeStart("starts when:" + gate), Limits: Limits{KillAfter: 100 * time.Millisecond}})
	if err := os.Remove(gate); err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 2)
	for range 2 {
		go func() { results <- s.reload() }()
	}
	testkit.Eventually(t, "the new worker to be started and another reload to wait", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.reloads.pending != nil && s.launched == 2
	})
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := testkit.Await(t, results); !errors.Is(err, ErrClosed) {
			t.Errorf("%v", err)
		}
	}
}
