package worker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// zygote waits until the only zygote is ready, and returns it.
func (s *started) zygote() (z ZygoteStatus) {
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

func TestZygoteThatCannotStart(t *testing.T) {
	for fault, want := range map[string]string{
		"failed":           "no app today",
		"failed and stays": "no app today",
		"no start":         "it ended before it was ready (exit status 9): cannot find my boots",
		"silent":           "it was not ready after 300ms",
		"no role":          `it was started with the role "zygote" and says that it has the role ""`,
		"wrong version":    "it speaks version 99 of the protocol",
		"dies on fork":     "the zygote has gone",
		"cannot fork":      "the zygote cannot fork: no memory today",
		"ends when ready":  "", // before or after it is known to be ready
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			log := &testkit.Log{}
			patience := testkit.Patience
			if fault == "silent" {
				patience = 300 * time.Millisecond
			}
			p := prepare(t, Options{Processes: Processes{Preload: true}, Start: fakePreload(fault), Logger: log.Logger(), Limits: Limits{StartTimeout: patience, KillAfter: 200 * time.Millisecond}})
			err := p.Start(t.Context())
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %s", err, want)
			}
			if s := p.Status(); len(s.Workers)+len(s.Zygotes) > 0 {
				t.Errorf("left: %+v\n%s", s, log)
			}
			if _, err := os.Stat(p.Dir()); !os.IsNotExist(err) {
				t.Errorf("the directory is left: %v", err)
			}
		})
	}
	t.Run("before its context ends", func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errors.New("enough"))
		defer cancel()
		p := prepare(t, Options{Processes: Processes{Preload: true}, Start: fakePreload("silent"), Limits: Limits{KillAfter: 100 * time.Millisecond}})
		if err := p.Start(ctx); err == nil || !strings.Contains(err.Error(), "start the zygote: enough") {
			t.Errorf("error %v", err)
		}
	})
}

// A group can start a second zygote beside the first, as a reload does.
func TestSecondZygote(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken")
	s := preloading(t, "failed and stays:"+broken, Options{Processes: Processes{Workers: 2}})
	first, before := s.zygote(), s.serving(2)
	touch(t, broken)
	if _, err := s.startZygote(t.Context()); err == nil || err.Error() != "no app today" {
		t.Errorf("error %v", err)
	}
	if z := s.zygote(); z.PID != first.PID || z.Children != 2 {
		t.Errorf("the old one has not stayed: %+v", z)
	}
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	second, err := s.startZygote(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.adoptLocked(second)
	s.mu.Unlock()
	if all := s.Status().Zygotes; len(all) != 2 || all[0].State != "retired" || all[0].PID != first.PID || all[1].State != "ready" {
		t.Errorf("%+v", all)
	}
	for range 2 { // until the last worker of the first one is gone
		if isGone(first.PID) {
			t.Error("the first one has gone too early")
		}
		for _, w := range before {
			if !isGone(w.PID) {
				s.signal(w.PID, syscall.SIGKILL)
				testkit.Eventually(t, "it to be gone", func() bool {
					return isGone(w.PID) && !slices.ContainsFunc(s.Status().Workers, func(o ProcessStatus) bool { return o.ID == w.ID })
				})
				break
			}
		}
		s.serving(2)
	}
	if z := s.zygote(); z.ID != second.id || z.Children != 2 {
		t.Errorf("%+v", z)
	}
	if !isGone(first.PID) || strings.Contains(s.log.String(), "the zygote died") {
		t.Errorf("the first one has not gone in peace:\n%s", s.log)
	}
}
