package ending

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
)

func TestTheFirstEndCounts(t *testing.T) {
	var o Once[string]
	if _, ok := o.End(); ok {
		t.Error("ended from the start")
	}
	if !o.Note("first") || o.Note("second") {
		t.Error("Note")
	}
	if end, ok := o.End(); end != "first" || !ok {
		t.Errorf("%q, %v", end, ok)
	}
}

func TestFunctionsRunOnceInTheirOrder(t *testing.T) {
	broken := errors.New("broken")
	var o Once[string]
	var calls []string
	o.On(func(end string) { calls = append(calls, "a "+end) })
	o.On(func(string) { panic(broken) })
	o.On(func(end string) { calls = append(calls, "b "+end) })
	o.Note("over")
	o.On(func(end string) { calls = append(calls, "late "+end) })
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var panicked *pagi.PanicError
			if err := o.Run(); !errors.Is(err, broken) || !errors.As(err, &panicked) || len(panicked.Stack) == 0 {
				t.Errorf("%v", err)
			}
			if !slices.Equal(calls, []string{"late over", "a over", "b over"}) {
				t.Errorf("%q", calls)
			}
		})
	}
	wg.Wait()
}

func TestGuard(t *testing.T) {
	broken := errors.New("broken")
	if err := Guard(func() error { return broken }); err != broken {
		t.Errorf("%v", err)
	}
	if err := Guard(func() error { return nil }); err != nil {
		t.Errorf("%v", err)
	}
}
