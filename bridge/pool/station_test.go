package pool

import (
	"slices"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
)

// Every arrow of the drawing of phases in state.go, and no other.
func TestPhases(t *testing.T) {
	all := []phase{hired, employed, gone}
	arrows := map[phase][]phase{hired: {employed, gone}, employed: {gone}}
	for _, from := range all {
		for _, to := range all {
			is := from
			may := slices.Contains(arrows[from], to)
			if is.enter(to) != may || may && is != to || !may && is != from {
				t.Errorf("%d to %d: must be %t, it is %d", from, to, may, is)
			}
		}
	}
}

// What a worker does after the end of an answer, or IDLE.
func TestStateAfterAnAnswer(t *testing.T) {
	for name, tt := range map[string]struct {
		cleans bool
		left   int
		want   State
	}{
		"the last answer":           {false, 0, Ready},
		"an answer of a batch":      {false, 3, Busy},
		"the last answer with BUSY": {true, 0, Cleaning},
		"an answer with BUSY":       {true, 3, Cleaning},
	} {
		if got := after(tt.cleans, tt.left); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
	if Cleaning.String() != "busy" {
		t.Errorf("a cleaning worker is told to be %s", Cleaning)
	}
}

// parting is what becomes of the three requests of a worker that has ended: begun fails, the rest goes to other workers.
func TestParting(t *testing.T) {
	const first = 5 // the stream of the first request
	unread := worker.Delivery{Written: first}
	for name, tt := range map[string]struct {
		retry    string
		unsafe   bool
		change   func(*station)
		got      worker.Delivery
		reset    bool
		fails    bool // the first one fails
		repeated bool // the first one must not be repeated again
	}{
		"nothing is known of its first request":           {fails: true},
		"it had not read what was written":                {got: unread, reset: true, repeated: true},
		"it had not read an unsafe request":               {got: unread, reset: true, unsafe: true, fails: true},
		"it had read the first one, and not the next":     {got: worker.Delivery{Written: first + 1}, reset: true, fails: true},
		"nothing of it could be written":                  {got: worker.Delivery{Written: first, Undelivered: first}, unsafe: true},
		"all safe requests are repeated":                  {retry: RetrySafe, repeated: true},
		"an unsafe request is not":                        {retry: RetrySafe, unsafe: true, fails: true},
		"none is repeated":                                {retry: RetryOff, got: unread, reset: true, fails: true},
		"its answer has begun":                            {retry: RetrySafe, change: func(w *station) { w.duties[0].begun = true }, fails: true},
		"it was repeated before":                          {retry: RetrySafe, change: func(w *station) { w.duties[0].x.repeated = true }, fails: true, repeated: true},
		"the pool stops":                                  {retry: RetrySafe, change: func(w *station) { w.pool.closing = true }, fails: true},
		"it cleaned up after another one":                 {unsafe: true, change: func(w *station) { w.state = Cleaning }},
		"the first one was taken back while it ran there": {change: func(w *station) { w.duties[0].release() }},
	} {
		t.Run(name, func(t *testing.T) {
			p := New(Options{Limits: Limits{Retry: tt.retry}})
			w := &station{pool: p, phase: employed, state: Busy}
			var all []*exchange
			for i := range uint32(3) {
				x := newExchange(p, newRequest("pid", i > 0 || !tt.unsafe))
				x.station, x.stream = w, first+i
				w.duties = append(w.duties, duty{stream: first + i, x: x})
				all = append(all, x)
			}
			if tt.change != nil {
				tt.change(w)
			}
			wasThere := w.duties[0].x != nil
			begun, waiting := w.partLocked(tt.got, tt.reset)
			want := all
			if tt.fails || !wasThere {
				want = all[1:]
			}
			if tt.fails != (begun == all[0]) || !slices.Equal(waiting, want) {
				t.Errorf("the first fails: %t, %d go to others", begun == all[0], len(waiting))
			}
			if all[0].repeated != tt.repeated {
				t.Errorf("repeated: %t", all[0].repeated)
			}
			if n := w.duties.requests(); n != 0 {
				t.Errorf("%d requests are left", n)
			}
		})
	}
}
