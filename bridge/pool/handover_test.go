package pool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// gate stops the first goroutine that comes to a hand-over, until another hand-over has happened or
// the test opens the gate.
type gate struct {
	at      handOver
	armed   atomic.Bool
	reached chan struct{} // closed when a goroutine has come
	open    chan struct{}
	once    sync.Once
}

func newGate(at handOver) *gate {
	return &gate{at: at, reached: make(chan struct{}), open: make(chan struct{})}
}

func (g *gate) hook(at handOver, _ *station, _ uint32) {
	switch {
	case at == g.at && g.armed.CompareAndSwap(true, false):
		close(g.reached)
		<-g.open
	case at == afterTakingBack:
		g.release()
	}
}

func (g *gate) release() { g.once.Do(func() { close(g.open) }) }

// isQuiet reports whether every worker waits for a request.
func (s *started) isQuiet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.stations {
		if w.state != Ready || len(w.duties) != 0 {
			return false
		}
	}
	return len(s.idle) == len(s.stations) && s.queue.len() == 0
}

// The reader of a worker's connection is stopped between matching a frame to its request,
// delivering it and finishing it, until the timer has taken the batch apart. Every client gets its
// own answer, no worker is ended, and none stays busy.
func TestBatchTakenApartAtAHandOver(t *testing.T) {
	file := t.TempDir()
	for _, first := range []struct {
		do   string
		want func(outcome) bool
	}{
		{"echo own", func(o outcome) bool { return o.err == nil && o.body == "own" }},
		{"echo-pieces 50 own", func(o outcome) bool { return o.err == nil && o.body == strings.Repeat("own", 50) }},
		{"echo-large 300000 own", func(o outcome) bool { return o.err == nil && o.body == strings.Repeat("own", 100_000) }},
		{"echo-log own", func(o outcome) bool { return o.err == nil && o.body == "own" }},
		{"early 3", func(o outcome) bool { return o.err == nil && o.body == "" }},
		{"cleanup " + file, func(o outcome) bool { return o.err == nil && o.body == "" }},
		{"abort own", func(o outcome) bool {
			abort := (*AbortError)(nil)
			return errors.As(o.err, &abort) && abort.Message == "own"
		}},
		{"echo to-no-one", nil}, // the client leaves before the batch is sent
	} {
		for name, at := range map[string]handOver{"matched": afterMatch, "delivered": afterDelivery} {
			t.Run(first.do+" is "+name, func(t *testing.T) {
				g := newGate(at)
				s := start(t, Options{Processes: worker.Processes{Workers: 2}, Limits: Limits{RequestTimeout: testkit.Patience}, hook: g.hook})
				t.Cleanup(g.release)
				launched := s.Status().Launched
				g.armed.Store(true)
				batch := newBatch(t, s)
				head := batch.add(first.do, first.want == nil)
				var others []<-chan outcome
				for i := range 6 {
					others = append(others, batch.add(fmt.Sprint("echo ", i), false))
				}
				batch.send()
				testkit.Await(t, g.reached)
				for i, c := range others {
					if o := testkit.Await(t, c); o.err != nil || o.body != fmt.Sprint(i) {
						t.Errorf("request %d gets %+v", i, o)
					}
				}
				if first.want != nil {
					if o := testkit.Await(t, head); !first.want(o) {
						t.Errorf("the first one gets %q, %v", o.body, o.err)
					}
				}
				testkit.Eventually(t, "all workers to be idle", s.isQuiet)
				if n := s.Status().Launched - launched; n > 0 {
					t.Errorf("%d workers were replaced", n)
				}
			})
		}
	}
}

// batch is a batch of requests for one worker.
type batch struct {
	t *testing.T
	s *started
	w *station
}

// newBatch takes an idle worker for a batch. Pool.mu is held until send.
func newBatch(t *testing.T, s *started) *batch {
	t.Helper()
	w := takeIdleLocked(t, s)
	w.state, w.average = Busy, time.Nanosecond
	return &batch{t, s, w}
}

// add puts a safe request into the batch. Its client leaves at once, or reads it all.
func (b *batch) add(do string, leaves bool) <-chan outcome {
	c := make(chan outcome, 1)
	x := newExchange(b.s.Pool, newRequest(do, true))
	if err := b.s.assignLocked(b.w, x); err != nil {
		b.s.mu.Unlock()
		b.t.Fatal(err)
	}
	if leaves {
		x.dropped = true // as Close does, which takes the lock
		x.mailbox.abandon()
		return nil
	}
	go func() {
		defer x.answer.Close()
		c <- read(&x.answer)
	}()
	return c
}

func (b *batch) send() {
	b.w.armStall()
	b.s.mu.Unlock()
	b.w.process.Flush()
}

// A worker that begins a request while the pool takes it back is busy until it has answered. It
// gets no other request meanwhile, and no other request is blamed for its failure.
func TestBegunWhileTakenBack(t *testing.T) {
	dir := t.TempDir()
	mark, end := filepath.Join(dir, "mark"), filepath.Join(dir, "end")
	g := newGate(afterTakingBack)
	stop := func(at handOver, w *station, stream uint32) {
		if at == afterTakingBack && g.armed.CompareAndSwap(true, false) {
			close(g.reached)
			<-g.open
		}
	}
	s := start(t, Options{Processes: worker.Processes{Workers: 2}, Limits: Limits{RequestTimeout: testkit.Patience}, hook: stop})
	t.Cleanup(g.release)
	g.armed.Store(true)
	b := newBatch(t, s)
	head := b.add("sleep 30ms", false)
	crossing := b.add("mark-and-wait "+mark+" "+end, false)
	behind := b.add("echo behind", false)
	b.send()
	testkit.Await(t, g.reached) // the CANCELs are not written yet
	if o := testkit.Await(t, head); o.err != nil {
		t.Error(o.err)
	}
	started := func() int {
		text, _ := os.ReadFile(mark)
		return strings.Count(string(text), "\n")
	}
	testkit.Eventually(t, "the worker to begin what was taken back", func() bool { return started() == 1 })
	g.release()
	testkit.Eventually(t, "the other one to begin it", func() bool { return started() == 2 })
	next := s.async("echo next", false)
	testkit.Eventually(t, "it to wait", func() bool { return s.Status().Queued > 0 })
	s.mu.Lock()
	for w := range s.stations {
		if w.state != Busy {
			t.Errorf("worker %d is %v, and runs a request", w.process.ID(), w.state)
		}
	}
	s.mu.Unlock()
	if err := os.WriteFile(end, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for c, want := range map[<-chan outcome]string{crossing: "", behind: "behind", next: "next"} {
		if o := testkit.Await(t, c); o.err != nil || o.body != want {
			t.Errorf("%+v, want %q", o, want)
		}
	}
	testkit.Eventually(t, "all workers to be idle", s.isQuiet)
}

// The reader is stopped while it holds a frame. Meanwhile the request times out, its client goes
// and other clients come. None of these gets the frame.
func TestFrameThatIsLate(t *testing.T) {
	for name, at := range map[string]handOver{"matched": afterMatch, "delivered": afterDelivery} {
		t.Run(name, func(t *testing.T) {
			g := newGate(at)
			s := start(t, Options{Processes: worker.Processes{Workers: 2}, Limits: Limits{Limits: worker.Limits{KillAfter: 100 * time.Millisecond}, RequestTimeout: 300 * time.Millisecond}, hook: g.hook})
			t.Cleanup(g.release)
			g.armed.Store(true)
			first := s.async("echo-pieces 3 secret", true)
			testkit.Await(t, g.reached)
			if o := testkit.Await(t, first); !errors.Is(o.err, ErrTimeout) {
				t.Errorf("the first one: %+v", o)
			}
			var next []<-chan outcome
			for i := range 8 {
				next = append(next, s.async(fmt.Sprint("echo ", i), i%2 == 0))
			}
			g.release()
			for i, c := range next {
				if o := testkit.Await(t, c); o.err != nil || o.body != fmt.Sprint(i) {
					t.Errorf("request %d gets %+v", i, o)
				}
			}
		})
	}
}

// A client leaves while its request is handed to a worker, or between giving up its answer and
// emptying the mailbox.
func TestClientLeavesAtAHandOver(t *testing.T) {
	for name, at := range map[string]handOver{"assigned": afterAssignment, "given up": afterAbandoning} {
		t.Run(name, func(t *testing.T) {
			g := newGate(at)
			s := start(t, Options{Limits: Limits{RequestTimeout: testkit.Patience}, hook: g.hook})
			t.Cleanup(g.release)
			g.armed.Store(true)
			left := make(chan struct{})
			go func() {
				defer close(left)
				if answer, err := s.Do(newRequest("echo-large 300000 secret", false)); err == nil {
					answer.Close()
				}
			}()
			testkit.Await(t, g.reached)
			next := s.async("echo next", false)
			g.release()
			testkit.Await(t, left)
			if o := testkit.Await(t, next); o.err != nil || o.body != "next" {
				t.Errorf("the next one gets %q, %v", o.body, o.err)
			}
			testkit.Eventually(t, "the worker to be idle", s.isQuiet)
		})
	}
}

// A log record names the request of its stream, even if that request was answered just before.
func TestWhoseRecordItIs(t *testing.T) {
	s := start(t, Options{Processes: worker.Processes{Workers: 1}})
	b := newBatch(t, s)
	var answers []<-chan outcome
	for i := range 8 {
		answers = append(answers, b.add(fmt.Sprintf("echo-log n%d", i), false))
	}
	b.send()
	for _, c := range answers {
		if o := testkit.Await(t, c); o.err != nil {
			t.Error(o.err)
		}
	}
	for i := range 8 {
		for _, record := range []string{"logged n%d", "logged late n%d"} {
			record = fmt.Sprintf(record, i)
			s.log.WaitFor(t, record)
			for line := range strings.Lines(s.log.String()) {
				if strings.Contains(line, `"`+record+`"`) && !strings.Contains(line, fmt.Sprintf(`request_id="id of echo-log n%d"`, i)) {
					t.Errorf("taken for another one's: %s", line)
				}
			}
		}
	}
}

// A request whose answer has begun is not repeated when its worker dies, even if it is safe.
func TestBegunRequestIsNotRepeated(t *testing.T) {
	s := start(t, Options{Processes: worker.Processes{Workers: 3}})
	launched := s.Status().Launched
	if o := s.do("start-and-crash", true); !errors.Is(o.err, ErrWorkerDied) || o.body != "begun" {
		t.Errorf("%+v", o)
	}
	testkit.Eventually(t, "three idle workers", func() bool { return s.isQuiet() && len(s.Status().Workers) == 3 })
	if n := s.Status().Launched - launched; n != 1 {
		t.Errorf("%d workers were replaced", n)
	}
}
