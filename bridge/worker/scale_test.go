package worker

import (
	"testing"
	"time"
)

// Each case is a series of steps: the load at a time, and the decision that follows.
func TestScaling(t *testing.T) {
	const idleTimeout = time.Minute
	type look struct {
		at     time.Duration
		load   load
		change int
	}
	waiting := func(n int) load { return load{queued: n, oldest: growAfter} }
	for name, walk := range map[string][]look{
		"a request that has waited long enough adds a worker": {
			{0, load{want: 2, queued: 1, oldest: growAfter - 1}, 0},
			{50 * time.Millisecond, load{want: 2, queued: 1, oldest: growAfter}, 1},
		},
		"not while one is being started": {
			{0, load{want: 2, starting: 1, queued: 9, oldest: time.Second}, 0},
		},
		"not while one is idle": {
			{0, load{want: 2, idle: 1, queued: 1, oldest: time.Second}, 0},
		},
		"not while starting fails": {
			{0, load{want: 2, failing: true, queued: 1, oldest: time.Second}, 0},
		},
		"never more than there may be": {
			{0, load{want: 10, queued: 99, oldest: time.Second}, 0},
		},
		"the step doubles while the queue grows, up to the limit": {
			{0, with(waiting(5), 1), 1},
			{1 * time.Second, with(waiting(10), 2), 2},
			{2 * time.Second, with(waiting(20), 4), 4},
			{3 * time.Second, with(waiting(40), 8), 2},
		},
		"and begins anew when it has not grown": {
			{0, with(waiting(5), 1), 1},
			{1 * time.Second, with(waiting(10), 2), 2},
			{2 * time.Second, with(waiting(10), 4), 1},
			{3 * time.Second, with(waiting(12), 5), 2},
		},
		"or was empty": {
			{0, with(waiting(5), 1), 1},
			{1 * time.Second, with(waiting(10), 2), 2},
			{2 * time.Second, load{want: 4, idle: 1}, 0},
			{3 * time.Second, with(waiting(20), 4), 1},
		},
		"a worker that is idle for long goes": {
			{0, load{want: 3, idle: 1, coldest: idleTimeout - 1}, 0},
			{1, load{want: 3, idle: 1, coldest: idleTimeout}, -1},
		},
		"one after another": {
			{0, load{want: 3, idle: 3, coldest: idleTimeout}, -1},
			{1, load{want: 2, idle: 2, coldest: idleTimeout}, -1},
			{2, load{want: 1, idle: 1, coldest: idleTimeout}, 0},
		},
		"but not soon after one was added": {
			{0, with(waiting(1), 2), 1},
			{idleTimeout - 1, load{want: 3, idle: 2, coldest: 2 * idleTimeout}, 0},
			{idleTimeout, load{want: 3, idle: 2, coldest: 2 * idleTimeout}, -1},
		},
		"a fixed number stays": {
			{0, load{want: 5, min: 5, max: 5, queued: 99, oldest: time.Second}, 0},
			{1, load{want: 5, min: 5, max: 5, idle: 5, coldest: time.Hour}, 0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var s scaling
			for _, l := range walk {
				if l.load.max == 0 {
					l.load.min, l.load.max = 1, 10
				}
				l.load.now, l.load.idleTimeout = time.Unix(1e9, 0).Add(l.at), idleTimeout
				var change int
				if s, change = s.next(l.load); change != l.change {
					t.Errorf("at %v: %+d, want %+d", l.at, change, l.change)
				}
			}
		})
	}
}

func with(l load, want int) load {
	l.want = want
	return l
}

func TestWorkersByTheMachine(t *testing.T) {
	p := Processes{Workers: Auto}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	n := Processors()
	if got, want := p.WithDefaults(), (Processes{MinWorkers: n, MaxWorkers: max(4*n, 8)}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	own := Processes{Workers: 3}
	own.Inherit(p, func(string) bool { return false })
	if own.Workers != 3 {
		t.Errorf("a number of one's own becomes %d", own.Workers)
	}
	none := Processes{}
	none.Inherit(p, func(string) bool { return false })
	if none.Workers != Auto {
		t.Errorf("without one, %d is inherited", none.Workers)
	}
	for _, wrong := range []Processes{{Workers: Auto, MinWorkers: 1, MaxWorkers: 2}, {Workers: -2}, {MinWorkers: Auto, MaxWorkers: 1}} {
		if err := wrong.Check(); err == nil {
			t.Errorf("%+v is allowed", wrong)
		}
	}
}
