package command

import "testing"

func TestProcessorsFollowWhatIsUsed(t *testing.T) {
	p := &procs{most: 6, now: 1}
	for _, step := range []struct {
		name  string
		used  float64
		times int
		want  int
	}{
		{"at rest", 0, 50, 1},
		{"some work", 0.45, 50, 1},
		{"more than half of one", 0.55, 1, 2},
		{"about as much, with two", 0.7, 50, 2},
		{"more than half of two", 1.1, 1, 4},
		{"no more than there are", 5, 3, 6},
		{"little, but not for long", 0.2, calmIntervals - 1, 6},
		{"a busy moment", 2, 1, 6},
		{"little again, from the beginning", 0.2, calmIntervals - 1, 6},
		{"and for long enough", 0.2, 1, 3},
		{"a step at a time", 0.2, calmIntervals, 2},
		{"down to one", 0.2, calmIntervals, 1},
		{"which is the least", 0, 5 * calmIntervals, 1},
	} {
		for range step.times {
			p.fit(step.used)
		}
		if p.now != step.want {
			t.Fatalf("%s: %d processors instead of %d", step.name, p.now, step.want)
		}
	}
}

func TestWhoStartsProgramsHasTwoProcessors(t *testing.T) {
	p := &procs{most: 6, now: 1}
	p.startsPrograms(true)
	for range 5 * calmIntervals {
		if p.fit(0); p.now != 2 {
			t.Fatalf("%d processors", p.now)
		}
	}
	p.startsPrograms(false)
	for range calmIntervals {
		p.fit(0)
	}
	if p.now != 1 {
		t.Errorf("%d processors after the last one", p.now)
	}
	one := &procs{most: 1, now: 1}
	one.startsPrograms(true)
	if one.fit(1); one.now != 1 {
		t.Errorf("%d processors of one", one.now)
	}
	(*procs)(nil).startsPrograms(true)
}

func TestProcessTimeGrows(t *testing.T) {
	before := processTime()
	for n := 0; processTime() == before; n++ {
		if n > 1e8 {
			t.Fatal("no processor time is counted")
		}
	}
}
