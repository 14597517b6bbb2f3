package http2

import (
	"testing"
	"time"
)

// TestAllowanceComesBack: a connection that lives long may send more than its burst.
func TestAllowanceComesBack(t *testing.T) {
	var f flood
	f.start(Limits{ResetBurst: 3, ResetRate: 2, ControlBurst: 5, ControlRate: 4})
	begin := time.Now()
	for name, l := range map[string]struct {
		allow func(at time.Time, n int) bool
		burst int
		rate  int
	}{
		"resets":         {f.resets.AllowN, 3, 2},
		"control frames": {f.controls.AllowN, 5, 4},
	} {
		if !l.allow(begin, l.burst) || l.allow(begin, 1) {
			t.Errorf("%s: not %d at once", name, l.burst)
		}
		if !l.allow(begin.Add(time.Second), l.rate) || l.allow(begin.Add(time.Second), 1) {
			t.Errorf("%s: not %d in a second", name, l.rate)
		}
	}
	f = flood{}
	f.start(Limits{})
	if f.resets != nil || f.controls != nil {
		t.Error("limits that were not asked for")
	}
}
