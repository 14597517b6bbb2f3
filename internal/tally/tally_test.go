package tally_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pagi-go/pagi-bridge/internal/tally"
)

func sorted(m *tally.Mount) []tally.Series {
	list := m.Series()
	slices.SortFunc(list, func(a, b tally.Series) int {
		return strings.Compare(fmt.Sprint(a.Name, a.Labels), fmt.Sprint(b.Name, b.Labels))
	})
	return list
}

func TestMeasuresAreSummedOverWorkers(t *testing.T) {
	var m tally.Mount
	web := []tally.Label{{Name: "kind", Value: "web"}, {Name: "area", Value: "eu"}}
	back := []tally.Label{{Name: "area", Value: "eu"}, {Name: "kind", Value: "web"}}
	m.Counted(1, []tally.Measure{{Kind: tally.Counter, Name: "orders", Labels: web, Value: 2}, {Kind: tally.Gauge, Name: "carts", Value: 5}})
	m.Counted(2, []tally.Measure{
		{Kind: tally.Counter, Name: "orders", Labels: back, Value: 0.5},
		{Kind: tally.Gauge, Name: "carts", Value: 7},
		{Kind: tally.Timing, Name: "search", Value: 0.3, Times: [tally.Buckets]uint32{0: 1, 6: 1}},
	})
	m.Counted(1, []tally.Measure{{Kind: tally.Gauge, Name: "carts", Value: 1}, {Kind: tally.Timing, Name: "search", Value: 11, Times: [tally.Buckets]uint32{11: 1}}})
	want := []tally.Series{
		{Kind: tally.Gauge, Name: "carts", Value: 8},
		{Kind: tally.Counter, Name: "orders", Labels: back, Value: 2.5},
		{Kind: tally.Timing, Name: "search", Value: 11.3, Times: [tally.Buckets]uint64{0: 1, 6: 1, 11: 1}},
	}
	ignore := cmpopts.IgnoreUnexported(tally.Series{})
	if diff := cmp.Diff(want, sorted(&m), ignore); diff != "" {
		t.Error(diff)
	}
	m.Gone(2)
	want[0].Value = 1
	if diff := cmp.Diff(want, sorted(&m), ignore); diff != "" {
		t.Errorf("a worker has gone: %s", diff)
	}
	m.Gone(1)
	if diff := cmp.Diff(want[1:], sorted(&m), ignore); diff != "" {
		t.Errorf("all have gone: %s", diff)
	}
}

func TestWrongMeasuresAreDropped(t *testing.T) {
	label := func(name, value string) []tally.Label { return []tally.Label{{Name: name, Value: value}} }
	for name, measure := range map[string]tally.Measure{
		"no name":                 {Kind: tally.Counter, Value: 1},
		"capital letters":         {Kind: tally.Counter, Name: "Orders", Value: 1},
		"two underlines":          {Kind: tally.Counter, Name: "a__b", Value: 1},
		"a long name":             {Kind: tally.Counter, Name: strings.Repeat("x", tally.MaxName+1), Value: 1},
		"an end of the gateway's": {Kind: tally.Gauge, Name: "orders_total", Value: 1},
		"a newline in a label":    {Kind: tally.Counter, Name: "a", Labels: label("k\n", ""), Value: 1},
		"a label of the gateway":  {Kind: tally.Counter, Name: "a", Labels: label("mount", "/other"), Value: 1},
		"a label twice":           {Kind: tally.Counter, Name: "a", Labels: append(label("k", "1"), label("k", "2")...), Value: 1},
		"nine labels": {Kind: tally.Counter, Name: "a", Labels: []tally.Label{
			{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}, {Name: "e"}, {Name: "f"}, {Name: "g"}, {Name: "h"}, {Name: "i"}}, Value: 1},
		"a long value":      {Kind: tally.Counter, Name: "a", Labels: label("k", strings.Repeat("x", tally.MaxValue+1)), Value: 1},
		"no UTF-8":          {Kind: tally.Counter, Name: "a", Labels: label("k", "\xff"), Value: 1},
		"a negative count":  {Kind: tally.Counter, Name: "a", Value: -1},
		"a negative timing": {Kind: tally.Timing, Name: "a", Value: -1},
		"no number":         {Kind: tally.Gauge, Name: "a", Value: math.NaN()},
		"infinity":          {Kind: tally.Counter, Name: "a", Value: math.Inf(1)},
		"too much":          {Kind: tally.Counter, Name: "a", Value: 2 * tally.MaxNumber},
		"no kind":           {Name: "a", Value: 1},
	} {
		var m tally.Mount
		m.Counted(1, []tally.Measure{measure, {Kind: tally.Gauge, Name: "after", Value: 1}})
		if n := m.Dropped(tally.Invalid); n != 1 || len(m.Series()) != 1 {
			t.Errorf("%s: %d dropped, counted %+v", name, n, m.Series())
		}
	}
}

func TestFloodsAreBounded(t *testing.T) {
	var names, sets tally.Mount
	for i := range 2 * tally.MaxNames {
		names.Counted(1, []tally.Measure{{Kind: tally.Counter, Name: fmt.Sprint("n", i), Value: 1}})
	}
	if got, dropped := len(names.Series()), names.Dropped(tally.Names); got != tally.MaxNames || dropped != tally.MaxNames {
		t.Errorf("%d names, %d dropped", got, dropped)
	}
	names.Counted(1, []tally.Measure{{Kind: tally.Counter, Name: "n0", Labels: []tally.Label{{Name: "more", Value: "1"}}, Value: 1}})
	if got := len(names.Series()); got != tally.MaxNames+1 {
		t.Errorf("a known name gets no further label set: %d", got)
	}
	for i := range tally.MaxSets + 5 {
		sets.Counted(1, []tally.Measure{{Kind: tally.Counter, Name: "n", Labels: []tally.Label{{Name: "i", Value: fmt.Sprint(i)}}, Value: 1}})
	}
	if got, dropped := len(sets.Series()), sets.Dropped(tally.Sets); got != tally.MaxSets || dropped != 5 {
		t.Errorf("%d label sets, %d dropped", got, dropped)
	}
}

func TestWorkersCountAtOnce(t *testing.T) {
	var m tally.Mount
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for range 500 {
				m.Counted(worker, []tally.Measure{{Kind: tally.Counter, Name: "n", Value: 1}, {Kind: tally.Gauge, Name: "g", Value: 1}})
				m.Series()
			}
			m.Gone(worker)
		})
	}
	all.Wait()
	if list := m.Series(); len(list) != 1 || list[0].Value != 2000 {
		t.Errorf("got %+v", list)
	}
}

func TestNoMountCountsNothing(t *testing.T) {
	var m *tally.Mount
	m.Counted(1, []tally.Measure{{Kind: tally.Counter, Name: "n", Value: 1}})
	m.Gone(1)
	if m.Series() != nil || m.Dropped(tally.Invalid) != 0 {
		t.Error("a nil Mount has counted")
	}
}
