package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// Every answer proves to which request it belongs: it repeats a word that only this request has.
// Workers are stopped, continued and killed meanwhile, and clients leave.
func TestWhoseAnswerItIs(t *testing.T) {
	s := start(t, Options{
		Processes: worker.Processes{Workers: 3}, Limits: Limits{Limits: worker.Limits{KillAfter: 50 * time.Millisecond}, RequestTimeout: 250 * time.Millisecond, AnswerMemory: 8 << 10, AnswerSpool: 64 << 10, AnswerSpoolTotal: 128 << 10},
		// Give the other goroutines their chance at each hand-over.
		hook: func(_ handOver, _ *station, stream uint32) {
			if stream%7 == 0 {
				runtime.Gosched()
			}
		},
	})
	dir := t.TempDir()
	until := time.Now().Add(3 * time.Second)
	var clients sync.WaitGroup
	var words, whole atomic.Int64
	for i := range 16 {
		clients.Go(func() {
			random := rand.New(rand.NewPCG(10, uint64(i)))
			for time.Now().Before(until) {
				word := fmt.Sprintf("<%d>", words.Add(1))
				do := [...]string{"echo " + word, "echo " + word, "echo " + word, "echo-pieces 40 " + word,
					"echo-large 200000 " + word, "echo-file " + dir + " " + word}[random.IntN(6)]
				if askWhose(t, s, do, word, random.IntN(3) > 0, random.IntN(8) == 0) {
					whole.Add(1)
				}
			}
		})
	}
	clients.Go(func() { s.trouble(until) })
	clients.Wait()
	testkit.Eventually(t, "all workers to be idle", func() bool { return s.isQuiet() && len(s.Status().Workers) == 3 })
	t.Logf("%d requests, %d whole answers, %d workers", words.Load(), whole.Load(), s.Status().Launched)
	if whole.Load() < 100 {
		t.Error("hardly anything was answered")
	}
	if n := s.spooled.Load(); n != 0 {
		t.Errorf("%d bytes of spool are counted", n)
	}
}

// trouble stops, continues and kills workers.
func (s *started) trouble(until time.Time) {
	random := rand.New(rand.NewPCG(11, 0))
	for time.Now().Before(until) {
		workers := s.Status().Workers
		if len(workers) == 0 {
			continue
		}
		w := workers[random.IntN(len(workers))]
		if w.PID == 0 || w.State == worker.Starting.String() {
			time.Sleep(time.Millisecond)
			continue
		}
		if random.IntN(10) == 0 {
			_ = syscall.Kill(w.PID, syscall.SIGKILL) // it may have gone
		}
		_ = syscall.Kill(w.PID, syscall.SIGSTOP)
		time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
		_ = syscall.Kill(w.PID, syscall.SIGCONT)
		time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
	}
}

// askWhose makes one request and checks that its answer contains nothing of another request's
// answer. It reports whether the answer was complete.
func askWhose(t *testing.T, s *started, do, word string, safe, leaves bool) bool {
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	answer, err := s.Do(newRequest(do, safe))
	if err != nil {
		return false // no worker, for a moment
	}
	defer answer.Close()
	var got strings.Builder
	for {
		piece, err := answer.Next(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s is never answered", do)
		}
		if err != nil {
			break
		}
		if piece.File != nil {
			text, err := os.ReadFile(piece.File.Path)
			if err != nil {
				t.Error(err)
			}
			got.Write(text)
		}
		before := string(piece.Body)
		got.WriteString(before)
		if leaves {
			break
		}
		runtime.Gosched()
		if string(piece.Body) != before {
			t.Errorf("a piece of %s changes while it is read", word)
		}
		if piece.Last {
			checkWord(t, got.String(), word)
			return got.Len() > 0
		}
	}
	checkWord(t, got.String(), word)
	return false
}

// checkWord checks that a text is the beginning of a word repeated.
func checkWord(t *testing.T, text, word string) {
	t.Helper()
	r := strings.NewReader(text)
	piece := make([]byte, len(word))
	for {
		n, err := io.ReadFull(r, piece)
		if string(piece[:n]) != word[:n] {
			t.Errorf("%s gets %q", word, piece[:n])
			return
		}
		if err != nil {
			return
		}
	}
}
