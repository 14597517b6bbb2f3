package session_test

import (
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/session"
)

func TestExpiry(t *testing.T) {
	for _, c := range []struct {
		name         string
		expire, idle time.Duration
		steps        []time.Duration
		want         string
	}{
		{"used within the idle time", 0, 0, []time.Duration{59 * time.Minute, 59 * time.Minute, 59 * time.Minute}, "ann"},
		{"idle for too long", 0, 0, []time.Duration{time.Hour}, "nobody"},
		{"idle for too long after a use", 0, 0, []time.Duration{30 * time.Minute, time.Hour}, "nobody"},
		{"used all the time, but too old", time.Hour, 0, []time.Duration{40 * time.Minute, 20 * time.Minute}, "nobody"},
		{"no idle limit", 0, -1, []time.Duration{23 * time.Hour}, "ann"},
		{"no idle limit, but too old", 0, -1, []time.Duration{23 * time.Hour, time.Hour}, "nobody"},
		{"no limit", -1, -1, []time.Duration{100000 * time.Hour}, "ann"},
		{"no absolute limit", -1, 2 * time.Hour, []time.Duration{119 * time.Minute, 119 * time.Minute}, "ann"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(basics(), func(m *session.Manager) { m.Expire, m.Idle = c.expire, c.idle })
			f.get(t, "/login")
			got := ""
			for _, step := range c.steps {
				f.clock.Advance(step)
				got = f.get(t, "/user")
			}
			if got != c.want {
				t.Errorf("user %q, want %q", got, c.want)
			}
		})
	}
}

// A store that does not drop what has expired is no reason to accept it.
func TestTheManagerEnforcesExpiry(t *testing.T) {
	for _, limit := range []string{"idle", "absolute"} {
		m := session.Manager{Store: &session.Memory{Now: func() time.Time { return epoch }}}
		now := epoch
		m.Now = func() time.Time { return now }
		client := pagitest.New(m.Wrap(basics()))
		client.Get("/login")
		now = now.Add(30 * time.Minute)
		if got := client.Get("/user").Text(); got != "ann" {
			t.Fatalf("user %q", got)
		}
		// A shorter limit than that of the time when the session was stored counts as well.
		if limit == "idle" {
			m.Idle = 20 * time.Minute
			now = now.Add(20 * time.Minute)
		} else {
			m.Expire = 40 * time.Minute
			now = now.Add(10 * time.Minute)
		}
		client.App = m.Wrap(basics())
		if got := client.Get("/user").Text(); got != "nobody" {
			t.Errorf("%s: user %q", limit, got)
		}
	}
}

func TestATouchSlidesTheIdleTimeWithoutASave(t *testing.T) {
	f := newFixture(basics())
	f.get(t, "/login")
	f.store.calls()
	for range 4 {
		f.clock.Advance(50 * time.Minute)
		if got := f.get(t, "/user"); got != "ann" {
			t.Fatalf("user %q", got)
		}
	}
	if got := f.store.calls(); got != [4]int32{4, 0, 4, 0} {
		t.Errorf("calls %v", got)
	}
	f.clock.Advance(idleTouch - time.Second)
	f.get(t, "/user")
	if got := f.store.calls(); got != [4]int32{1, 0, 0, 0} {
		t.Errorf("a use soon after another was noted: %v", got)
	}
}

func TestRegenerateBeginsTheAbsoluteTimeAnew(t *testing.T) {
	f := newFixture(basics(), func(m *session.Manager) { m.Expire, m.Idle = time.Hour, -1 })
	f.get(t, "/login")
	f.clock.Advance(50 * time.Minute)
	f.get(t, "/login")
	f.clock.Advance(50 * time.Minute)
	if got := f.get(t, "/user"); got != "ann" {
		t.Errorf("user %q", got)
	}
}
