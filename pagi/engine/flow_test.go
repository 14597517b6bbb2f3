package engine_test

import (
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

func TestFlowMeterMarks(t *testing.T) {
	for _, c := range []struct{ high, low, wantHigh, wantLow int }{
		{0, 0, 65536, 16384}, {1000, 100, 1000, 100}, {100, 1000, 100, 100}, {100, 0, 100, 100}, {-1, -1, 65536, 16384},
	} {
		m := engine.NewFlowMeter(c.high, c.low)
		if m.HighWaterMark() != c.wantHigh || m.LowWaterMark() != c.wantLow {
			t.Errorf("NewFlowMeter(%d, %d): %d, %d", c.high, c.low, m.HighWaterMark(), m.LowWaterMark())
		}
	}
}

func TestFlowMeterCycle(t *testing.T) {
	m := engine.NewFlowMeter(100, 20)
	var log []string
	m.OnHighWater(func() { log = append(log, "high1") })
	m.OnHighWater(func() { log = append(log, "high2") })
	m.OnDrain(func() { log = append(log, "drain1") })
	m.OnDrain(func() { log = append(log, "drain2") })
	steps := []struct {
		add    int
		amount int
		want   string
	}{
		{99, 99, ""},
		{-90, 9, ""},               // below low, never was high: no drain
		{91, 100, "high1 high2"},   // at the mark counts
		{50, 150, ""},              // still above: once only
		{-60, 90, ""},              // between the marks: nothing
		{20, 110, ""},              // up again without a drain: nothing
		{-90, 20, ""},              // at the low mark is not below it
		{-1, 19, "drain1 drain2"},  // below
		{-19, 0, ""},               //
		{200, 200, "high1 high2"},  // armed again
		{-500, 0, "drain1 drain2"}, // never negative
		{0, 0, ""},
	}
	for i, s := range steps {
		log = nil
		m.Add(s.add)
		if got := strings.Join(log, " "); got != s.want || m.BufferedAmount() != s.amount {
			t.Errorf("step %d: amount %d, callbacks %q; want %d, %q", i, m.BufferedAmount(), got, s.amount, s.want)
		}
	}
}

func TestFlowMeterTellsALateComer(t *testing.T) {
	m := engine.NewFlowMeter(100, 20)
	m.Add(100)
	high, drain := 0, 0
	m.OnHighWater(func() { high++ })
	m.OnDrain(func() { drain++ })
	if high != 1 || drain != 0 {
		t.Errorf("at registration: high %d, drain %d", high, drain)
	}
	m.Add(-100)
	if high != 1 || drain != 1 {
		t.Errorf("after the drain: high %d, drain %d", high, drain)
	}
	low := engine.NewFlowMeter(100, 20)
	low.OnDrain(func() { t.Error("on_drain ran because the amount is low at registration") })
}

func TestFlowMeterSurvivesACallback(t *testing.T) {
	m := engine.NewFlowMeter(10, 5)
	ran := false
	m.OnHighWater(func() { m.OnDrain(func() {}); m.BufferedAmount(); panic("in a test") })
	m.OnHighWater(func() { ran = true })
	m.Add(10)
	if !ran {
		t.Error("the second callback did not run")
	}
	m.OnHighWater(func() { panic("in a test, at once") })
}

// Count leaves the callbacks to CallDue.
func TestFlowMeterCount(t *testing.T) {
	m := engine.NewFlowMeter(10, 5)
	var told []string
	m.OnHighWater(func() { told = append(told, "high") })
	m.OnDrain(func() { told = append(told, "drain") })
	if m.Count(9); m.IsDue() {
		t.Error("a callback is due below the mark")
	}
	if m.Count(1); !m.IsDue() || told != nil {
		t.Fatalf("at the mark told %v", told)
	}
	m.Count(-10)
	m.CallDue()
	m.CallDue() // has nothing left to do
	if strings.Join(told, " ") != "high drain" {
		t.Errorf("told %v", told)
	}
}
