package pool

import (
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// Interim responses count against the limit on the memory for a slow client, too.
func TestHeadsAreLimited(t *testing.T) {
	s := start(t, Options{Limits: Limits{AnswerMemory: 64 << 10}})
	answer, err := s.Do(newRequest("early 200", false))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close()
	testkit.Eventually(t, "the workers are as they should be", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for w := range s.stations {
			return w.process.Paused()
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

// A worker that sends frames out of order is ended. Its client gets the part of the answer that
// came before.
func TestFramesOutOfOrder(t *testing.T) {
	for _, tt := range []struct {
		do, want string
		answered bool
	}{
		{"two-heads", "a RESPONSE frame after the RESPONSE", false},
		{"late-failed", "FAILED after READY", false},
		{"out-of-order", "is next", false},
		{"twice", "no request is left to be answered", true},
		{"answer-while-busy", "after FIN with BUSY, before IDLE", true},
	} {
		t.Run(tt.do, func(t *testing.T) {
			s := start(t, Options{Limits: Limits{Limits: worker.Limits{KillAfter: 100 * time.Millisecond}}})
			if o := s.do(tt.do, false); (o.err == nil) != tt.answered {
				t.Errorf("answered %q, %v", o.body, o.err)
			}
			s.log.WaitFor(t, tt.want)
			if o := s.do("pid", false); o.err != nil {
				t.Errorf("afterwards: %v", o.err)
			}
		})
	}
}
