package psgi

import (
	"runtime"
	"sync"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// While an application only computes, no more of its workers than there are processors have requests. One that waits in
// its requests uses all.
func TestHowManyWorkersHaveRequests(t *testing.T) {
	workers := worker.Processes{Workers: runtime.NumCPU() + 2}
	t.Run("computes", func(t *testing.T) {
		m := mount(t, PSGI{Code: `sub { [200, [], ['x' x 100]] }`, Processes: workers})
		stop := loaded(m, 16)
		defer stop()
		testkit.Eventually(t, "a limit", func() bool { return m.app.(*app).Status().AtOnce > 0 })
	})
	t.Run("waits", func(t *testing.T) {
		m := mount(t, PSGI{Code: `sub { select undef, undef, undef, 0.001; [200, [], ['x' x 100]] }`, Processes: workers})
		stop := loaded(m, 16)
		defer stop()
		testkit.Eventually(t, "each worker to have answered often", func() bool {
			s := m.app.(*app).Status()
			if s.AtOnce > 0 {
				t.Fatalf("only %d workers are given requests", s.AtOnce)
			}
			for _, w := range s.Workers {
				if w.Served < 200 {
					return false
				}
			}
			return true
		})
	})
}

// loaded has so many clients ask all the time, until stop is called.
func loaded(m *mounted, clients int) (stop func()) {
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range clients {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if r := m.get("/"); r.status != 200 {
					m.t.Errorf("status %d: %v", r.status, r.err)
					return
				}
			}
		})
	}
	return func() { close(done); wg.Wait() }
}
