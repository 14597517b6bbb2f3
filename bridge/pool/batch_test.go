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
	return enqueueAt(t, s, time.Nanosecond, requests...)
}

// enqueueAt does so with a worker whose requests have taken as long as pace on average.
func enqueueAt(t *testing.T, s *started, pace time.Duration, requests ...*Request) (outcomes []<-chan outcome) {
	t.Helper()
	w := takeIdleLocked(t, s)
	w.state, w.average = Busy, pace
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

// A batch takes two milliseconds at most by the worker's pace. A worker that only computes has two requests besides its first in
// any case, if they are not slow.
func TestABatchIsAsLargeAsThePaceAllows(t *testing.T) {
	for _, c := range []struct {
		pace            time.Duration
		waits, computes int
	}{
		{0, 1, 1}, // not known yet
		{25 * time.Microsecond, 80, 80},
		{600 * time.Microsecond, 3, 3},
		{900 * time.Microsecond, 2, 3},
		{2 * time.Millisecond, 1, 3},
		{6 * time.Millisecond, 1, 1},
	} {
		p := &Pool{}
		w := &station{pool: p, average: c.pace}
		waits := w.mostLocked()
		p.crowd.limit = 2
		if computes := w.mostLocked(); waits != c.waits || computes != c.computes {
			t.Errorf("%v: %d, and %d if it only computes; want %d and %d", c.pace, waits, computes, c.waits, c.computes)
		}
	}
}

// A worker that is at work on one of its last requests gets the next ones, if they could be taken back, and as many as its
// pace allows.
func TestRequestsAhead(t *testing.T) {
	for _, c := range []struct {
		name       string
		pace       time.Duration
		safe       bool
		then       func(s *started)
		has, queue int // while its second request goes on
	}{
		{"a quick worker", time.Nanosecond, true, nil, 5, 0},
		{"a brisk one", 2 * time.Millisecond, true, nil, 3, 2},
		{"a slow one", 100 * time.Millisecond, true, nil, 1, 4},
		{"unsafe methods", 2 * time.Millisecond, false, nil, 1, 4},
		{"workers that wait for something", 2 * time.Millisecond, true, func(s *started) { s.crowd.limit = 0 }, 1, 4},
		{"turned off", 2 * time.Millisecond, true, func(s *started) { s.opt.MaxBatch = 1 }, 1, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			even := func(at handOver, w *station, _ uint32) { // a busy machine must not change the pace
				if at == afterDelivery {
					w.pool.mu.Lock()
					w.busySince = w.progress.Add(-c.pace)
					w.pool.mu.Unlock()
				}
			}
			s := start(t, Options{hook: even})
			s.mu.Lock()
			s.stall, s.crowd.limit, s.crowd.asked = time.Hour, 2, time.Now().Add(time.Hour) // the next survey must not change it
			if c.then != nil {
				c.then(s)
			}
			s.mu.Unlock()
			gate := filepath.Join(t.TempDir(), "gate")
			requests := []*Request{newRequest("pid", c.safe), newRequest("wait "+gate, c.safe)}
			for range 4 {
				requests = append(requests, newRequest("pid", c.safe))
			}
			outcomes := enqueueAt(t, s, c.pace, requests...)
			if o := <-outcomes[0]; o.err != nil {
				t.Fatal(o.err)
			}
			has, queue := 0, 0
			testkit.Eventually(t, "the second request to be the worker's first", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				for w := range s.stations {
					has = len(w.duties)
				}
				queue = s.queue.len()
				return has > 0 && has+queue == len(requests)-1
			})
			if has != c.has || queue != c.queue {
				t.Errorf("the worker has %d requests and %d wait, want %d and %d", has, queue, c.has, c.queue)
			}
			touch(t, gate)
			for i, waiting := range outcomes[1:] {
				if o := <-waiting; o.err != nil {
					t.Errorf("request %d: %v", i+1, o.err)
				}
			}
		})
	}
}

// What a worker has been given ahead goes to another one when the request before it turns out to be slow.
func TestRequestsAheadMove(t *testing.T) {
	s := start(t, Options{Processes: worker.Processes{Workers: 2}})
	s.mu.Lock()
	s.stall, s.crowd.limit, s.crowd.asked = time.Hour, 1, time.Now().Add(time.Hour) // the next survey must not change it
	s.mu.Unlock()
	gate := filepath.Join(t.TempDir(), "gate")
	requests := []*Request{newRequest("pid", true), newRequest("wait "+gate, true)}
	for range 4 {
		requests = append(requests, newRequest("pid", true))
	}
	outcomes := enqueueAt(t, s, 2*time.Millisecond, requests...)
	var slow *station
	testkit.Eventually(t, "requests ahead", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for w := range s.stations {
			if w.waits.ahead > 0 {
				slow = w
			}
		}
		return slow != nil
	})
	s.mu.Lock()
	s.stall = time.Millisecond
	slow.armStall()
	s.mu.Unlock()
	for i, waiting := range outcomes {
		if i == 1 {
			continue
		}
		if o := <-waiting; o.err != nil {
			t.Errorf("request %d: %v", i, o.err)
		}
	}
	select {
	case o := <-outcomes[1]:
		t.Errorf("the slow request has ended: %+v", o)
	default:
	}
	touch(t, gate)
	if o := <-outcomes[1]; o.err != nil {
		t.Error(o.err)
	}
}

func TestPatienceFollowsThePace(t *testing.T) {
	for _, c := range []struct{ pace, want time.Duration }{
		{0, stallTime}, {time.Millisecond, stallTime}, {3 * time.Millisecond, 12 * time.Millisecond}, {time.Second, 4 * stallTime},
	} {
		w := &station{pool: &Pool{stall: stallTime}, average: c.pace}
		if got := w.patience(); got != c.want {
			t.Errorf("requests of %v: %v, want %v", c.pace, got, c.want)
		}
	}
}
