package pool

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// steadily makes the pool believe that its application has been quick for long.
func (s *started) steadily() {
	s.mu.Lock()
	s.steady = steadyRequests
	s.mu.Unlock()
}

func others(n int) (list []*Request) {
	for range n {
		list = append(list, newRequest("pid", true))
	}
	return list
}

// A worker that keeps answers, while it is busy with one of the requests behind them.
// Nobody may take the first one for that.
func TestRequestBehindKeptAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, do string
		err      error
		killed   int // workers
	}{
		{"is slow", "hold-then wait ", nil, 0},
		{"hangs", "hold-then hang ", ErrTimeout, 2},
		{"crashes", "hold-then crash ", ErrWorkerDied, 3}, // taken back, alone, and repeated once
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, Options{Workers: 3, RequestTimeout: 500 * time.Millisecond, KillGrace: 100 * time.Millisecond})
			s.steadily()
			file := filepath.Join(t.TempDir(), "go-on")
			launched := s.Status().Launched
			// The first four are a worker's share of them.
			outcomes := enqueue(t, s, append([]*Request{newRequest("hold a", true), newRequest("hold b", true),
				newRequest(tt.do+file, true), newRequest("hold c", true)}, others(8)...)...)
			for i, want := range map[int]string{0: "a", 1: "b", 3: "c"} {
				if o := testkit.Await(t, outcomes[i]); o.err != nil || o.body != want {
					t.Errorf("request %d, which is quick: %+v", i, o)
				}
			}
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if o := testkit.Await(t, outcomes[2]); !errors.Is(o.err, tt.err) {
				t.Errorf("the other one: %+v, want %v", o, tt.err)
			}
			for range 4 { // both places serve again
				if o := s.do("pid", false); o.err != nil {
					t.Errorf("afterwards: %v", o.err)
				}
			}
			if n := s.Status().Launched - launched; n > tt.killed {
				t.Errorf("%d workers were replaced, want %d at most", n, tt.killed)
			}
			if log := s.log.String(); strings.Contains(log, `request="hold a"`) && !strings.Contains(log, "behind it") {
				t.Error("the log takes the first request for the one that ran")
			}
		})
	}
}

// A worker is not free before it has answered what was taken back from it.
func TestWorkerOwesAnswers(t *testing.T) {
	s := start(t, Options{Workers: 2})
	s.steadily()
	file := filepath.Join(t.TempDir(), "go-on")
	outcomes := enqueue(t, s, append([]*Request{newRequest("hold a", true), newRequest("hold-then wait "+file, true)}, others(2)...)...)
	if o := testkit.Await(t, outcomes[0]); o.body != "a" {
		t.Fatalf("%+v", o)
	}
	// Both workers wait for the file now.
	testkit.Eventually(t, "the workers are as they should be", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		busy := 0
		for w := range s.workers {
			if w.state == Busy && (w.unsure && len(w.owed) > 0 || len(w.inflight) == 1) {
				busy++
			}
		}
		return busy == 2 && len(s.idle) == 0
	})
	next := s.async("pid", false)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, waiting := range append(outcomes[1:], next) {
		if o := testkit.Await(t, waiting); o.err != nil {
			t.Error(o.err)
		}
	}
	testkit.Eventually(t, "the workers are as they should be", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.idle) == 2
	})
}

// Interim responses do not get around the limit on what is kept for a slow client.
func TestHeadsAreLimited(t *testing.T) {
	s := start(t, Options{Memory: 64 << 10})
	answer, err := s.Do(newRequest("early 200", false))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close()
	testkit.Eventually(t, "the workers are as they should be", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for w := range s.workers {
			return w.paused
		}
		return false
	})
	x := answer.x
	x.mu.Lock()
	kept := x.memory
	x.mu.Unlock()
	if kept > 64<<10 {
		t.Errorf("%d bytes are kept", kept)
	}
	n := 0
	for {
		piece, err := answer.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if piece.Informational {
			n++
		}
		if piece.Last {
			break
		}
	}
	if n != 200 {
		t.Errorf("%d interim responses arrived", n)
	}
}

func TestFramesOutOfOrder(t *testing.T) {
	for do, want := range map[string]string{
		"two-heads":   "a RESPONSE frame after the RESPONSE",
		"late-failed": "FAILED after READY",
	} {
		t.Run(do, func(t *testing.T) {
			s := start(t, Options{KillGrace: 100 * time.Millisecond})
			if o := s.do(do, false); o.err == nil {
				t.Errorf("answered %q", o.body)
			}
			s.log.WaitFor(t, want)
			if o := s.do("pid", false); o.err != nil {
				t.Errorf("afterwards: %v", o.err)
			}
		})
	}
}

// What is given to a worker whose connection has just ended was never delivered, and
// goes to another one.
func TestUndelivered(t *testing.T) {
	s := start(t, Options{Workers: 2})
	s.mu.Lock()
	w := s.idle[len(s.idle)-1]
	conn := w.conn
	s.mu.Unlock()
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if o := s.do("pid", false); o.err != nil {
			t.Error(o.err)
		}
	}
}
