package pool

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// takeIdleLocked waits for an idle worker, as one is that has answered a moment ago, and takes it.
// It returns with Pool.mu held.
func takeIdleLocked(t *testing.T, s *started) (w *station) {
	t.Helper()
	testkit.Eventually(t, "a worker to be idle", func() bool {
		s.mu.Lock()
		if w = s.popIdleLocked(); w == nil {
			s.mu.Unlock()
		}
		return w != nil
	})
	return w
}

// enqueue puts requests into the queue as if the worker were busy, and then lets the worker take
// from the queue. It returns the channels of their outcomes.
func enqueue(t *testing.T, s *started, requests ...*Request) (outcomes []<-chan outcome) {
	t.Helper()
	w := takeIdleLocked(t, s)
	w.state, w.average = Busy, time.Nanosecond
	for _, r := range requests {
		x := newExchange(s.Pool, r)
		x.queued, x.since = true, time.Now()
		s.queue.push(x)
		c := make(chan outcome, 1)
		outcomes = append(outcomes, c)
		go func() {
			defer x.answer.Close()
			c <- read(&x.answer)
		}()
	}
	send := s.freeLocked(w)
	s.mu.Unlock()
	if send {
		w.process.Flush()
	}
	return outcomes
}

// Safe requests that have been waiting are taken in one batch, others one by one.
func TestBatches(t *testing.T) {
	for _, c := range []struct {
		name string
		safe bool
		max  int
		want string
	}{
		{"safe methods", true, 8, "8 8 8 8 8 8 8 8 "},
		{"a limit", true, 4, "4 4 4 4 "},
		{"unsafe methods", false, 8, "1 1 1 1 1 1 1 1 "},
		{"turned off", true, 1, "1 1 1 1 1 1 1 1 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, Options{Limits: Limits{MaxBatch: c.max}})
			s.stall = time.Hour // a busy machine must not take a batch apart
			var requests []*Request
			for range 8 {
				requests = append(requests, newRequest("batch", c.safe))
			}
			got := ""
			for _, waiting := range enqueue(t, s, requests...) {
				o := <-waiting
				if o.err != nil {
					t.Fatal(o.err)
				}
				got += o.body + " "
			}
			if !strings.HasPrefix(got, c.want) { // how the second half comes depends on the first
				t.Errorf("the sizes of their batches were %q, want %q", got, c.want)
			}
		})
	}
}

// A worker that writes much before it has read its whole batch must not block the gateway.
func TestLargeRequestsAndAnswersInABatch(t *testing.T) {
	s := start(t, Options{Limits: Limits{RequestTimeout: 10 * time.Second}})
	var requests []*Request
	for range 32 {
		b := &wire.RequestBuilder{}
		b.Begin(&names)
		b.Pair("do", "write-much")
		b.Pair("HTTP_COOKIE", strings.Repeat("c", 30<<10))
		b.Body(nil)
		requests = append(requests, &Request{Frame: b.Frame, Names: b.Names(), Safe: true, Label: "large"})
	}
	for i, waiting := range enqueue(t, s, requests...) {
		if o := <-waiting; o.err != nil || len(o.body) != 1<<20 {
			t.Fatalf("request %d: %d bytes, %v", i, len(o.body), o.err)
		}
	}
}

// A request that cannot be encoded fails alone.
func TestFrameThatCannotBeMade(t *testing.T) {
	s := start(t, Options{})
	bad := &Request{Frame: func(uint32) ([]byte, error) { return nil, wire.ErrTooLarge }, Label: "bad"}
	if _, err := s.Do(bad); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("to an idle worker: %v", err)
	}
	outcomes := enqueue(t, s, bad, newRequest("pid", false))
	if o := <-outcomes[0]; !errors.Is(o.err, wire.ErrTooLarge) {
		t.Errorf("from the queue: %+v", o)
	}
	if o := <-outcomes[1]; o.err != nil {
		t.Errorf("the one behind it: %+v", o)
	}
	if o := s.do("pid", false); o.err != nil {
		t.Errorf("the next one: %+v", o)
	}
}

// stalledBatch puts a batch on the first worker whose head blocks until gate
// exists, and returns the outcomes of the rest.
func stalledBatch(t *testing.T, s *started, head string, rest func(i int) string) (first <-chan outcome, others []<-chan outcome) {
	t.Helper()
	w := takeIdleLocked(t, s)
	var batch []*Answer
	for i := range 4 {
		do := head
		if i > 0 {
			do = rest(i)
		}
		x := newExchange(s.Pool, newRequest(do, true))
		if err := s.assignLocked(w, x); err != nil {
			s.mu.Unlock()
			t.Fatal(err)
		}
		batch = append(batch, &x.answer)
	}
	w.armStall()
	s.mu.Unlock()
	w.process.Flush()
	for i, answer := range batch {
		c := make(chan outcome, 1)
		go func() {
			defer answer.Close()
			c <- read(answer)
		}()
		if i == 0 {
			first = c
		} else {
			others = append(others, c)
		}
	}
	return first, others
}

// A slow request does not hold up the other requests of its batch, and none is executed twice.
func TestStalledBatchMoves(t *testing.T) {
	s := start(t, Options{Processes: worker.Processes{Workers: 2}})
	dir := t.TempDir()
	gate, notes := filepath.Join(dir, "gate"), filepath.Join(dir, "notes")
	first, others := stalledBatch(t, s, "wait "+gate, func(int) string { return "note " + notes })
	for _, c := range others {
		if o := <-c; o.err != nil || o.body != "<nil>" {
			t.Errorf("behind the slow one: %+v", o)
		}
	}
	touch(t, gate)
	if o := <-first; o.err != nil {
		t.Error(o.err)
	}
	for range 4 { // each gives the first worker a chance to execute them again
		if o := s.do("pid", true); o.err != nil {
			t.Error(o.err)
		}
	}
	b, err := os.ReadFile(notes)
	if n := strings.Count(string(b), "\n"); n != 3 || err != nil {
		t.Errorf("3 requests were done %d times, %v", n, err)
	}
}
