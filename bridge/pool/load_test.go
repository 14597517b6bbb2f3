package pool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/leased"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// deed is a kind of request, with its possible outcomes.
type deed struct {
	do     string
	weight int // how often it is chosen
	safe   bool
	client func(context.Context, *Answer) outcome
	size   int     // of the body, where it arrives whole
	errs   []error // allowed beside those that any request may get
}

var errAbort = errors.New("the worker gave up")

// deeds are the actions of clients and workers in TestUnderLoad.
var deeds = []deed{
	{do: "pid", weight: 300, safe: true, client: readAll, size: -1},
	{do: "pid", weight: 200, client: readAll, size: -1},
	{do: "sleep 8ms", weight: 20, safe: true, client: readAll, size: 0}, // longer than a batch may stall
	{do: "sleep 3ms", weight: 20, client: readAll, size: 0},
	{do: "big 300000", weight: 10, client: readAll, size: 300_000},
	{do: "big 300000", weight: 10, safe: true, client: readSlowly, size: 300_000},
	{do: "big 2000000", weight: 5, client: leaveEarly, size: -1},
	{do: "drip 3000", weight: 5, safe: true, client: readAll, size: 3000},
	{do: "sleep 30ms", weight: 5, safe: true, client: giveUp, size: -1, errs: []error{errGaveUp}},
	{do: "abort sorry", weight: 10, client: readAll, size: -1, errs: []error{errAbort}},
	{do: "cleanup /", weight: 10, safe: true, client: readAll, size: 0},
	{do: "leave", weight: 1, client: readAll, size: 0},
	{do: "crash", weight: 1, client: readAll, size: -1, errs: []error{ErrWorkerDied}},
	{do: "crash", weight: 1, safe: true, client: readAll, size: -1, errs: []error{ErrWorkerDied}},
	{do: "start-and-crash", weight: 1, safe: true, client: readAll, size: -1, errs: []error{ErrWorkerDied}},
	{do: "garbage", weight: 1, client: readAll, size: -1, errs: []error{ErrWorkerDied}},
}

// TestUnderLoad mixes all kinds of clients and workers for a while. Every request ends as it should
// and leaves nothing behind.
func TestUnderLoad(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	s := start(t, Options{
		Processes: worker.Processes{Workers: 4, MaxRequests: 300}, Limits: Limits{Limits: worker.Limits{KillAfter: 200 * time.Millisecond}, QueueSize: 16, AnswerMemory: 64 << 10, AnswerSpool: 1 << 20, RequestTimeout: testkit.Patience},
	})
	total := 0
	for _, d := range deeds {
		total += d.weight
	}
	until := time.Now().Add(2 * time.Second)
	var clients sync.WaitGroup
	for i := range 24 {
		clients.Go(func() {
			random := rand.New(rand.NewPCG(20, uint64(i)))
			for time.Now().Before(until) {
				n := random.IntN(total)
				for _, d := range deeds {
					if n -= d.weight; n < 0 {
						d.run(t, s)
						break
					}
				}
			}
		})
	}
	clients.Wait()
	testkit.Eventually(t, "peace", func() bool { return fmt.Sprint(states(s.Status())) == "[ready ready ready ready]" })
	s.mu.Lock()
	if n := s.queue.len(); n != 0 || len(s.idle) != 4 {
		t.Errorf("%d queued, %d idle", n, len(s.idle))
	}
	for w := range s.stations {
		if len(w.duties) != 0 || w.process.Paused() || w.state != Ready || w.process.Relieved() {
			t.Errorf("worker %d has %d requests and is %v", w.process.ID(), len(w.duties), w.state)
		}
	}
	s.mu.Unlock()
	own := 1 // the socket, which a keeper has elsewhere
	if leased.Maker() != nil {
		own = 0
	}
	if files, err := os.ReadDir(s.Dir()); err != nil || len(files) != own {
		t.Errorf("in its directory: %v, %v", files, err)
	}
	if spools := openSpools(t, s.Dir()); len(spools) != 0 {
		t.Errorf("open files: %q", spools)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// run does a deed once and checks its outcome.
func (d *deed) run(t *testing.T, s *started) {
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	answer, err := s.Do(newRequest(d.do, d.safe))
	o := outcome{err: err}
	if err == nil {
		defer answer.Close()
		o = d.client(ctx, answer)
	}
	switch abort := (*AbortError)(nil); {
	case o.err == nil:
		if d.size >= 0 && len(o.body) != d.size {
			t.Errorf("%s: %d bytes, want %d", d.do, len(o.body), d.size)
		}
		return
	case errors.As(o.err, &abort):
		o.err = errAbort
	}
	for _, allowed := range append(d.errs, ErrQueueFull, ErrNoWorkers) {
		if errors.Is(o.err, allowed) {
			return
		}
	}
	t.Errorf("%s: %v", d.do, o.err)
}

// readWith reads an answer and calls between before each piece but the first.
func readWith(ctx context.Context, answer *Answer, between func() error) (o outcome) {
	var body strings.Builder
	for last := false; !last; {
		var piece Piece
		if piece, o.err = answer.Next(ctx); o.err == nil {
			last = piece.Last
			body.Write(piece.Body)
			if !last {
				o.err = between()
			}
		}
		last = last || o.err != nil
	}
	o.body = body.String()
	return o
}

func readAll(ctx context.Context, answer *Answer) outcome {
	return readWith(ctx, answer, func() error { return nil })
}

func readSlowly(ctx context.Context, answer *Answer) outcome {
	return readWith(ctx, answer, func() error { time.Sleep(5 * time.Millisecond); return nil })
}

// leaveEarly closes the answer after its first piece.
func leaveEarly(ctx context.Context, answer *Answer) outcome {
	_, err := answer.Next(ctx)
	return outcome{err: err}
}

var errGaveUp = errors.New("gave up")

// giveUp waits for a moment only.
func giveUp(ctx context.Context, answer *Answer) outcome {
	ctx, cancel := context.WithTimeoutCause(ctx, 3*time.Millisecond, errGaveUp)
	defer cancel()
	return readAll(ctx, answer)
}

// openSpools returns the files of a pool's directory that this process has open,
// whether they have a name or not.
func openSpools(t *testing.T, dir string) (open []string) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc here:", err)
	}
	for _, entry := range list {
		if name, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil && strings.HasPrefix(name, dir+"/") {
			open = append(open, name)
		}
	}
	return open
}
