package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func states(s Status) (out []State) {
	for _, w := range s.Workers {
		out = append(out, w.State)
	}
	return out
}

func TestStates(t *testing.T) {
	s := start(t, Options{Workers: 2})
	if got := fmt.Sprint(states(s.Status())); got != "[ready ready]" {
		t.Errorf("after the start: %s", got)
	}
	gate := filepath.Join(t.TempDir(), "gate")
	running := s.async("wait "+gate, false)
	testkit.Eventually(t, "a busy worker", func() bool { return strings.Contains(fmt.Sprint(states(s.Status())), "busy") })
	touch(t, gate)
	if o := <-running; o.err != nil {
		t.Error(o.err)
	}
	testkit.Eventually(t, "two ready workers", func() bool { return fmt.Sprint(states(s.Status())) == "[ready ready]" })
	for state, name := range map[State]string{Starting: "starting", Draining: "draining", Exiting: "exiting", Dead: "dead"} {
		if state.String() != name {
			t.Errorf("%d is called %s, want %s", state, state, name)
		}
	}
}

func TestStartFailures(t *testing.T) {
	for mode, want := range map[string]string{
		"no start":          "cannot find my boots",
		"failed":            "no app today",
		"silent":            "not ready after 300ms",
		"wrong version":     "version 99 of the protocol",
		"wrong token":       "it ended before it had served anything",
		"failed and stays":  "no app today",
		"idle before ready": "IDLE from a worker that was not busy",
	} {
		t.Run(mode, func(t *testing.T) {
			p := New(Options{Start: fakeStart(mode), Workers: 2, StartTimeout: 300 * time.Millisecond, KillGrace: 100 * time.Millisecond, Logger: (&testkit.Log{}).Logger()})
			err := p.Start(t.Context())
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
			if _, err := os.Stat(p.Dir()); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the directory is left: %v", err)
			}
			if _, err := p.Do(newRequest("pid", true)); !errors.Is(err, ErrClosed) {
				t.Errorf("a request afterwards: %v", err)
			}
		})
	}
}

func TestDirectoryIsPrivate(t *testing.T) {
	s := start(t, Options{})
	info, err := os.Stat(s.Dir())
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestWorkersServeSideBySide(t *testing.T) {
	s := start(t, Options{Workers: 3})
	gate := filepath.Join(t.TempDir(), "gate")
	var running []<-chan outcome
	for range 3 {
		running = append(running, s.async("wait "+gate, false))
	}
	testkit.Eventually(t, "three busy workers", func() bool { return fmt.Sprint(states(s.Status())) == "[busy busy busy]" })
	touch(t, gate)
	pids := map[string]bool{}
	for _, c := range running {
		pids[(<-c).body] = true
	}
	if len(pids) != 3 {
		t.Errorf("served by %v", pids)
	}
}

// enqueue puts requests into the queue as if its worker were busy and lets the
// worker take from it. It returns where their outcomes will be.
func enqueue(t *testing.T, s *started, requests ...*Request) (outcomes []<-chan outcome) {
	t.Helper()
	s.mu.Lock()
	w := s.popIdleLocked()
	if w == nil {
		t.Fatal("no worker is idle")
	}
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
		w.sendBatch()
	}
	return outcomes
}

// What has been waiting is taken in one batch if it is safe, one by one otherwise.
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
			s := start(t, Options{MaxBatch: c.max})
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

// A worker that writes much before it has read all it was sent must not block
// the gateway.
func TestLargeRequestsAndAnswersInABatch(t *testing.T) {
	s := start(t, Options{RequestTimeout: 10 * time.Second})
	var requests []*Request
	for range 32 {
		b := &wire.RequestBuilder{}
		b.Begin()
		b.Pair("do", "echo-large")
		b.Pair("HTTP_COOKIE", strings.Repeat("c", 30<<10))
		requests = append(requests, &Request{Frame: b.Frame, Safe: true, Label: "large"})
	}
	for i, waiting := range enqueue(t, s, requests...) {
		if o := <-waiting; o.err != nil || len(o.body) != 4<<20 {
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
	s.mu.Lock()
	w := s.popIdleLocked()
	var batch []*Answer
	for i := range 4 {
		do := head
		if i > 0 {
			do = rest(i)
		}
		x := newExchange(s.Pool, newRequest(do, true))
		if err := s.assignLocked(w, x); err != nil {
			t.Fatal(err)
		}
		batch = append(batch, &x.answer)
	}
	w.armStall()
	s.mu.Unlock()
	w.sendBatch()
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

// A slow request does not hold up what was given to its worker with it, and
// nothing is done twice.
func TestStalledBatchMoves(t *testing.T) {
	s := start(t, Options{Workers: 2})
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
	for range 4 { // the first worker has had every chance to do them again
		if o := s.do("pid", true); o.err != nil {
			t.Error(o.err)
		}
	}
	b, err := os.ReadFile(notes)
	if n := strings.Count(string(b), "\n"); n != 3 || err != nil {
		t.Errorf("3 requests were done %d times, %v", n, err)
	}
}

func TestCrashes(t *testing.T) {
	t.Run("unsafe, begun", func(t *testing.T) {
		s := start(t, Options{})
		if o := s.do("crash", false); !errors.Is(o.err, ErrWorkerDied) || !strings.Contains(o.err.Error(), "exit status 7") {
			t.Errorf("%+v", o)
		}
		if o := s.do("pid", false); o.err != nil {
			t.Errorf("the next one: %+v", o)
		}
		s.log.WaitFor(t, "the worker died in a request")
	})
	t.Run("safe, begun, nothing sent", func(t *testing.T) {
		s := start(t, Options{})
		if o := s.do("crash-once "+filepath.Join(t.TempDir(), "f"), true); o.err != nil || o.body != "second time" {
			t.Errorf("%+v", o)
		}
	})
	t.Run("safe, crashes every time", func(t *testing.T) {
		s := start(t, Options{Workers: 2})
		if o := s.do("crash", true); !errors.Is(o.err, ErrWorkerDied) {
			t.Errorf("%+v", o)
		}
		testkit.Eventually(t, "both workers to be replaced", func() bool { return fmt.Sprint(states(s.Status())) == "[ready ready]" })
		if n := s.Status().Launched; n != 4 {
			t.Errorf("%d workers were started, want 4", n)
		}
	})
	t.Run("safe, something sent", func(t *testing.T) {
		s := start(t, Options{})
		if o := s.do("start-and-crash", true); !errors.Is(o.err, ErrWorkerDied) || o.body != "begun" {
			t.Errorf("%+v", o)
		}
	})
	t.Run("what waited behind goes elsewhere", func(t *testing.T) {
		s := start(t, Options{Workers: 2})
		_, others := stalledBatch(t, s, "crash", func(int) string { return "pid" })
		for _, c := range others {
			if o := <-c; o.err != nil || o.body == "" {
				t.Errorf("%+v", o)
			}
		}
	})
	t.Run("a child holds the connection", func(t *testing.T) {
		s := start(t, Options{})
		o := s.do("daemon", false)
		if o.err != nil {
			t.Fatal(o.err)
		}
		pid, err := strconv.Atoi(o.body)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Errorf("the child: %v", err)
			}
		})
		testkit.Eventually(t, "another worker", func() bool { return s.Status().Launched == 2 })
		if o := s.do("pid", false); o.err != nil {
			t.Errorf("the next one: %+v", o)
		}
	})
}

// A worker that does not speak the protocol is killed; its request is answered,
// and so is the next one.
func TestBrokenProtocol(t *testing.T) {
	for _, do := range []string{"garbage", "unknown", "malformed"} {
		t.Run(do, func(t *testing.T) {
			s := start(t, Options{KillGrace: time.Second})
			if o := s.do(do, false); !errors.Is(o.err, ErrWorkerDied) {
				t.Errorf("%+v", o)
			}
			s.log.WaitFor(t, "the worker broke the protocol")
			if o := s.do("pid", false); o.err != nil {
				t.Errorf("the next one: %+v", o)
			}
		})
	}
}

func TestAnswerCutAtEveryByte(t *testing.T) {
	s := start(t, Options{Workers: 2})
	for n := range 30 {
		if o := s.do("cut "+strconv.Itoa(n), false); !errors.Is(o.err, ErrWorkerDied) {
			t.Fatalf("after %d bytes: %+v", n, o)
		}
	}
}

func TestAbort(t *testing.T) {
	s := start(t, Options{})
	var abort *AbortError
	if o := s.do("abort sorry", false); !errors.As(o.err, &abort) || abort.Message != "sorry" || abort.Kind != 1 {
		t.Errorf("%+v", o)
	}
}

// A slow client costs no worker: the answer goes to memory, then to a file.
func TestSlowClient(t *testing.T) {
	const size = 5 << 20
	t.Run("the worker is free at once", func(t *testing.T) {
		s := start(t, Options{Memory: 64 << 10})
		answer, err := s.Do(newRequest("big "+strconv.Itoa(size), false))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Close()
		if o := s.do("pid", false); o.err != nil { // by the only worker
			t.Fatal(o.err)
		}
		if answer.x.spill == nil {
			t.Error("no file was used")
		}
		o := read(answer)
		if o.err != nil || len(o.body) != size || o.body != strings.Repeat("0123456789abcdef", size/16) {
			t.Errorf("%d bytes, %v", len(o.body), o.err)
		}
	})
	t.Run("over the limit of the file the worker waits", func(t *testing.T) {
		s := start(t, Options{Memory: 64 << 10, Spool: -1, RequestTimeout: time.Second})
		answer, err := s.Do(newRequest("big "+strconv.Itoa(size), false))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Close()
		testkit.Eventually(t, "the worker to wait", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			for w := range s.workers {
				return w.paused
			}
			return false
		})
		time.Sleep(1500 * time.Millisecond) // longer than the request timeout, which must not count now
		if o := read(answer); o.err != nil || len(o.body) != size {
			t.Errorf("%d bytes, %v", len(o.body), o.err)
		}
	})
	t.Run("a client that leaves frees the worker", func(t *testing.T) {
		s := start(t, Options{Memory: 64 << 10, Spool: -1})
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

func TestAbandonedInTheQueue(t *testing.T) {
	s := start(t, Options{})
	gate := filepath.Join(t.TempDir(), "gate")
	notes := filepath.Join(t.TempDir(), "notes")
	first := s.async("wait "+gate, false)
	answer, err := s.Do(newRequest("note "+notes, false))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.ErrClosedPipe)
	if _, err := answer.Next(ctx); err != io.ErrClosedPipe {
		t.Errorf("error %v, want the context's cause", err)
	}
	answer.Close()
	if n := s.Status().Queued; n != 0 {
		t.Errorf("%d are queued", n)
	}
	touch(t, gate)
	<-first
	s.do("pid", false)
	if _, err := os.Stat(notes); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was done all the same: %v", err)
	}
}

func TestQueueLimits(t *testing.T) {
	s := start(t, Options{QueueSize: 2, QueueTimeout: 100 * time.Millisecond})
	gate := filepath.Join(t.TempDir(), "gate")
	first := s.async("wait "+gate, false)
	a, b, c := s.async("pid", false), s.async("pid", false), s.async("pid", false)
	if o := <-c; !errors.Is(o.err, ErrQueueFull) {
		t.Errorf("one too many: %+v", o)
	}
	for _, waiting := range []<-chan outcome{a, b} {
		if o := <-waiting; !errors.Is(o.err, ErrQueueTimeout) {
			t.Errorf("one that waited too long: %+v", o)
		}
	}
	touch(t, gate)
	if o := <-first; o.err != nil {
		t.Error(o.err)
	}
}

func TestRequestTimeout(t *testing.T) {
	s := start(t, Options{RequestTimeout: 100 * time.Millisecond, KillGrace: time.Second})
	if o := s.do("hang", true); !errors.Is(o.err, ErrTimeout) {
		t.Errorf("%+v", o)
	}
	if o := s.do("pid", true); o.err != nil {
		t.Errorf("the next one: %+v", o)
	}
}

// The worker is not free before its clean-up is done, but the answer is complete.
func TestBusyAfterTheAnswer(t *testing.T) {
	s := start(t, Options{})
	gate := filepath.Join(t.TempDir(), "gate")
	if o := s.do("cleanup "+gate, false); o.err != nil {
		t.Fatal(o.err)
	}
	next := s.async("pid", false)
	if n := s.Status().Queued; n != 1 {
		t.Errorf("%d are queued, want 1", n)
	}
	touch(t, gate)
	if o := <-next; o.err != nil {
		t.Error(o.err)
	}
}

// Every state a worker can be in has an end.
func TestWorkersThatDoNotGo(t *testing.T) {
	t.Run("after it said so", func(t *testing.T) {
		s := start(t, Options{KillGrace: 200 * time.Millisecond, RequestTimeout: time.Second})
		if o := s.do("leave-slowly", false); o.err != nil {
			t.Fatal(o.err)
		}
		s.log.WaitFor(t, "had said that it goes")
		testkit.Eventually(t, "one worker to be left", func() bool { return fmt.Sprint(states(s.Status())) == "[ready]" })
	})
	t.Run("in the middle of a request", func(t *testing.T) {
		s := start(t, Options{KillGrace: 200 * time.Millisecond})
		if o := s.do("leave-early", false); !errors.Is(o.err, ErrWorkerDied) {
			t.Errorf("%+v", o)
		}
		s.log.WaitFor(t, "EXITING in the middle of a request")
	})
	t.Run("while it cleans up", func(t *testing.T) {
		s := start(t, Options{KillGrace: 200 * time.Millisecond, RequestTimeout: 300 * time.Millisecond})
		if o := s.do("cleanup /does/not/exist", false); o.err != nil {
			t.Fatal(o.err)
		}
		if o := s.do("pid", false); o.err != nil {
			t.Errorf("the next one: %+v", o)
		}
		s.log.WaitFor(t, "cleaning up after a request took longer")
	})
	t.Run("and its child", func(t *testing.T) {
		s := start(t, Options{KillGrace: 200 * time.Millisecond, RequestTimeout: 300 * time.Millisecond})
		o := s.do("child", false)
		pid, err := strconv.Atoi(o.body)
		if err != nil {
			t.Fatalf("%+v, %v", o, err)
		}
		if o := s.do("hang", false); !errors.Is(o.err, ErrTimeout) {
			t.Errorf("%+v", o)
		}
		testkit.Eventually(t, "the child to be gone", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
	})
}

// Restarts that fail are told once, with the reason, and leave what works alone.
func TestFailingRestarts(t *testing.T) {
	t.Run("of a worker that died", func(t *testing.T) {
		broken := filepath.Join(t.TempDir(), "broken")
		s := start(t, Options{Workers: 2, Start: fakeStart("fails when:" + broken), KillGrace: 100 * time.Millisecond})
		touch(t, broken)
		if o := s.do("crash", false); !errors.Is(o.err, ErrWorkerDied) {
			t.Errorf("%+v", o)
		}
		s.log.WaitFor(t, `level=ERROR msg="a worker cannot be started" mount="" worker=3`)
		if !strings.Contains(s.log.String(), `error="no app today"`) {
			t.Error("the reason is missing")
		}
		if o := s.do("pid", false); o.err != nil {
			t.Errorf("by the other worker: %+v", o)
		}
		testkit.Eventually(t, "another attempt", func() bool { return s.Status().Launched > 3 })
		if n := strings.Count(s.log.String(), "level=ERROR msg=\"a worker cannot be started\""); n != 1 {
			t.Errorf("told %d times", n)
		}
		if err := os.Remove(broken); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "two workers", func() bool { return fmt.Sprint(states(s.Status())) == "[ready ready]" })
	})
	t.Run("of a worker that is due to be replaced", func(t *testing.T) {
		broken := filepath.Join(t.TempDir(), "broken")
		s := start(t, Options{MaxRequests: 1, Start: fakeStart("fails when:" + broken), KillGrace: 100 * time.Millisecond})
		touch(t, broken)
		before := s.do("pid", false).body
		testkit.Eventually(t, "an attempt to replace it", func() bool { return s.Status().Launched > 1 })
		for range 20 {
			if o := s.do("pid", false); o.err != nil || o.body != before {
				t.Fatalf("%+v, before it was %s", o, before)
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	t.Run("of a worker that ends as soon as it is ready", func(t *testing.T) {
		broken := filepath.Join(t.TempDir(), "broken")
		s := start(t, Options{Start: fakeStart("ends when:" + broken)})
		touch(t, broken)
		s.do("crash", false)
		s.log.WaitFor(t, "exit status 5")
		time.Sleep(500 * time.Millisecond)
		if n := s.Status().Launched; n > 3 {
			t.Errorf("%d workers were started", n)
		}
	})
}

func TestOutputBeforeReady(t *testing.T) {
	s := start(t, Options{Start: fakeStart("talks")})
	s.log.WaitFor(t, `level=WARN msg="deprecated: all of it"`)
}

// Many small pieces must not keep a buffer each.
func TestManySmallPieces(t *testing.T) {
	const n = 100_000
	s := start(t, Options{Memory: 1 << 20, Spool: -1})
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

// An answer that could not be spooled is not taken for complete.
func TestSpoolFails(t *testing.T) {
	s := start(t, Options{Memory: 1})
	s.mu.Lock()
	dir := s.dir
	s.dir = filepath.Join(dir, "not-there")
	s.mu.Unlock()
	answer, err := s.Do(newRequest("big 200000", false))
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the spool to fail", func() bool {
		answer.x.mu.Lock()
		defer answer.x.mu.Unlock()
		return answer.x.err != nil
	})
	o := read(answer)
	answer.Close()
	if o.err == nil || !strings.Contains(o.err.Error(), "spool an answer") {
		t.Errorf("%d bytes, %v", len(o.body), o.err)
	}
	s.mu.Lock()
	s.dir = dir
	s.mu.Unlock()
	if o := s.do("pid", false); o.err != nil {
		t.Errorf("the next one: %+v", o)
	}
}

// Stop does not wait for a client that does not read.
func TestStopWithASlowClient(t *testing.T) {
	s := start(t, Options{Memory: 1, Spool: -1, KillGrace: 100 * time.Millisecond})
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

func TestWorkerThatLeaves(t *testing.T) {
	s := start(t, Options{})
	before := s.do("pid", false).body
	if o := s.do("leave", false); o.err != nil {
		t.Error(o.err)
	}
	if o := s.do("pid", false); o.err != nil || o.body == before {
		t.Errorf("%+v, before: %s", o, before)
	}
	s.log.WaitFor(t, `reason="had enough"`)
}

// Recycling starts the new worker first: no request has to wait for a start.
func TestMaxRequests(t *testing.T) {
	s := start(t, Options{Workers: 2, MaxRequests: 5})
	pids := map[string]bool{}
	for range 100 {
		o := s.do("pid", true)
		if o.err != nil {
			t.Fatal(o.err)
		}
		pids[o.body] = true
		ready := 0
		for _, state := range states(s.Status()) {
			if state == Ready || state == Busy {
				ready++
			}
		}
		if ready < 2 {
			t.Errorf("only %d workers were there", ready)
		}
	}
	testkit.Eventually(t, "a third worker", func() bool { pids[s.do("pid", true).body] = true; return len(pids) > 2 })
}

func TestOutputIsLogged(t *testing.T) {
	s := start(t, Options{Name: "/mount"})
	if o := s.do("print hello", false); o.err != nil {
		t.Fatal(o.err)
	}
	s.log.WaitFor(t, `level=WARN msg=hello mount=/mount worker=1 pid=`)
	s.log.WaitFor(t, `msg="logged hello"`)
	s.log.WaitFor(t, `request="print hello"`)
}

func TestStopWaitsForWhatIsRunning(t *testing.T) {
	s := start(t, Options{})
	gate := filepath.Join(t.TempDir(), "gate")
	running := s.async("wait "+gate, false)
	queued := s.async("pid", false)
	stopped := make(chan error)
	go func() { stopped <- s.Stop(context.Background()) }()
	testkit.Eventually(t, "new requests to be refused", func() bool { _, err := s.Do(newRequest("pid", false)); return errors.Is(err, ErrClosed) })
	touch(t, gate)
	for _, c := range []<-chan outcome{running, queued} {
		if o := <-c; o.err != nil {
			t.Error(o.err)
		}
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestStopKillsInTheEnd(t *testing.T) {
	s := start(t, Options{KillGrace: 100 * time.Millisecond})
	running := s.async("hang", false)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
	if o := <-running; !errors.Is(o.err, ErrWorkerDied) {
		t.Errorf("%+v", o)
	}
}

// Workers die all the time; every request ends, and only those that were in a
// dying worker may fail.
func TestKillingAtRandom(t *testing.T) {
	s := start(t, Options{Workers: 4})
	done := make(chan struct{})
	var killer sync.WaitGroup
	kills := 0
	killer.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
			for _, w := range s.Status().Workers {
				if w.State == Ready || w.State == Busy {
					if syscall.Kill(w.PID, syscall.SIGKILL) == nil {
						kills++
					}
					break
				}
			}
		}
	})
	var failed atomic.Int64
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			for range 200 {
				switch o := s.do("pid", true); {
				case o.err == nil:
				case errors.Is(o.err, ErrWorkerDied), errors.Is(o.err, ErrNoWorkers):
					failed.Add(1)
				default:
					t.Error(o.err)
				}
			}
		})
	}
	clients.Wait()
	close(done)
	killer.Wait()
	if n := failed.Load(); n > int64(2*kills) {
		t.Errorf("%d requests failed, %d workers were killed", n, kills)
	}
}
