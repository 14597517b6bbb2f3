package mux

import (
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// openForTest opens a stream.
func (t *table) openForTest(patient bool) *stream {
	s, err := t.openNext(10, func(id uint32) *stream {
		s := &stream{id: id}
		s.in.init(1<<16, 1<<16)
		s.in.patient = patient
		return s
	})
	if err != nil {
		panic(err)
	}
	return s
}

func (t *table) agingForTest() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.young) + len(t.older)
}

// A stream that is patient is nudged when it is old enough and still open, and then the timer rests.
func TestPatientStreamsAreNudged(t *testing.T) {
	var all table
	all.init()
	for range 2 { // the timer is started anew
		stays, leaves, hasty := all.openForTest(true), all.openForTest(true), all.openForTest(false)
		all.remove(leaves.id)
		testkit.Eventually(t, "the stream that stays to be nudged", stays.in.nudged.Load)
		testkit.Eventually(t, "the table to forget the ages", func() bool { return all.agingForTest() == 0 })
		if leaves.in.nudged.Load() || hasty.in.nudged.Load() {
			t.Error("a stream was nudged that had ended, or needs no nudge")
		}
	}
	late := all.openForTest(true)
	all.closeAll()
	all.age()
	all.age()
	if n := all.agingForTest(); n != 0 || !late.in.nudged.Load() {
		t.Errorf("after the end of the connection %d streams age", n)
	}
}
