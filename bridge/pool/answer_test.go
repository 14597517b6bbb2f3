package pool

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// A slow client costs no worker: the answer goes to memory, then to a file.
func TestSlowClient(t *testing.T) {
	const size = 5 << 20
	t.Run("the worker is free at once", func(t *testing.T) {
		s := start(t, Options{Limits: Limits{AnswerMemory: 64 << 10}})
		answer, err := s.Do(newRequest("big "+strconv.Itoa(size), false))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Close()
		if o := s.do("pid", false); o.err != nil { // by the only worker
			t.Fatal(o.err)
		}
		if answer.x.spool.file == nil {
			t.Error("no file was used")
		}
		o := read(answer)
		if o.err != nil || len(o.body) != size || o.body != strings.Repeat("0123456789abcdef", size/16) {
			t.Errorf("%d bytes, %v", len(o.body), o.err)
		}
	})
	t.Run("over the limit of the file the worker waits", func(t *testing.T) {
		s := start(t, Options{Limits: Limits{AnswerMemory: 64 << 10, AnswerSpool: -1, RequestTimeout: time.Second}})
		answer, err := s.Do(newRequest("big "+strconv.Itoa(size), false))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Close()
		testkit.Eventually(t, "the worker to wait", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			for w := range s.stations {
				return w.process.Paused()
			}
			return false
		})
		time.Sleep(1500 * time.Millisecond) // longer than the request timeout, which does not count while the client is slow
		if o := read(answer); o.err != nil || len(o.body) != size {
			t.Errorf("%d bytes, %v", len(o.body), o.err)
		}
	})
	t.Run("a client that leaves frees the worker", func(t *testing.T) {
		s := start(t, Options{Limits: Limits{AnswerMemory: 64 << 10, AnswerSpool: -1}})
		answer, err := s.Do(newRequest("big "+strconv.Itoa(size), false))
		if err != nil {
			t.Fatal(err)
		}
		answer.Close()
		if o := s.do("pid", false); o.err != nil {
			t.Error(o.err)
		}
	})
}

// Many small pieces share buffers instead of keeping one each.
func TestManySmallPieces(t *testing.T) {
	const n = 100_000
	s := start(t, Options{Limits: Limits{AnswerMemory: 1 << 20, AnswerSpool: -1}})
	answer, err := s.Do(newRequest("drip "+strconv.Itoa(n), false))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close()
	testkit.Eventually(t, "the answer to be complete", func() bool {
		answer.x.mu.Lock()
		defer answer.x.mu.Unlock()
		return answer.x.fin
	})
	answer.x.mu.Lock()
	memory, pieces := answer.x.memory, len(answer.x.pieces)
	answer.x.mu.Unlock()
	if memory > 2*n {
		t.Errorf("%d bytes are kept in %d pieces for a body of %d", memory, pieces, n)
	}
	if o := read(answer); len(o.body) != n || o.err != nil {
		t.Errorf("%d bytes, %v", len(o.body), o.err)
	}
}

// Stop does not wait for a client that does not read.
func TestStopWithASlowClient(t *testing.T) {
	s := start(t, Options{Limits: Limits{Limits: worker.Limits{KillAfter: 100 * time.Millisecond}, AnswerMemory: 1, AnswerSpool: -1}})
	answer, err := s.Do(newRequest("big 5000000", false))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(ctx) }()
	select {
	case err := <-stopped:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(testkit.Patience):
		t.Fatal("it hangs")
	}
	if o := read(answer); o.err == nil {
		t.Error("the answer is complete")
	}
}
