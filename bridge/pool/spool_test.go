package pool

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

const bigAnswer = 5 << 20

// checkWaitingAnswer has a worker give a large answer to a slow client. It waits until the worker
// waits for that client, and checks that the client gets the whole answer.
func checkWaitingAnswer(t *testing.T, s *started) {
	t.Helper()
	answer, err := s.Do(newRequest("big "+strconv.Itoa(bigAnswer), false))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close()
	testkit.Eventually(t, "the worker to wait", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for w := range s.stations {
			if w.process.Paused() {
				return true
			}
		}
		return false
	})
	if o := read(answer); o.err != nil || o.body != strings.Repeat("0123456789abcdef", bigAnswer/16) {
		t.Errorf("%d bytes, %v", len(o.body), o.err)
	}
}

// If an answer cannot be spooled, its worker waits for the client. The answer is still complete.
func TestSpoolFails(t *testing.T) {
	t.Run("its file cannot be made", func(t *testing.T) {
		s := start(t, Options{Limits: Limits{AnswerMemory: 1}})
		away := s.Dir() + "-away"
		if err := os.Rename(s.Dir(), away); err != nil {
			t.Fatal(err)
		}
		checkWaitingAnswer(t, s)
		s.log.WaitFor(t, "cannot be spooled")
		if err := os.Rename(away, s.Dir()); err != nil {
			t.Error(err)
		}
	})
}

// The files of all answers together have a limit. A closed answer gives its share back.
func TestSpoolTotal(t *testing.T) {
	const total = 600_000
	s := start(t, Options{Processes: worker.Processes{Workers: 3}, Limits: Limits{AnswerMemory: 1, AnswerSpoolTotal: total}})
	var answers []*Answer
	for range 3 {
		answer, err := s.Do(newRequest("big "+strconv.Itoa(bigAnswer), false))
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, answer)
	}
	testkit.Eventually(t, "all workers to wait", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for w := range s.stations {
			if !w.process.Paused() {
				return false
			}
		}
		return true
	})
	if n := s.spooled.Load(); n == 0 || n > total {
		t.Errorf("%d bytes are spooled, at most %d may be", n, total)
	}
	answers[0].Close() // its client leaves
	for _, answer := range answers[1:] {
		if o := read(answer); o.err != nil || len(o.body) != bigAnswer {
			t.Errorf("%d bytes, %v", len(o.body), o.err)
		}
		answer.Close()
	}
	if n := s.spooled.Load(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
}

// A spooled answer that cannot be read again does not count as complete.
func TestSpoolCannotBeRead(t *testing.T) {
	s := start(t, Options{Limits: Limits{AnswerMemory: 1}})
	answer, err := s.Do(newRequest("big "+strconv.Itoa(bigAnswer), false))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close()
	testkit.Eventually(t, "the answer to be spooled", func() bool {
		answer.x.mu.Lock()
		defer answer.x.mu.Unlock()
		return answer.x.fin
	})
	answer.x.mu.Lock()
	err = answer.x.spool.file.Truncate(bigAnswer / 2)
	answer.x.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if o := read(answer); o.err == nil || !strings.Contains(o.err.Error(), "read a spooled answer") {
		t.Errorf("%d bytes, %v", len(o.body), o.err)
	}
}

// Next after Close returns no data of any answer.
func TestNextAfterClose(t *testing.T) {
	s := start(t, Options{})
	answer, err := s.Do(newRequest("echo secret", false))
	if err != nil {
		t.Fatal(err)
	}
	answer.Close()
	answer.Close()
	if piece, err := answer.Next(context.Background()); err == nil {
		t.Errorf("got %q", piece.Body)
	}
}
