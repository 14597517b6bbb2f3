package pool

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/leased"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// A blocked log delays no answer, whatever the workers print, and even when one of them dies.
func TestBlockedLog(t *testing.T) {
	logger, text, release := testkit.StuckLog(t)
	s := &started{t: t, log: text, Pool: New(Options{Crew: leased.Maker(), Processes: worker.Processes{Workers: 2}, Start: fakeStart("serve"), Limits: Limits{Limits: worker.Limits{KillAfter: 200 * time.Millisecond}}, Logger: logger})}
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
