//go:build amd64 || arm64 || riscv64

package perlfork

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// nursery forks what a supply orders, at once or when it is told to.
type nursery struct {
	supply *supply
	mu     sync.Mutex
	asked  int // in all
	owed   int // not delivered yet
}

func newNursery(most int) *nursery {
	n := &nursery{}
	n.supply = &supply{most: most, order: func(k int) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.asked += k
		n.owed += k
	}}
	return n
}

// deliver brings what was ordered, and reports how many processes that were.
func (n *nursery) deliver(t *testing.T) int {
	n.mu.Lock()
	owed := n.owed
	n.owed = 0
	n.mu.Unlock()
	for range owed {
		if asked, taken := n.supply.arrived(&child{}); !asked || !taken {
			t.Errorf("one that was ordered came: asked for %v, taken %v", asked, taken)
		}
	}
	return owed
}

// deliverUntil delivers until all are done, and looks after each time.
func (n *nursery) deliverUntil(t *testing.T, all *sync.WaitGroup, look func()) {
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	for {
		select {
		case <-done:
			return
		default:
			n.deliver(t)
			look()
		}
	}
}

func (n *nursery) waiting() int {
	n.supply.mu.Lock()
	defer n.supply.mu.Unlock()
	return len(n.supply.waiting)
}

func TestNobodyWaitsForAProcessThatWasNotOrdered(t *testing.T) {
	n := newNursery(0)
	n.supply.begin()
	n.deliver(t)
	// One is idle. All of these come at once; none may be left behind.
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if n.supply.take(t.Context(), time.Minute) == nil {
				t.Error("no process")
			}
		})
	}
	n.deliverUntil(t, &all, func() {})
	n.deliver(t)
	if idle := len(n.supply.close()); idle > maxSpare {
		t.Errorf("%d processes are idle", idle)
	}
}

func TestThereAreNoMoreProcessesThanMayBe(t *testing.T) {
	n := newNursery(2)
	n.supply.begin()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			c := n.supply.take(t.Context(), time.Minute)
			if c == nil {
				t.Error("no process")
				return
			}
			if rand.IntN(3) == 0 {
				n.supply.lost() // it has died
			} else if !n.supply.give(c) {
				t.Error("it cannot be given back")
			}
		})
	}
	n.deliverUntil(t, &all, func() {
		n.supply.mu.Lock()
		defer n.supply.mu.Unlock()
		if n.supply.count > 2 {
			t.Errorf("there are %d processes", n.supply.count)
		}
	})
}

func TestWhoLeavesTakesNoProcessAlong(t *testing.T) {
	n := newNursery(1)
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan *child)
	go func() { left <- n.supply.take(ctx, time.Minute) }()
	testkit.Eventually(t, "somebody to wait", func() bool { return n.waiting() == 1 })
	leave()
	if c := <-left; c != nil {
		t.Fatal("there was none to be had")
	}
	if n.deliver(t) != 1 {
		t.Fatal("not one was ordered")
	}
	if n.supply.take(t.Context(), time.Minute) == nil {
		t.Error("the process that came later is gone")
	}
}

func TestAForkThatFailsIsTold(t *testing.T) {
	n := newNursery(1)
	got := make(chan *child)
	for range 2 { // the second finds the place free again
		go func() { got <- n.supply.take(t.Context(), time.Minute) }()
		testkit.Eventually(t, "somebody to wait", func() bool { return n.waiting() == 1 })
		n.supply.refused()
		if c := <-got; c != nil {
			t.Error("a process came")
		}
	}
	if n.asked != 2 {
		t.Errorf("%d were ordered", n.asked)
	}
}

func TestPatienceEnds(t *testing.T) {
	n := newNursery(0)
	if n.supply.take(t.Context(), time.Millisecond) != nil {
		t.Error("a process came")
	}
	if !n.supply.overdue(time.Microsecond) || n.supply.overdue(time.Hour) {
		t.Error("it is not seen that what was ordered does not come")
	}
	if asked, _ := n.supply.arrived(&child{}); !asked {
		t.Error("one that comes late was asked for all the same")
	}
}

func TestWhatNobodyAskedForIsNotTaken(t *testing.T) {
	n := newNursery(0)
	if asked, _ := n.supply.arrived(&child{}); asked {
		t.Error("nobody has asked for it")
	}
	n.supply.begin()
	n.deliver(t)
	if rest := n.supply.close(); len(rest) != 1 {
		t.Errorf("%d processes were idle", len(rest))
	}
	if n.supply.give(&child{}) || n.supply.take(t.Context(), time.Minute) != nil {
		t.Error("it goes on after its end")
	}
}

func TestIdleProcessesAreReplacedSeveralAtOnce(t *testing.T) {
	n := newNursery(0)
	n.supply.begin()
	n.supply.mu.Lock()
	n.supply.spare = 5
	n.supply.fillLocked()
	n.supply.mu.Unlock()
	n.deliver(t)
	asked := n.asked
	for i, want := range []int{0, 0, 3, 3, 3, 6} {
		if n.supply.take(t.Context(), time.Minute) == nil {
			t.Fatal("no process")
		}
		if n.asked-asked != want {
			t.Errorf("after %d were taken %d were ordered, want %d", i+1, n.asked-asked, want)
		}
		n.deliver(t)
	}
	if rest := n.supply.shrink(); len(rest) != 4 {
		t.Errorf("%d were given up", len(rest))
	}
}
