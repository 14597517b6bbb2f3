package pool

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// newStuck returns a log that is blocked, the text that it writes, and a function that releases it.
func newStuck(t *testing.T) (logger *slog.Logger, text *testkit.Log, release func()) {
	text = &testkit.Log{}
	gate := &sync.Mutex{}
	gate.Lock()
	release = sync.OnceFunc(gate.Unlock)
	t.Cleanup(release)
	return slog.New(blocking{text.Logger().Handler(), gate}), text, release
}

type blocking struct {
	slog.Handler
	gate *sync.Mutex
}

func (b blocking) Handle(ctx context.Context, r slog.Record) error {
	b.gate.Lock()
	defer b.gate.Unlock()
	return b.Handler.Handle(ctx, r)
}

func (b blocking) WithAttrs(attrs []slog.Attr) slog.Handler {
	return blocking{b.Handler.WithAttrs(attrs), b.gate}
}

// A blocked log delays no answer, whatever the workers print, and even when one of them dies.
func TestBlockedLog(t *testing.T) {
	logger, text, release := newStuck(t)
	s := &started{t: t, log: text, Pool: New(Options{Processes: Processes{Workers: 2}, Start: fakeStart("serve"), Limits: Limits{KillAfter: 200 * time.Millisecond}, Logger: logger})}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	const lines, long = 30, 100_000 // well over what is kept for both workers
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := range lines {
			if o := s.do(fmt.Sprint("shout ", long, " line ", n), false); o.err != nil {
				t.Errorf("line %d: %+v", n, o)
			}
		}
		s.do("crash", false)
		if o := s.do("pid", false); o.err != nil {
			t.Errorf("after a crash: %+v", o)
		}
	}()
	testkit.Await(t, done)
	if text.String() != "" {
		t.Fatalf("the log was not blocked: %s", text)
	}
	release()
	text.WaitFor(t, "level=WARN", "lines of output were lost, because the log was too slow", "worker=")
	stop()
	total := 0
	for _, m := range regexp.MustCompile(`(\d+) lines of output were lost`).FindAllStringSubmatch(text.String(), -1) {
		n, _ := strconv.Atoi(m[1])
		total += n
	}
	// Other records of the worker may be among the lost ones.
	if seen := strings.Count(text.String(), "msg=xxxx") + strings.Count(text.String(), `msg="xxxx`); total == 0 || seen+total < lines || seen == 0 {
		t.Errorf("%d lines were logged and %d lost, of %d", seen, total, lines)
	}
}

// Records that fit into the journal are not lost, and stay in order.
func TestJournalKeepsOrder(t *testing.T) {
	logger, text, release := newStuck(t)
	var js journals
	log := js.logger(logger).With("worker", 1)
	for n := range 500 {
		log.With("n", n).Info("record")
	}
	release()
	js.flush()
	var numbers []string
	for _, m := range regexp.MustCompile(`worker=1 n=(\d+)`).FindAllStringSubmatch(text.String(), -1) {
		numbers = append(numbers, m[1])
	}
	if len(numbers) != 500 {
		t.Fatalf("%d records of 500", len(numbers))
	}
	for n, got := range numbers {
		if got != strconv.Itoa(n) {
			t.Fatalf("record %d is %s", n, got)
		}
	}
	log.Debug("another")
	js.flush()
	if !strings.Contains(text.String(), "msg=another") {
		t.Error("it does not begin again")
	}
}

// The log tells of lost records at the place where they are missing.
func TestJournalTellsTheLoss(t *testing.T) {
	logger, text, release := newStuck(t)
	var js journals
	log := js.logger(logger)
	for range 5 {
		log.Info(strings.Repeat("x", maxJournal/3))
	}
	release()
	js.flush()
	log.Info("afterwards")
	js.flush()
	lost := strings.Index(text.String(), "lines of output were lost")
	if after := strings.Index(text.String(), "afterwards"); lost < 0 || after < lost || !strings.Contains(text.String(), `"3 lines`) {
		t.Errorf("%d: %s", lost, regexp.MustCompile("x+").ReplaceAllString(text.String(), "x"))
	}
}

// A log that stays blocked does not keep the pool from stopping.
func TestStopWithABlockedLog(t *testing.T) {
	logger, _, _ := newStuck(t)
	p := New(Options{Processes: Processes{Workers: 1}, Start: fakeStart("talks"), Logger: logger})
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error)
	go func() { stopped <- p.Stop(context.Background()) }()
	if err := testkit.Await(t, stopped); err != nil {
		t.Error(err)
	}
}
