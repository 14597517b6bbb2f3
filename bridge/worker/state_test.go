package worker

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Every arrow of the drawing in state.go, and no other.
func TestStateTransitions(t *testing.T) {
	all := []State{Starting, Serving, Draining, Exiting, Dead}
	arrows := map[State][]State{
		Starting: {Serving, Exiting},
		Serving:  {Draining, Exiting},
		Draining: {Exiting},
		Exiting:  {Dead},
	}
	for _, from := range all {
		for _, to := range all {
			w := &Process{}
			w.state.Store(uint32(from))
			may := slices.Contains(arrows[from], to)
			if w.enterLocked(to) != may {
				t.Errorf("%v to %v: must be %t", from, to, may)
			}
			if got := w.State(); may && got != to || !may && got != from {
				t.Errorf("%v to %v: it is %v", from, to, got)
			}
		}
	}
}

// The same for the drawing in zygote.go.
func TestZygoteTransitions(t *testing.T) {
	all := []zygoteState{zygoteStarting, zygoteReady, zygoteRetired, zygoteLeaving, zygoteDead}
	arrows := map[zygoteState][]zygoteState{
		zygoteStarting: {zygoteReady, zygoteLeaving},
		zygoteReady:    {zygoteRetired, zygoteLeaving},
		zygoteRetired:  {zygoteLeaving},
		zygoteLeaving:  {zygoteDead},
	}
	for _, from := range all {
		for _, to := range all {
			z := &zygote{state: from}
			may := slices.Contains(arrows[from], to)
			if z.enterLocked(to) != may {
				t.Errorf("%v to %v: must be %t", from, to, may)
			}
			if may && z.state != to || !may && z.state != from {
				t.Errorf("%v to %v: it is %v", from, to, z.state)
			}
		}
	}
}

func TestCircuitFollowsTheSupply(t *testing.T) {
	for name, tt := range map[string]struct {
		supply supply
		want   Circuit
	}{
		"all serve":                                   {supply{workers: 2, serving: 2}, Closed},
		"all start, none has failed":                  {supply{workers: 2, starting: 2}, Closed},
		"the last one ends, none has failed":          {supply{workers: 1}, Closed},
		"starts fail, and one serves":                 {supply{workers: 2, serving: 1, starting: 1, failing: true}, Closed},
		"starts fail, and one is tried":               {supply{workers: 1, starting: 1, failing: true}, HalfOpen},
		"starts fail, and the last one ends":          {supply{workers: 1, failing: true}, Open},
		"there is none, and no zygote is started":     {supply{}, Open},
		"there is none, and a zygote is started":      {supply{raising: true}, Closed},
		"there is none, and a zygote is tried again":  {supply{raising: true, barren: true}, HalfOpen},
		"there is none, and the zygote cannot be had": {supply{barren: true}, Open},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tt.supply.circuit(); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func TestAttempts(t *testing.T) {
	begin := time.Unix(1e9, 0)
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	var a attempts
	if a.isFailing() || !a.mayTry(begin) {
		t.Errorf("at first: %+v", a)
	}
	for i, wait := range []int{1, 2, 4, 8, 16, 30, 30} {
		now := at(100 * (i + 1))
		a.fail(now.Add(-time.Second), now, "no app today")
		a.fail(now.Add(-time.Second), now, "no app today") // one that began beside it
		if !a.isFailing() || a.failures != i+1 || a.nextTry != now.Add(time.Duration(wait)*time.Second) {
			t.Errorf("after failure %d: %+v", i+1, a)
		}
		if a.mayTry(a.nextTry) || !a.mayTry(a.nextTry.Add(1)) {
			t.Errorf("failure %d: the next attempt is not after %v", i+1, a.nextTry)
		}
	}
	if a.proves(at(699)) || !a.proves(at(701)) {
		t.Error("what was started before the last failure proves nothing, what was started after it does")
	}
	a.forget()
	if a.isFailing() || !a.mayTry(begin) {
		t.Errorf("afterwards: %+v", a)
	}
}

// The same reason is told once in five minutes, another one at once.
func TestAttemptsAreToldOnce(t *testing.T) {
	begin := time.Unix(1e9, 0)
	var a attempts
	var got []bool
	for _, c := range []struct {
		reason string
		after  time.Duration
	}{{"a", 0}, {"a", time.Second}, {"b", 2 * time.Second}, {"a", 3 * time.Second}, {"a", 4 * time.Minute}, {"a", 6 * time.Minute}} {
		got = append(got, a.tells(c.reason, begin.Add(c.after)))
	}
	if fmt.Sprint(got) != "[true false true true false true]" {
		t.Error(got)
	}
}

func TestTermEnds(t *testing.T) {
	now := time.Unix(1e9, 0)
	for name, tt := range map[string]struct {
		limit   int
		served  int64
		expires time.Time
		want    string
	}{
		"without limits":           {0, 1e6, time.Time{}, ""},
		"before both":              {10, 9, now, ""},
		"by the requests":          {10, 10, now, dueRequests},
		"by the age":               {10, 9, now.Add(-1), dueAge},
		"by the age alone":         {0, 0, now.Add(-1), dueAge},
		"by both, told as the one": {10, 11, now.Add(-1), dueRequests},
	} {
		t.Run(name, func(t *testing.T) {
			term := term{limit: tt.limit, expires: tt.expires}
			term.served.Store(tt.served)
			if got := term.dueNow(now); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// Stages of a group: Stop does nothing before Start, and once only afterwards.
func TestStages(t *testing.T) {
	s := prepare(t, Options{})
	s.Close()
	if err := s.Stop(t.Context()); err != nil || s.stage != fresh {
		t.Errorf("before the start: %v, %v", err, s.stage)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.stage != running {
		t.Errorf("after the start: %v", s.stage)
	}
	s.Close()
	if s.stage != closing {
		t.Errorf("closed: %v", s.stage)
	}
	if err := s.Reload(t.Context()); err != ErrClosed {
		t.Errorf("a reload: %v", err)
	}
	for range 2 {
		if err := s.Stop(t.Context()); err != nil || s.stage != stopping {
			t.Errorf("stopped: %v, %v", err, s.stage)
		}
	}
}
